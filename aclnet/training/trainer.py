"""The thin trainer: batches in, optimizer steps, one checkpoint that holds all state.

No operation of a step waits for the device. No result depends on earlier random numbers: order and
augmentation are functions of (seed, epoch, sample), all else that is random is a function of (seed,
epoch, step). A run that crashed and resumed therefore ends with the same weights, bit for bit on a
CPU.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from aclnet.datasets.spec import AclnetError, Stopped
from aclnet.datasets.store import keyed_random
from aclnet.datasets.store.plan import Share
from aclnet.evaluation.scorer import probabilities, scores_of
from aclnet.retrieval.body_shape import BodyShape
from aclnet.retrieval.embedder import Embedder, fit_shape
from aclnet.retrieval.recognition import Recogniser
from aclnet.runs.choices import uses_shape
from aclnet.runs.device import enough_memory
from aclnet.runs.inference import Pass
from aclnet.runs.inputs import MakeInputs, clip_to_train
from aclnet.runs.network import build_network, start_from
from aclnet.runs.processes import gather_on_first, on_first, together
from aclnet.runs.record import computing
from aclnet.runs.settings import by_name
from aclnet.runs.splits import selection
from aclnet.tracking import TrackedRun
from aclnet.tracking.trackers import Trackers
from aclnet.training.meters import figures
from aclnet.training.step import TrainingStep
from aclnet.training.stopping import stop_requests

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from numpy.typing import NDArray

    from aclnet.datasets.store.store import Store
    from aclnet.datasets.store.stream import Stream
    from aclnet.models.classifier import Classifier
    from aclnet.runs.config import Config
    from aclnet.runs.run import Run
    from aclnet.runs.scores import Scores
    from aclnet.runs.splits import Splits
    from aclnet.training.stopping import StopRequest

SAVE_EVERY = 600.0
"""Seconds between checkpoints inside an epoch."""
CHECK_EVERY = 25
"""Steps between checks of the losses and of the clock; each check waits for the device."""


class TrainingMonitor(Protocol):
    """Receives the progress of the training, on every process."""

    def remark(self, text: str) -> None:
        """Called for each remark: resumed, a new head, finished before."""

    def step(self, epoch: int, step: int, steps: int, rate: float, waiting: float) -> None:
        """Called after each step: epoch from 0, finished steps, sequences/s, share of data wait."""

    def epoch(self, row: dict[str, float]) -> None:
        """Called after each epoch, with its row of metrics.csv."""


class _Validation(NamedTuple):
    """Results of the held-out samples after an epoch."""

    columns: dict[str, float]
    """Columns of metrics.csv."""
    figure: float
    """Figure that selects the weights; higher is better."""
    confusion: dict[str, NDArray[np.int64]]
    """Confusion matrices for history.zarr, on the first process; empty if people are recognised."""


class Trainer:
    """Trains one run to its end; `fit` resumes from the run's last checkpoint.

    `initial` holds weights to start from, see `start_from`. If the training is not possible,
    AclnetError is raised here, before the run has a folder.
    """

    run: Run
    """The run, once `fit` has begun."""
    trackers: Trackers
    """Its trackers, once `fit` has begun."""

    def __init__(
        self,
        fabric: Fabric,
        config: Config,
        store: Store,
        splits: Splits,
        monitor: TrainingMonitor,
        initial: dict[str, Tensor] | None = None,
    ) -> None:
        self.fabric, self.config, self.store, self.splits = fabric, config, store, splits
        self.monitor = monitor
        nodes = getattr(fabric.strategy, "num_nodes", 1)
        self.share = Share(fabric.global_rank, fabric.world_size, nodes)
        self.classes = len(splits.classes)
        torch.manual_seed(config.seed)
        network = build_network(config, store, splits)
        if initial is not None:
            start_from(network.model, initial)
        self.step = TrainingStep(fabric, config, network, splits.class_sizes(store))
        self.network, self.contrast = self.step.network, network.contrast
        self.meter = self.step.meter
        self.select_on = selection(config, splits)
        self.class_of = splits.class_of(store)
        self.make = MakeInputs(
            store, config.data, fabric.device, spec=config.augment, class_of=self.class_of
        )
        self.stream = self._open_stream()
        self._steps()
        self.rows: list[dict[str, float]] = []
        self.best = -1.0

    def fit(self, run: Run, trackers: Trackers | None = None) -> None:
        """Trains until the last epoch is done, and informs the trackers about each epoch.

        After a signal to stop, the step is finished, a checkpoint is written, and Stopped is
        raised. A second signal raises Stopped at once. Raises AclnetError for a loss that is not
        finite, and for a checkpoint that does not fit.
        """
        self.run, self.trackers = run, trackers or Trackers()
        self._resume()
        self.shape = None if self.config.task == "action" else on_first(self._body_shape)
        with stop_requests() as request:
            # Zarr writes in a separate thread, which must finish before the process handles a
            # signal.
            with together():
                if self.fabric.is_global_zero:
                    self.run.history.create(self.config.optim.epochs, self.splits.classes)
                    self.trackers.begin(self._tracked())
            with closing(self.stream):
                while self.stream.epoch < self.config.optim.epochs:
                    self._epoch(request)

    @property
    def model(self) -> Classifier:
        """The classifier without wrappers."""
        return self.network.module.model  # type: ignore[no-any-return]

    def evaluate(self, mask: NDArray[np.bool_], clips: int) -> Scores | None:
        """Scores of a split by the weights that a checkpoint holds.

        Each process computes its share. The first process gets all scores, the others None.
        """
        self._share_statistics()
        with together():
            own = probabilities(
                self.model,
                self.store,
                mask,
                self.config.data,
                self.fabric.device,
                clips=clips,
                how=Pass(share=self.share),
            )
        parts = gather_on_first(own)
        with together():
            if parts is None:
                return None
            rows, scores = map(np.concatenate, zip(*parts, strict=True))
            return scores_of(self.store, rows, scores)

    def recogniser(
        self, probe: NDArray[np.bool_], gallery: NDArray[np.bool_], clips: int
    ) -> Recogniser:
        """Compares probes with a gallery by the current weights, the same on every process."""
        self._share_statistics()
        return Recogniser(
            self.embedder(),
            self.store,
            probe,
            gallery,
            self.config,
            clips=clips,
            share=self.share,
        )

    def embedder(self) -> Embedder:
        """Makes embeddings with the current weights."""
        projection = self.network.module.contrast.intra_projection
        shape = self.shape if uses_shape(self.config.retrieval.embedding) else None
        return Embedder(self.model, projection, self.config, self.fabric.device, shape)

    def _body_shape(self) -> BodyShape | None:
        """The body shape of the training people; the run keeps it for later comparisons."""
        if self.run.load_shape() is not None:
            return BodyShape.of_run(self.run)
        shape = fit_shape(self.store, self.splits.train, self.config, self.fabric.device)
        if shape is not None:
            shape.save(self.run)
        return shape

    def _share_statistics(self) -> None:
        """Each process has its own batch statistics; those of the first process are saved."""
        if self.fabric.world_size > 1:
            for buffer in self.model.buffers():
                torch.distributed.broadcast(buffer, 0)

    def _open_stream(self) -> Stream:
        return self.store.stream(
            self.splits.train,
            batch_size=self.config.optim.batch_size // self.fabric.world_size,
            sampling=clip_to_train(self.config.data),
            seed=self.config.seed,
            motion=self.make.motion,
            score=self.make.score,
            balance=self.config.data.balance,
            repeats=self.config.data.repeats,
            per_class=self.config.data.per_class,
            window=self.config.data.window,
            lanes=self.config.data.lanes,
            cache=self.config.data.cache_bytes,
            share=self.share,
        )

    def _epoch(self, request: StopRequest) -> None:
        epoch, steps = self.stream.epoch, self._steps()
        self.network.train()
        self.contrast.begin_epoch(epoch + 1, self.config.optim.epochs)
        saved = time.monotonic()
        for batch in self.meter.timed(self.stream):
            step = self.stream.step
            progress = (epoch + (step - 1) / steps) / self.config.optim.epochs
            self.step.set_lr(progress)
            # a network of the user may be random; the shipped networks are not
            torch.manual_seed(_seed_of(self.config.seed, epoch, step, self.share.rank))
            with enough_memory("lower optim.batch_size, or raise optim.accumulate"):
                self.step.take(self.make(batch, progress), batch.sample)
            self.monitor.step(epoch, step, steps, self.meter.rate, self.meter.waiting)
            look = step == steps or step % CHECK_EVERY == 0
            if look or (request.number and self.fabric.world_size == 1):
                self._check_finite()
                due, stop = self._agree(time.monotonic() - saved > SAVE_EVERY, request.number)
                if step < steps and (due or stop):
                    self._save("last")
                    saved = time.monotonic()
                    self._stop(stop, f"step {step} of epoch {epoch + 1}")
        if self.stream.epoch < self.config.optim.epochs:
            self.stream.begin()  # the next batches are ready when this epoch is recorded
        self._finish_epoch(epoch)
        self._stop(self._agree(due=False, stop=request.number)[1], f"epoch {epoch + 1}")

    def _steps(self) -> int:
        """Number of steps; raises AclnetError if the only batch is too small to cut."""
        plan = self.stream.plan(self.stream.epoch)
        parts = self.fabric.world_size * self.config.optim.accumulate
        if len(plan) < plan.batch and parts > 1:
            raise AclnetError(
                f"an epoch has {len(plan)} samples, fewer than one batch of {plan.batch}, "
                f"and {parts} processes or accumulated parts cannot share them: lower "
                "optim.batch_size"
            )
        return plan.steps

    def _check_finite(self) -> None:
        """Raises AclnetError if a loss since the last check, or a weight now, is not finite."""
        self.meter.check(self.store, self.fabric)
        finite = [parameter.isfinite().all() for parameter in self.network.parameters()]
        if not torch.stack(finite).all():
            raise AclnetError(
                f"the weights are not finite after step {self.stream.step} of epoch "
                f"{self.stream.epoch + 1}; lower optim.lr, or set optim.precision=32-true. The "
                "last checkpoint was saved before this step"
            )

    def _agree(self, due: bool, stop: int) -> tuple[bool, int]:
        """Returns whether the first process wants a checkpoint now, and a signal of any process."""
        if self.fabric.world_size == 1:
            return due, stop
        told = torch.tensor([due, stop], device=self.fabric.device)
        all_told = torch.as_tensor(self.fabric.all_gather(told))
        return bool(all_told[0, 0]), int(all_told[:, 1].max())

    def _stop(self, number: int, where: str) -> None:
        """Raises Stopped if a signal asked for it, after all state was saved."""
        if number:
            self.monitor.remark(f"saved after {where}")
            raise Stopped(number)

    def _finish_epoch(self, epoch: int) -> None:
        """Finishes an epoch: held-out scores, families, history, metrics, checkpoints."""
        sums, confusion = self.meter.reduce(self.fabric)
        row = {
            "epoch": epoch + 1,
            "lr": self.step.lr,
            **figures(sums, int(confusion.sum())),
            "seconds": self.meter.seconds,
            "sequences_per_second": self.meter.rate * self.fabric.world_size,
            "waiting": self.meter.waiting,
        }
        history = {"confusion/train": confusion.view(self.classes, -1).cpu().numpy()}
        better = False
        if self.select_on is not None:
            held_out = self._validate(self.select_on)
            row |= held_out.columns
            history |= held_out.confusion
            better, self.best = held_out.figure > self.best, max(held_out.figure, self.best)
        self.contrast.end_epoch()
        self.rows.append(row)
        with together():
            self._record(epoch, history)
        self.meter.reset()
        # Save `best` before `last`: `last` records the best score.
        for name in ("best", "last") if better else ("last",):
            self._save(name)
        self.monitor.epoch(row)

    def _validate(self, mask: NDArray[np.bool_]) -> _Validation:
        """Results of the samples that select the weights.

        A person is searched among the other samples, or in the gallery if the test side selects.
        """
        gallery = self.splits.gallery if mask is self.splits.test else None
        if self.config.task != "action" or gallery is not None:
            recognise = self.recogniser(mask, mask if gallery is None else gallery, clips=1)
            _, ranking = recognise().ranking()
            found = ranking.summary()
            columns = {"eval_rank1": found["rank1"], "eval_mAP": found["mAP"]}
            return _Validation(columns, float(np.nan_to_num(found["mAP"])), {})
        scores = self.evaluate(mask, clips=1)
        accuracy = on_first(lambda: scores.top1 if scores else 0.0)
        if self.config.loss.families.source == "val":
            pair = on_first(lambda: (scores.scores, scores.labels) if scores else ())
            shares, labels = (torch.from_numpy(value).to(self.fabric.device) for value in pair)
            self.contrast.count(shares.log(), labels)
        confusion = {"confusion/eval": scores.confusion()} if scores else {}
        return _Validation({"eval_accuracy": accuracy}, accuracy, confusion)

    def _record(self, epoch: int, history: dict[str, NDArray[Any]]) -> None:
        """Writes the epoch to history.zarr and metrics.csv, and informs the trackers."""
        if not self.fabric.is_global_zero:
            return
        families = self.contrast.families
        self.run.history.write(
            epoch,
            {
                **history,
                "affinity": families.affinity.cpu().numpy(),
                "family": families.member.cpu().numpy(),
                "temperature": families.temperature.cpu().numpy(),
            },
        )
        self.run.write_metrics(self.rows)
        self.trackers.log_epoch(self.rows[-1])

    def _tracked(self) -> TrackedRun:
        """The run in the form for trackers."""
        record = self.run.record
        facts = {"dataset": record.dataset, "test_split": self.run.test_split}
        return TrackedRun(
            record.name,
            self.run.path,
            by_name(self.config.model_dump(mode="json")),
            {**facts, "folder": str(self.run.path.resolve()), **record.environment},
            self.run.class_names,
            self.config.optim.epochs,
            self.stream.epoch,
        )

    def _save(self, name: str) -> None:
        """Writes all state."""
        meter = self.meter.state_dict(self.fabric)
        with together():
            if self.fabric.is_global_zero:
                self.run.save(
                    name,
                    {
                        "network": self.network.module.state_dict(),
                        "optimizer": self.step.raw_optimizer.state_dict(),
                        "precision": self.fabric.strategy.precision.state_dict(),
                        "stream": self.stream.state_dict(),
                        "meter": meter,
                        "rows": self.rows,
                        "best": self.best,
                        "computing": self._computing(),
                    },
                )

    def _resume(self) -> None:
        state = on_first(lambda: self.run.load("last"))
        if state is None:
            return
        with self.run.fitting("last"):
            self.network.module.load_state_dict(state["network"])
            self.step.raw_optimizer.load_state_dict(state["optimizer"])
            self.fabric.strategy.precision.load_state_dict(state["precision"])
            self.stream.load_state_dict(state["stream"])
            self.meter.load_state_dict(state["meter"], self.fabric)
            self.rows, self.best = state["rows"], state["best"]
        done, epochs = self.stream.epoch, self.config.optim.epochs
        where = f"after step {self.stream.step} of epoch {done + 1}" if self.stream.step else ""
        self.monitor.remark(f"resumes {where or f'after epoch {done}'} of {epochs}")
        self._compare_computing(state.get("computing", {}))

    def _computing(self) -> dict[str, str]:
        return computing(self.fabric.world_size, self.fabric.device)

    def _compare_computing(self, before: dict[str, str]) -> None:
        """Reports changes that affect rounding; older checkpoints lack the values."""
        now = self._computing()
        names = [name for name, was in before.items() if now.get(name, was) != was]
        if names:
            changed = "; ".join(f"{name} {before[name]}, now {now[name]}" for name in names)
            self.monitor.remark(
                "the weights will differ from those of an uninterrupted run: the run was trained "
                f"with {changed}"
            )


def _seed_of(*words: int) -> int:
    """Seed of torch's generator in a step, which then does not depend on the steps before."""
    return int(keyed_random.generator(*words).integers(1 << 62))
