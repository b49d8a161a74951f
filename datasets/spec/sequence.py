"""The unit of data that readers produce and pipelines work on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from aclnet.datasets.spec.wording import shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Kind = Literal[
    "damaged",
    "listed as unusable",
    "unknown name",
    "there twice",
    "no person",
    "size",
    "broken link",
]


UNLABELLED = -1
"""Label of a recording whose class is not known. It can be predicted, but is on no side."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Facts that a store adds to a sequence; for sequences read from a store's export."""

    centre: NDArray[np.float32]
    """(C,) centre, see `aclnet.pipelines.steps.normalise.denormalise`."""
    rotation: NDArray[np.float32]
    """(C, C) rotation, see `aclnet.pipelines.steps.normalise.denormalise`."""
    original: str
    """Id of the recording. The sequence is this recording, a piece of it or a variant of it."""
    variant: int = 0
    """Number of the augmented copy; 0: not augmented."""


@dataclass(slots=True)
class SkeletonSequence:
    """One recording of M persons over T frames with V joints of C coordinates.

    The whole project names the axes like this: M persons, T frames, V joints, C coordinates.
    """

    sample_id: str
    keypoint: NDArray[np.float32]
    """(M, T, V, C) metres for 3-D layouts, pixels for 2-D ones; zeros where a person is absent."""
    label: int
    """Index of the class, from 0, or UNLABELLED."""
    present: NDArray[np.bool_]
    """(M, T) whether the person is in that frame. The source gives it; it is never guessed
    later."""
    frame_index: NDArray[np.int32]
    """(T,) number of each kept frame in the recording, from 0."""
    body_ids: list[str] = field(default_factory=list)
    """M identities given by the sensor; empty if the format has none."""
    score: NDArray[np.float32] | None = None
    """(M, T, V) confidence of each joint, if the format has one."""
    subject: int = -1
    camera: int = -1
    setup: int = -1
    replication: int = -1
    condition: str = ""
    fps: float = 0.0
    """Frames per second, the unit of `frame_index`; 0: not known."""
    width: int = 0
    """Image size in pixels, 0 for 3-D data."""
    height: int = 0
    source: str = ""
    """Path of the raw file relative to the folder that was prepared."""
    prepared: Prepared | None = None
    """Set for a sequence from a store, which is already cleaned, normalised and converted."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """An input that could not be used, and the reason."""

    path: str
    line: int | None
    """Line of a text file (from 1); None if the file has no lines."""
    reason: str
    """The fault, with details; reasons may differ from file to file."""
    kind: Kind = "damaged"
    """Heading under which summaries count the rejection."""

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        return f"{place}: {self.reason}"


_LONGEST_REASON: Final = 1000
"""Limit of a reason in characters. A reason repeats input text, which may be very long."""


class DamageError(Exception):
    """Damage of an input. Readers turn it into a Rejection."""

    def __init__(self, reason: str, line: int | None = None, kind: Kind = "damaged") -> None:
        self.reason = shown(reason, _LONGEST_REASON)
        super().__init__(self.reason)
        self.line = line
        self.kind = kind

    def at(self, path: str) -> Rejection:
        """The rejection of the input at that path."""
        return Rejection(path, self.line, self.reason, self.kind)


class NobodyError(DamageError):
    """An error for recordings without any person."""

    def __init__(self, where: str = "", line: int | None = None) -> None:
        """`where` is the place in the file, in words that end with a blank."""
        super().__init__(f"{where}no person in any frame", line, "no person")
