"""The trackers of a training: found by name, informed about the run, left out after a failure."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Self

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.spec.user_code import told
from aclnet.own.building import find_builder, kind_of
from aclnet.tracking.contract import Outcome, TrackedRun, Tracker
from aclnet.tracking.mlflow import MLflow
from aclnet.tracking.tensorboard import TensorBoard
from aclnet.tracking.wandb import WandB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

GROUP = "aclnet.trackers"
"""Entry points that lead to functions that build a tracker."""
SHIPPED: dict[str, Callable[[TrackedRun], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "mlflow": MLflow,
}
"""Trackers by name, which is also the name of the package and of the extra that it needs."""
GROUPED = {
    "loss": "loss/total",
    "cross_entropy": "loss/cross_entropy",
    "inter": "loss/inter",
    "intra": "loss/intra",
    "triplet": "loss/triplet",
    "accuracy": "accuracy/train",
    "eval_accuracy": "accuracy/held_out",
    "eval_rank1": "accuracy/held_out_rank1",
    "eval_mAP": "accuracy/held_out_mAP",
    "in_family": "families/in_family",
    "lr": "optim/lr",
    "seconds": "speed/seconds",
    "sequences_per_second": "speed/sequences_per_second",
    "waiting": "speed/waiting",
}
"""Names in trackers by the column of metrics.csv."""


def find_tracker(name: str) -> Callable[[TrackedRun], Tracker]:
    """The function or class that builds a tracker.

    Raises AclnetError if there is none of that name, or if its package is not installed.
    """
    if name not in SHIPPED:
        return find_builder(name, GROUP, "--tracker", SHIPPED, "docs/tracking.md").call
    if not find_spec(name):
        raise AclnetError(f"--tracker {name} needs a further package: pip install 'aclnet[{name}]'")
    return SHIPPED[name]


class Trackers:
    """The trackers of a training, by name. They receive nothing before `begin`.

    `remark` receives the place of a tracker's values, and failures of trackers. Raises AclnetError
    like `find_tracker`.
    """

    def __init__(
        self, names: Iterable[str] = (), remark: Callable[[str], object] = lambda text: None
    ) -> None:
        self._builders = {name: find_tracker(name) for name in names}
        self._remark = remark
        self._running: dict[str, Tracker] = {}
        self._finished = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tell(lambda tracker: tracker.close(finished=self._finished))

    def begin(self, run: TrackedRun) -> None:
        """Builds the trackers; call it on the first process, before the other methods."""
        for name, build in self._builders.items():
            with self._reporting(name):
                tracker = build(run)
                if not isinstance(tracker, Tracker):
                    raise TypeError(
                        f"it returns {kind_of(tracker)}; an aclnet.tracking.Tracker is expected"
                    )
                self._running[name] = tracker
                if tracker.place:
                    self._remark(f"tracker {name}: {tracker.place}")

    def log_epoch(self, row: Mapping[str, float]) -> None:
        """Sends an epoch's row of metrics.csv to the trackers."""
        epoch = int(row["epoch"])
        values = {GROUPED.get(n, f"other/{n}"): v for n, v in row.items() if n != "epoch"}
        self._tell(lambda tracker: tracker.log_epoch(epoch, values))

    def log_outcome(self, outcome: Outcome) -> None:
        """Sends the results of the finished run to the trackers."""
        self._finished = True
        self._tell(lambda tracker: tracker.log_outcome(outcome))

    def _tell(self, say: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._running.items()):
            with self._reporting(name):
                say(tracker)

    @contextmanager
    def _reporting(self, name: str) -> Iterator[None]:
        """Reports an exception of a tracker, and leaves the tracker out from then on."""
        try:
            yield
        except Exception as error:
            self._running.pop(name, None)
            self._remark(
                f"tracker {name} failed ({told(error)}); the training continues without it"
            )
