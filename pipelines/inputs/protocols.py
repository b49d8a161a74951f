"""Protocols of the occlusion bench: named corruptions, and lists of them.

The name of a protocol determines the corruption: if a change alters the numbers of a protocol, its
name gets a higher version. docs/occlusion.md lists the names and the joints.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

from aclnet.datasets.spec import AclnetError, did_you_mean
from aclnet.pipelines.inputs.corruptions.frames import (
    CentredFrames,
    DroppedFrames,
    FrameBlock,
    LowerRate,
)
from aclnet.pipelines.inputs.corruptions.jitter import Jitter
from aclnet.pipelines.inputs.corruptions.joints import Drop, OneJoint, RandomJoints
from aclnet.pipelines.inputs.corruptions.occluder import Occluder
from aclnet.pipelines.inputs.corruptions.persons import ExchangedPersons, LostPersons
from aclnet.pipelines.inputs.corruptions.sides import SwappedSides

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aclnet.datasets.spec.layouts import Layout
    from aclnet.pipelines.choices import Missing, Suite
    from aclnet.pipelines.inputs.corruptions.corruption import Corruption

PARTS = "parts-v1"
RAGCN = {
    "left_arm": (4, 5, 6, 7, 21, 22),
    "right_arm": (8, 9, 10, 11, 23, 24),
    "hands": (21, 22, 23, 24),
    "legs": (12, 13, 14, 15, 16, 17, 18, 19),
    "trunk": (0, 1, 2, 3, 20),
}
"""Joints of nturgb+d, from 0, as the code of RA-GCN lists them (Song et al., ICIP 2019)."""
_LIMBS = ("left_arm", "right_arm", "left_leg", "right_leg", "trunk", "head")


@dataclass(frozen=True, slots=True)
class Protocol:
    """A corruption with a name."""

    name: str
    """Full name, for example `joints-v1/frame-0.3 (centre)`: with the meaning of missing, if it
    matters, and the seed, if it is not 0."""
    corruption: Corruption
    curve: str | None
    """Common name of protocols that differ only in their severity; None: there are no others."""
    severity: float
    """Severity: 0 changes nothing; 1 if there are no degrees."""


class _Entry(NamedTuple):
    """Maker of a protocol for a layout."""

    make: Callable[[Layout], Corruption]
    severity: float | None = None


def open_protocol(
    name: str, layout: Layout, missing: Missing = "centre", seed: int = 0
) -> Protocol:
    """The protocol `name` for a layout.

    `parts-v1/` takes any parts or joints of the layout, and may be left out: `hands+Head`. Raises
    AclnetError for an unknown name, and if the layout lacks parts that the protocol needs.
    """
    if "/" not in name:
        name = f"{PARTS}/{name}"
    family, _, rest = name.partition("/")
    if name in PROTOCOLS:
        entry = PROTOCOLS[name]
    elif family == PARTS:
        entry = _Entry(partial(Drop.of, rest))
    else:
        raise AclnetError(
            f"there is no protocol {name!r}{did_you_mean(name, PROTOCOLS)}; "
            f"the names are {', '.join(PROTOCOLS)}"
        )
    corruption = replace(entry.make(layout), seed=seed)
    if corruption.hides:
        corruption = replace(corruption, missing=missing)
    words: list[str] = [corruption.missing] if corruption.hides else []
    words += [f"seed {seed}"] if seed else []
    return Protocol(
        f"{name} ({', '.join(words)})" if words else name,
        corruption,
        None if entry.severity is None else name.rpartition("-")[0],
        1.0 if entry.severity is None else entry.severity,
    )


def _ragcn(part: str, layout: Layout) -> Corruption:
    if layout.name != "nturgb+d":
        raise AclnetError(
            f"ragcn-v1/{part} is for layout nturgb+d, not for {layout.name}; parts-v1 has parts of "
            "every layout"
        )
    return Drop(RAGCN[part])


def _posec3d(rate: float, layout: Layout) -> Corruption:
    return OneJoint(rate, layout.resolve("arms+legs"))


def _fixed(kind: Callable[..., Corruption], **values: Any) -> Callable[[Layout], Corruption]:  # noqa: ANN401
    """Makes the same corruption for every layout."""
    return lambda _: kind(**values)


def _entries() -> Iterator[tuple[str, _Entry]]:
    for part in RAGCN:
        yield f"ragcn-v1/{part}", _Entry(partial(_ragcn, part))
    for frames in (10, 20, 30, 40, 50):
        yield f"ragcn-v1/frames-{frames}", _Entry(_fixed(CentredFrames, frames=frames), frames)
    hands = ("left_hand", "right_hand")
    pairs = ("+".join(pair) for pair in combinations(_LIMBS, 2))
    both = {"left_arm+right_arm": "arms", "left_leg+right_leg": "legs"}
    parts = [*hands, "hands", *_LIMBS, *(both.get(pair, pair) for pair in pairs)]
    for part in parts:
        yield f"{PARTS}/{part}", _Entry(partial(Drop.of, part))
    for tenths in range(1, 8):
        rate = tenths / 10
        yield f"joints-v1/frame-{rate}", _Entry(_fixed(RandomJoints, rate=rate), rate)
    for tenths in range(1, 8):
        rate = tenths / 10
        every = _fixed(RandomJoints, rate=rate, by="sequence")
        yield f"joints-v1/sequence-{rate}", _Entry(every, rate)
    for rate in (0.125, 0.25, 0.5, 1.0):
        yield f"posec3d-v1/limb-{rate:g}", _Entry(partial(_posec3d, rate), rate)
    for share in (0.1, 0.2, 0.3, 0.4, 0.5):
        yield f"frames-v1/block-{share}", _Entry(_fixed(FrameBlock, share=share), share)
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        yield f"frames-v1/dropped-{share}", _Entry(_fixed(DroppedFrames, share=share), share)
    for every_one in (2, 4, 8):
        entry = _Entry(_fixed(LowerRate, every=every_one), 1 - 1 / every_one)
        yield f"frames-v1/every-{every_one}", entry
    for share in (0.1, 0.5, 1.0):
        for sigma in (0.01, 0.02, 0.05, 0.1):
            jitter = _fixed(Jitter, sigma=sigma, share=share)
            yield f"jitter-v1/share-{share:g}-sigma-{sigma}", _Entry(jitter, sigma)
    for width in (0.2, 0.4, 0.8):
        yield f"occluder-v1/strip-{width}", _Entry(_fixed(Occluder, width=width), width)
    for rate in (0.1, 0.3, 0.5, 1.0):
        yield f"sides-v1/swapped-{rate:g}", _Entry(partial(SwappedSides.of, rate), rate)
    yield "persons-v1/lost", _Entry(_fixed(LostPersons))
    yield "persons-v1/exchanged", _Entry(_fixed(ExchangedPersons))


PROTOCOLS: dict[str, _Entry] = dict(_entries())
"""Every protocol by name, except other parts and joints of `parts-v1`."""

_QUICK = (
    *(f"{PARTS}/{part}" for part in ("hands", "arms", "legs", "trunk")),
    *("joints-v1/frame-0.3", "frames-v1/block-0.3"),
)
_STANDARD = (
    *(f"ragcn-v1/{part}" for part in RAGCN),
    *(f"ragcn-v1/frames-{frames}" for frames in (10, 20, 30, 40, 50)),
    *(f"{PARTS}/{part}" for part in ("left_hand", "right_hand", "hands", *_LIMBS, "arms", "legs")),
    *(f"joints-v1/{by}-{rate}" for by in ("frame", "sequence") for rate in (0.1, 0.3, 0.5, 0.7)),
    *(f"frames-v1/block-{share}" for share in (0.1, 0.3, 0.5)),
    *(f"frames-v1/every-{every}" for every in (2, 4)),
    *(f"jitter-v1/share-1-sigma-{sigma}" for sigma in (0.02, 0.05, 0.1)),
    *("posec3d-v1/limb-1", "frames-v1/dropped-0.5", "occluder-v1/strip-0.4"),
    *("sides-v1/swapped-0.5", "persons-v1/lost", "persons-v1/exchanged"),
)
SUITES: dict[Suite, tuple[str, ...]] = {
    "quick": _QUICK,
    "standard": _STANDARD,
    "full": tuple(PROTOCOLS),
}
"""Names of protocols by suite."""
