"""Joints of one layout from those of another."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.errors import AclnetError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import NDArray

    from aclnet.datasets.sequence import Sequence
    from aclnet.datasets.source import DatasetSpec


def with_layout(spec: DatasetSpec, layout: str) -> DatasetSpec:
    """The dataset in another layout of the registry, as it is where `layout` is empty.

    AclnetError where no conversion leads there.
    """
    if layout in ("", spec.layout):
        return spec
    if (spec.source_layout, layout) not in CONVERSIONS:
        known = [target for source, target in CONVERSIONS if source == spec.source_layout]
        raise AclnetError(
            f"joints of layout {spec.source_layout} cannot become {layout}; "
            f"they can become: {', '.join(known) or 'no other layout'}"
        )
    return replace(spec, raw_layout=spec.source_layout, layout=layout)


def convert(sequence: Sequence, source: str, target: str) -> Sequence:
    """The sequence with its joints, and their scores, in another layout of the registry.

    KeyError where the two layouts have no conversion in `CONVERSIONS`.
    """
    joints = CONVERSIONS[source, target]
    score = sequence.score
    return replace(
        sequence,
        keypoint=joints(sequence.keypoint),
        score=None if score is None else joints(score[..., None])[..., 0],
    )


def _with_midpoints(x: NDArray[Any]) -> NDArray[Any]:
    """(..., 20, C) from COCO's 17 joints: the middles of hips, of torso and of shoulders, added.

    Kinetics_Transform of the released ACLNet. A missing joint counts as the zero that it is.
    """
    hips = (x[..., 11, :] + x[..., 12, :]) / 2
    shoulders = (x[..., 5, :] + x[..., 6, :]) / 2
    added = np.stack([hips, (hips + shoulders) / 2, shoulders], axis=-2)
    return np.concatenate([x, added], axis=-2)


CONVERSIONS: dict[tuple[str, str], Callable[[NDArray[Any]], NDArray[Any]]] = {
    ("coco", "coco_new"): _with_midpoints,
}
"""By the names of the layouts: (..., V, C) to (..., V', C), of coordinates and scores alike."""
