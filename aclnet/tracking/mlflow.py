"""MLflow: a run of the experiment `aclnet`, or of $MLFLOW_EXPERIMENT_NAME."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from aclnet.tracking.contract import Outcome, TrackedRun, Tracker

if TYPE_CHECKING:
    from collections.abc import Mapping

_AT_ONCE = 100
"""Largest number of parameters in a request of MLflow."""


class MLflow(Tracker):
    """Logs scalars, and images as artifacts. A resumed run continues the same run of MLflow.

    MLflow chooses the place of the values: $MLFLOW_TRACKING_URI, or a database in the working
    folder.
    """

    def __init__(self, run: TrackedRun) -> None:
        from mlflow import MlflowClient, get_tracking_uri

        self.place = get_tracking_uri()
        self._client = MlflowClient()
        known = run.recall("mlflow")
        if known.get("uri") == self.place:
            self._id = known["run_id"]
            self._client.update_run(self._id, status="RUNNING")
            self._logged = self._client.get_run(self._id).data.metrics.get("epoch", 0.0)
        else:
            self._id, self._logged = self._create(run), 0.0
            run.remember("mlflow", uri=self.place, run_id=self._id)

    def _create(self, run: TrackedRun) -> str:
        from mlflow.entities import Param

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "aclnet")
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        created = self._client.create_run(number, run_name=run.name, tags=run.facts)
        identity: str = created.info.run_id
        params = [Param(key, str(value)) for key, value in run.settings.items()]
        for first in range(0, len(params), _AT_ONCE):
            self._client.log_batch(identity, params=params[first : first + _AT_ONCE])
        return identity

    def log_epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        if epoch > self._logged:  # MLflow would keep both values of an epoch
            self._log({**values, "epoch": epoch}, epoch)

    def log_outcome(self, outcome: Outcome) -> None:
        self._log(outcome.figures, outcome.epoch)
        for name, image in outcome.images.items():
            self._client.log_image(self._id, image, artifact_file=f"{name}.png")

    def close(self, *, finished: bool) -> None:
        self._client.set_terminated(self._id, "FINISHED" if finished else "KILLED")

    def _log(self, values: Mapping[str, float], epoch: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name, value, now, epoch) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)
