"""Joints of one layout from the joints of another: the table of conversions, and its use."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.spec.layouts import get_layout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from aclnet.datasets.spec import DatasetSpec, SkeletonSequence


@dataclass(frozen=True, slots=True)
class Conversion:
    """The sources of a layout's joints; joints without an entry keep their name."""

    joints: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    """Source joint of each target joint, or the joints whose middle it is. These may also be
    earlier target joints."""
    approximated: tuple[str, ...] = ()
    """Target joints that only approximate the joint which their layout means by the name."""
    missing_counts: bool = False
    """True if a missing joint counts as zero; else joints made from it are missing too."""


_SHOULDERS, _HIPS = ("LShoulder", "RShoulder"), ("LHip", "RHip")

CONVERSIONS: Mapping[tuple[str, str], Conversion] = {
    # Kinetics_Transform of the released ACLNet
    ("coco", "coco_new"): Conversion(
        {"MidHip": _HIPS, "MidShoulder": _SHOULDERS, "MidTorso": ("MidHip", "MidShoulder")},
        missing_counts=True,
    ),
    ("coco", "openpose"): Conversion({"Neck": _SHOULDERS}, approximated=("Neck",)),
    ("openpose", "coco"): Conversion(),
    ("openpose", "openpose_new"): Conversion({"MidHip": _HIPS, "MidTorso": ("MidHip", "Neck")}),
    ("openpose25", "openpose"): Conversion(),
    ("halpe26", "openpose"): Conversion(),
    ("halpe26", "coco"): Conversion(),
    ("mediapipe", "coco"): Conversion(),
    ("coco_wholebody", "coco"): Conversion(),
    ("halpe136", "halpe26"): Conversion(),
    ("openpose67", "openpose25"): Conversion(),
    ("openpose137", "openpose25"): Conversion(),
    ("mediapipe_holistic", "mediapipe"): Conversion(),
    ("nturgb+d", "kinect_v1"): Conversion(
        {"HipCenter": "SpineBase", "Spine": "SpineMid", "ShoulderCenter": "SpineShoulder"}
    ),
    ("nturgb+d", "kinect18"): Conversion(),
    ("kinect_v1", "utd_mhad"): Conversion(),
    ("utd_mhad", "kinect_v1"): Conversion(),
}
"""Conversions by source and target; if there is no direct one, a chain of several is used."""


def with_layout(spec: DatasetSpec, layout: str) -> DatasetSpec:
    """The dataset in another shipped layout; unchanged if `layout` is empty.

    Raises AclnetError if no conversion leads there.
    """
    if layout in ("", spec.layout):
        return spec
    if layout == spec.raw_layout:
        return replace(spec, raw_layout=None, layout=layout)
    if _route(spec.source_layout, layout) is None:
        known = sorted(
            {target for _, target in CONVERSIONS if _route(spec.source_layout, target)}
            - {spec.source_layout}
        )
        raise AclnetError(
            f"joints of layout {spec.source_layout} cannot be converted to {layout}; possible "
            f"layouts: {', '.join(known) or 'none'}"
        )
    return replace(spec, raw_layout=spec.source_layout, layout=layout)


def summary(spec: DatasetSpec) -> dict[str, list[str]]:
    """Layouts that joints of a dataset go through, and the joints that are approximated then.

    The keys are `layouts` and `approximated`, for a store to record; empty without a conversion.
    """
    if spec.raw_layout is None:
        return {}
    route = _route(spec.raw_layout, spec.layout) or ()
    return {
        "layouts": list(route),
        "approximated": list(approximated(spec.raw_layout, spec.layout)),
    }


def approximated(source: str, target: str) -> tuple[str, ...]:
    """Joints of the target layout, in its order, that are made by approximation."""
    found: set[str] = set()
    for step in _steps(source, target):
        conversion = CONVERSIONS[step]
        before, found = found, set(conversion.approximated)
        for joint in [*conversion.joints, *get_layout(step[1]).joints]:
            if any(name in before | found for name in _sources(conversion, joint)):
                found.add(joint)
    return tuple(joint for joint in get_layout(target).joints if joint in found)


def convert(sequence: SkeletonSequence, source: str, target: str) -> SkeletonSequence:
    """The sequence with its joints, and their scores, in another layout of the registry.

    A joint in the middle of others has the mean of their scores, and is missing (zero) if one of
    them is, unless its conversion says otherwise. Raises KeyError if no conversion leads there.
    """
    keypoint, score = sequence.keypoint, sequence.score
    for step in _steps(source, target):
        keypoint, score = _convert(keypoint, score, *step)
    return replace(sequence, keypoint=keypoint, score=score)


def _convert(
    keypoint: NDArray[np.float32], score: NDArray[np.float32] | None, source: str, target: str
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    conversion = CONVERSIONS[source, target]
    x = keypoint if score is None else np.concatenate([keypoint, score[..., None]], axis=-1)
    joints = {name: x[..., j, :] for j, name in enumerate(get_layout(source).joints)}
    known = dict(joints)
    for joint, made_of in conversion.joints.items():
        if isinstance(made_of, str):
            known[joint] = joints[made_of]
        else:
            parts = [known[name] for name in made_of]
            known[joint] = _middle(parts, keypoint.shape[-1], conversion.missing_counts)
    converted = np.stack([known[name] for name in get_layout(target).joints], axis=-2)
    if score is None:
        return converted, None
    return converted[..., :-1], converted[..., -1]


def _middle(
    parts: list[NDArray[np.float32]], coordinates: int, missing_counts: bool
) -> NDArray[np.float32]:
    """(..., C) mean of joints (..., C), whose first values are coordinates."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    middle = np.asarray(total / len(parts), np.float32)
    if not missing_counts:
        there = [(part[..., :coordinates] != 0).any(axis=-1) for part in parts]
        middle[~np.logical_and.reduce(there)] = 0
    return middle


def _sources(conversion: Conversion, joint: str) -> tuple[str, ...]:
    made_of = conversion.joints.get(joint, joint)
    return (made_of,) if isinstance(made_of, str) else made_of


def _steps(source: str, target: str) -> list[tuple[str, str]]:
    route = _route(source, target)
    if route is None:
        raise KeyError((source, target))
    return list(pairwise(route))


@cache
def _route(source: str, target: str) -> tuple[str, ...] | None:
    """Layouts from source to target by the fewest conversions; None if there is no way."""
    routes: dict[str, tuple[str, ...]] = {source: (source,)}
    waiting = deque([source])
    while waiting:
        layout = waiting.popleft()
        for begin, end in CONVERSIONS:
            if begin == layout and end not in routes:
                routes[end] = (*routes[layout], end)
                waiting.append(end)
    return routes.get(target)
