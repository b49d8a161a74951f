"""The contract of a tracker: the facts that it gets, and the methods that it may have."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from aclnet.datasets.formats.atomic import write_json
from aclnet.datasets.formats.json_text import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """The run that a tracker follows: the first argument of the function that builds a tracker."""

    name: str
    folder: Path
    """Folder of the run. A tracker may write files of its own into it."""
    settings: dict[str, Any]
    """Settings by their names with dots, for example `optim.epochs`."""
    facts: dict[str, str]
    """Data, split, versions and machine by name."""
    class_names: list[str]
    epochs: int
    """Number of epochs that are trained in all."""
    done: int
    """Number of epochs that were trained before: more than 0 if an interrupted run resumes."""

    def remember(self, tracker: str, **values: str) -> None:
        """Stores what a tracker needs to continue when the run resumes, in the run's folder."""
        file = self._memory(tracker)
        file.parent.mkdir(exist_ok=True)
        write_json(file, values)

    def recall(self, tracker: str) -> dict[str, str]:
        """Returns the values that `remember` stored last, or an empty dict.

        Raises DamageError if they cannot be read.
        """
        file = self._memory(tracker)
        return dict(parse_json(file.read_bytes())) if file.is_file() else {}

    def _memory(self, tracker: str) -> Path:
        return self.folder / "tracking" / f"{tracker}.json"


class LabelledVectors(NamedTuple):
    """Embeddings of N sequences."""

    vectors: NDArray[np.float32]
    """(N, D) vectors."""
    labels: list[str]
    """Class name of each sequence."""


@dataclass(frozen=True)
class Outcome:
    """The results of a finished run. Images and embeddings are computed when they are first used.

    `draw` and `embed` compute them.
    """

    epoch: int
    """Last epoch, from 1."""
    figures: dict[str, float]
    """Results of the test split by name, for example `test/top1`. Empty if nothing was tested."""
    draw: Callable[[], dict[str, NDArray[np.uint8]]]
    embed: Callable[[], LabelledVectors | None]

    @cached_property
    def images(self) -> dict[str, NDArray[np.uint8]]:
        """Images (H, W, 3) by name: `affinity` and, for actions, `confusion`."""
        return self.draw()

    @cached_property
    def embeddings(self) -> LabelledVectors | None:
        """Embeddings of at most 2000 sequences of the test split; None if nothing was tested."""
        return self.embed()


class Tracker:
    """Base class of trackers. Its methods do nothing: override those that you need.

    Only the first process of a training has trackers. A tracker must not change the training. If a
    method raises an exception, the training reports it and continues without the tracker.
    """

    place = ""
    """Place of the values, for example an address. The training prints it."""

    def log_epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        """Receives the values of an epoch (from 1) by grouped name, for example `loss/total`.

        An epoch is logged twice if a run was interrupted between logging and its checkpoint.
        """

    def log_outcome(self, outcome: Outcome) -> None:
        """Receives the results, once, when the run is finished."""

    def close(self, *, finished: bool) -> None:
        """Is called at the end: `finished` is False if the training was interrupted or failed."""
