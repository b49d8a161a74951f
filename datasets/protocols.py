"""Evaluation protocols as data: who trains, who is tested, how many samples that must make.

Sources: the README of NTU RGB+D (Shahroudy et al., CVPR 2016; Liu et al., TPAMI 2019) for its
four; Chen, Jafari and Kehtarnavaz (ICIP 2015) for UTD-MHAD's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from aclnet.datasets.errors import AclnetError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

OWN = "own"
"""Protocol of a source whose splits have no name but train and val."""

Column = Literal["subject", "camera", "setup"]
Verdict = Literal["complete", "subset", "wrong", "not published"]


@dataclass(frozen=True, slots=True)
class Protocol:
    """A split by the value of one column: some values train, all others are tested."""

    name: str
    column: Column
    train: frozenset[int]
    """Values of the column that train."""
    published: tuple[int, int]
    """(training, test) samples of the complete set."""
    num_classes: int | None = None
    """Only samples of the first so many classes take part; None: all do."""


@dataclass(frozen=True, slots=True)
class SideCount:
    """How many recordings a protocol side has, against how many it must have."""

    side: str
    expected: int | None
    """None where nobody has published it."""
    found: int
    verdict: Verdict

    def __str__(self) -> str:
        return f"{self.side}: {self.found:,} of {self.expected or 0:,} ({self.verdict})"


# fmt: off
_XSUB_60 = frozenset({
    1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38,
})
_XSUB_120 = _XSUB_60 | {
    45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86, 89,
    91, 92, 93, 94, 95, 97, 98, 100, 103,
}
# fmt: on
_XVIEW_60 = frozenset({2, 3})
_XSET_120 = frozenset(range(2, 33, 2))

PROTOCOLS: dict[str, tuple[Protocol, ...]] = {
    "ntu60": (
        Protocol("xsub", "subject", _XSUB_60, (40_091, 16_487)),
        Protocol("xview", "camera", _XVIEW_60, (37_646, 18_932)),
    ),
    "ntu120": (
        Protocol("xsub", "subject", _XSUB_120, (63_026, 50_919)),
        Protocol("xset", "setup", _XSET_120, (54_468, 59_477)),
        Protocol("ntu60-xsub", "subject", _XSUB_60, (40_091, 16_487), num_classes=60),
        Protocol("ntu60-xview", "camera", _XVIEW_60, (37_646, 18_932), num_classes=60),
    ),
    "utd-mhad": (Protocol("xsub", "subject", frozenset({1, 3, 5, 7}), (431, 430)),),
    "pkummd": (),
    "kinetics": (),
    "finegym": (),
}
"""Protocols of each dataset, the customary one first; none where its files bring the splits."""


def published_counts(dataset: str) -> dict[str, int]:
    """Samples of each protocol side (`xsub/train`) in the complete set."""
    return {
        f"{protocol.name}/{side}": count
        for protocol in _protocols(dataset)
        for side, count in zip(("train", "test"), protocol.published, strict=True)
    }


def sides(dataset: str, columns: Mapping[str, NDArray[np.integer]]) -> dict[str, NDArray[np.bool_]]:
    """Which samples are on each side of each of the dataset's protocols.

    `columns` holds an (N,) integer array for each of `subject`, `camera`, `setup` that the
    protocols split by, and `label`. The result maps `<protocol>/train` and `<protocol>/test` to
    (N,) masks. A sample whose column is unknown (negative) is on neither side.
    """
    masks: dict[str, NDArray[np.bool_]] = {}
    for protocol in _protocols(dataset):
        values = columns[protocol.column]
        takes_part = values >= 0
        if protocol.num_classes is not None:
            takes_part = takes_part & (columns["label"] < protocol.num_classes)
        trains = np.isin(values, list(protocol.train))
        masks[f"{protocol.name}/train"] = takes_part & trains
        masks[f"{protocol.name}/test"] = takes_part & ~trains
    return masks


def check_counts(dataset: str, found: Mapping[str, int]) -> tuple[SideCount, ...]:
    """Compares each `protocol/side` of the dataset, its recordings counted, with the published one.

    Fewer recordings than published are a subset of the dataset. Too many on a side, or as many in
    the protocol's two sides together but shared out otherwise, are wrong: recordings carry wrong
    subjects, cameras or setups, or unusable ones were let in.
    """
    published = published_counts(dataset)
    full = {
        protocol.name: sum(found.get(f"{protocol.name}/{side}", 0) for side in ("train", "test"))
        >= sum(protocol.published)
        for protocol in _protocols(dataset)
    }
    return tuple(
        SideCount(
            side,
            published.get(side),
            count,
            _verdict(published.get(side), count, full.get(side.partition("/")[0], False)),
        )
        for side, count in found.items()
    )


def _verdict(expected: int | None, found: int, is_full: bool) -> Verdict:
    if expected is None:
        return "not published"
    if found == expected:
        return "complete"
    return "wrong" if is_full or found > expected else "subset"


def _protocols(dataset: str) -> tuple[Protocol, ...]:
    try:
        return PROTOCOLS[dataset]
    except KeyError:
        raise AclnetError(
            f"no protocols are known for dataset {dataset!r}; known: {', '.join(PROTOCOLS)}"
        ) from None
