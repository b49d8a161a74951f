"""Synthetic people in PYSKL's pickle of FineGYM-99: usually one, sometimes two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.spec import silent
from aclnet.datasets.synth.clips import Clip, clips, crowd, youtube_id
from aclnet.datasets.synth.filming import coco, filmed
from aclnet.datasets.synth.pyskl import annotate_all, split_of, write_pickle
from aclnet.datasets.synth.request import Request, Summary
from aclnet.datasets.synth.seeding import rng_for

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.datasets.spec import Progress
    from aclnet.datasets.synth.pyskl import Annotation
    from aclnet.datasets.synth.request import Generate


def _generate(folder: Path, request: Request, progress: Progress = silent) -> Summary:
    """Writes `gym_hrnet.pkl`; a `Generate`."""
    chosen = {clip.name: clip for clip in clips(request, _name)}
    annotations, damaged = annotate_all(
        request, [*chosen], lambda name: _annotation(request.seed, chosen[name]), progress
    )
    write_pickle(folder / "gym_hrnet.pkl", split_of(chosen.values()), annotations)
    return Summary(len(chosen), damaged)


def _name(rng: np.random.Generator) -> str:
    """A name of video, event and element, with the times of the latter two."""
    event, element = np.sort(rng.integers(0, 5000, 2)), np.sort(rng.integers(0, 60, 2))
    return f"{youtube_id(rng)}_E_{event[0]:06}_{event[1]:06}_A_{element[0]:04}_{element[1]:04}"


def _annotation(seed: int, clip: Clip) -> Annotation:
    rng = rng_for(seed, "athlete", clip.name)
    height, width = (720, 1280) if rng.random() < 0.5 else (360, 640)
    body = coco(crowd(seed, clip, 0))
    pixels, score = filmed(body, width, height, rng)
    return {
        "frame_dir": clip.name,
        "label": clip.label,
        "img_shape": (height, width),
        "original_shape": (height, width),
        "total_frames": body.shape[1],
        "keypoint": pixels.astype(np.float16),
        "keypoint_score": score.astype(np.float16),
    }


FORMS: dict[str, dict[str, Generate]] = {"finegym": {"pyskl": _generate}}
