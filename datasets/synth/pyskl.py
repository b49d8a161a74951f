"""Pickles in PYSKL's form: annotations, some of them damaged, and the ids of each split."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.synth.damage import deal_damage
from aclnet.datasets.synth.writing import write_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from aclnet.datasets.spec import Progress
    from aclnet.datasets.synth.clips import Clip
    from aclnet.datasets.synth.request import Request

    Annotation = dict[str, Any]

DAMAGES = ("not finite", "joint count", "label", "text")
"""Kinds of damage of an annotation."""


def annotate_all(
    request: Request,
    names: Sequence[str],
    annotate: Callable[[str], Annotation],
    progress: Progress,
) -> tuple[list[Annotation], dict[str, str]]:
    """An annotation with its `keypoint` for each name, and the kinds of the damaged ones."""
    damaged = deal_damage(request.seed, request.damage, names, DAMAGES, names)
    annotations = []
    for done, name in enumerate(names, start=1):
        annotation = annotate(name)
        if name in damaged:
            _spoil(annotation, damaged[name])
        annotations.append(annotation)
        progress("write", done, len(names))
    return annotations, damaged


def write_pickle(
    path: Path, split: Mapping[str, Sequence[str]], annotations: Sequence[Annotation]
) -> None:
    """Writes the pickle; raises AclnetError if this fails."""
    write_file(path, pickle.dumps({"split": split, "annotations": annotations}, protocol=4))


def split_of(clips: Iterable[Clip]) -> dict[str, list[str]]:
    """Ids of the clips of the sides `train` and `val`."""
    split: dict[str, list[str]] = {"train": [], "val": []}
    for clip in clips:
        split[clip.side].append(clip.name)
    return split


def _spoil(annotation: Annotation, kind: str) -> None:
    keypoint = annotation["keypoint"].copy()
    if kind == "not finite":
        keypoint[..., 0, 0] = np.nan
        annotation["keypoint"] = keypoint
    elif kind == "joint count":
        annotation["keypoint"] = keypoint[..., :-1, :]
    elif kind == "label":
        annotation["label"] = -1
    else:
        annotation["keypoint"] = "see the video"
