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
"""Label of a recording whose class is not known: it can be predicted, and is on no side."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a store knows of a sequence besides: of one that comes back out of its export."""

    centre: NDArray[np.float32]
    """(C,) see `aclnet.pipelines.steps.normalise.denormalise`."""
    rotation: NDArray[np.float32]
    """(C, C) see there."""
    original: str
    """Id of the recording that the sequence is, is a piece of, or is a variant of."""
    variant: int = 0
    """0: no augmented copy."""


@dataclass(slots=True)
class SkeletonSequence:
    """One recording of M persons over T frames with V joints of C coordinates.

    Axes are named throughout the project as here: M persons, T frames, V joints, C coordinates.
    """

    sample_id: str
    keypoint: NDArray[np.float32]
    """(M, T, V, C); metres for 3-D layouts, pixels for 2-D ones; zeros where a person is absent."""
    label: int
    """Class index from 0, or UNLABELLED."""
    present: NDArray[np.bool_]
    """(M, T): is the person there in that frame? Told by the source, never guessed later."""
    frame_index: NDArray[np.int32]
    """(T,): number of each kept frame in the recording, from 0."""
    body_ids: list[str] = field(default_factory=list)
    """M identities as the sensor gave them, empty where the format has none."""
    score: NDArray[np.float32] | None = None
    """(M, T, V) confidence of each joint, where the format has one."""
    subject: int = -1
    camera: int = -1
    setup: int = -1
    replication: int = -1
    condition: str = ""
    fps: float = 0.0
    """Frames a second, by which `frame_index` counts; 0: not known."""
    width: int = 0
    """Image size in pixels, 0 for 3-D data."""
    height: int = 0
    source: str = ""
    """Path of the raw file relative to the folder that was prepared."""
    prepared: Prepared | None = None
    """Of a sequence that was in a store: it is cleaned, normalised and converted, once."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """An input that could not be used, and why."""

    path: str
    line: int | None
    """Line of a text file (from 1), None where lines mean nothing."""
    reason: str
    """What is wrong, with the particulars: no two files need have the same."""
    kind: Kind = "damaged"
    """What summaries count it under."""

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        return f"{place}: {self.reason}"


_LONGEST_REASON: Final = 1000
"""Characters of a reason. A reason repeats text of the input, which may be as long as its file."""


class DamageError(Exception):
    """What is wrong with an input, for a reader to turn into a Rejection."""

    def __init__(self, reason: str, line: int | None = None, kind: Kind = "damaged") -> None:
        self.reason = shown(reason, _LONGEST_REASON)
        super().__init__(self.reason)
        self.line = line
        self.kind = kind

    def at(self, path: str) -> Rejection:
        """The rejection of the input at that path."""
        return Rejection(path, self.line, self.reason, self.kind)


class NobodyError(DamageError):
    """Nobody is there in any frame of a recording."""

    def __init__(self, where: str = "", line: int | None = None) -> None:
        """`where` in the file, in words that end in a blank."""
        super().__init__(f"{where}no person in any frame", line, "no person")
