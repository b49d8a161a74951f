"""Made-up people in PYSKL's pickle of FineGYM-99: mostly one, at times two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.synth import Summary
from aclnet.datasets.synth.scenes import coco, filmed, rng_for
from aclnet.datasets.synth.video import (
    Clip,
    clips,
    crowd,
    damages_of,
    spoil,
    write_annotations,
    youtube_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aclnet.datasets.synth import Generate


def _generate(
    folder: Path,
    *,
    sequences: int,
    subjects: int,
    seed: int,
    damage: float,
    progress: Callable[[int, int], None],
) -> Summary:
    """A `Generate`: `gym_hrnet.pkl`."""
    chosen = clips(sequences, subjects, seed, _name)
    spoilt = damages_of([clip.name for clip in chosen], damage, seed)
    annotations = []
    for number, clip in enumerate(chosen):
        annotation = _annotation(seed, clip)
        if clip.name in spoilt:
            spoil(annotation, spoilt[clip.name])
        annotations.append(annotation)
        progress(number + 1, sequences)
    write_annotations(folder / "gym_hrnet.pkl", chosen, annotations)
    return Summary(sequences, tuple(sorted(spoilt)))


def _name(rng: np.random.Generator) -> str:
    """Video, event and element, with the times of the latter two."""
    event, element = np.sort(rng.integers(0, 5000, 2)), np.sort(rng.integers(0, 60, 2))
    return f"{youtube_id(rng)}_E_{event[0]:06}_{event[1]:06}_A_{element[0]:04}_{element[1]:04}"


def _annotation(seed: int, clip: Clip) -> dict[str, Any]:
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
