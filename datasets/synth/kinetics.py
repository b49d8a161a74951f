"""Made-up people in the forms of Kinetics-Skeleton 400: ST-GCN's JSON files, PYSKL's pickles."""

from __future__ import annotations

import json
import pickle
from importlib.resources import files
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.synth import Summary, recordings
from aclnet.datasets.synth.recordings import write_file, write_recordings
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
    from aclnet.datasets.synth.body import FloatArray

_WIDTH, _HEIGHT = 340, 256
_OPENPOSE = (0, 17, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""OpenPose's joints among COCO's and the middle of the shoulders."""
_BYSTANDERS = 4
_NO_SKELETON = 20
"""One clip of so many has no skeleton."""
_CLIPS_A_FILE = 8
_BOX_SCORES = (0.5, 0.6, 0.7, 0.8, 0.9)


def _json(
    folder: Path,
    *,
    sequences: int,
    subjects: int,
    seed: int,
    damage: float,
    progress: Callable[[int, int], None],
) -> Summary:
    """A `Generate`: `kinetics_train/ID.json`, `kinetics_val/ID.json` and their label files."""
    chosen = {
        f"kinetics_{c.side}/{c.name}.json": c for c in clips(sequences, subjects, seed, youtube_id)
    }
    empty = set([*chosen][_NO_SKELETON - 1 :: _NO_SKELETON])
    names = (files("aclnet.datasets.tables") / "kinetics_classes.txt").read_text().splitlines()

    def make(path: str) -> FloatArray:
        values = _found(seed, chosen[path])
        return np.zeros_like(values) if path in empty else values

    def encode(path: str, values: FloatArray) -> bytes:
        label = chosen[path].label
        told = {"data": _frames(values), "label": names[label], "label_index": label}
        return json.dumps(told).encode()

    damages = (*recordings.DAMAGES, "no person")
    summary = write_recordings(
        folder,
        sorted(chosen),
        make,
        encode,
        seed=seed,
        damage=damage,
        progress=progress,
        damages=damages,
    )
    for side in ("train", "val"):
        labels = {
            clip.name: {
                "has_skeleton": path not in empty,
                "label": names[clip.label],
                "label_index": clip.label,
            }
            for path, clip in chosen.items()
            if clip.side == side
        }
        write_file(folder / f"kinetics_{side}_label.json", json.dumps(labels).encode())
    return summary


def _found(seed: int, clip: Clip) -> FloatArray:
    """(T, 18, M, 3) x and y as shares of the image, scores; zero where nothing was found."""
    rng = rng_for(seed, "openpose", clip.name)
    body = coco(crowd(seed, clip, _BYSTANDERS))
    body = np.concatenate([body, body[..., 5:7, :].mean(axis=-2, keepdims=True)], axis=-2)
    pixels, score = filmed(body[..., _OPENPOSE, :], _WIDTH, _HEIGHT, rng)
    shares = pixels / np.array([_WIDTH, _HEIGHT])
    values = np.concatenate([shares, 1.2 * score[..., None]], axis=-1)
    values[~((shares >= 0) & (shares <= 1.1)).all(axis=-1)] = 0
    values = values.transpose(1, 2, 0, 3)
    values = np.stack([frame[:, rng.permutation(values.shape[2])] for frame in values])
    values[: rng.integers(6)] = 0  # nobody was found at the beginning
    return values


def _frames(values: FloatArray) -> list[dict[str, Any]]:
    frames = []
    for number, frame in enumerate(values.round(3), start=1):
        people = frame.transpose(1, 0, 2)
        skeleton = [
            {"pose": person[:, :2].ravel().tolist(), "score": person[:, 2].tolist()}
            for person in people[people.any(axis=(1, 2))]
        ]
        frames.append({"frame_index": number, "skeleton": skeleton})
    return frames


def _pyskl(
    folder: Path,
    *,
    sequences: int,
    subjects: int,
    seed: int,
    damage: float,
    progress: Callable[[int, int], None],
) -> Summary:
    """A `Generate`: `k400_hrnet.pkl`, and the joints in `kpfiles/` of several clips each."""
    chosen = clips(sequences, subjects, seed, youtube_id)
    spoilt = damages_of([clip.name for clip in chosen], damage, seed)
    annotations = []
    joints: dict[str, dict[str, Any]] = {}
    for number, clip in enumerate(chosen):
        annotation = _packed(seed, clip)
        if clip.name in spoilt:
            spoil(annotation, spoilt[clip.name])
        file = f"kpfiles/clips_{number // _CLIPS_A_FILE:03}.pkl"
        annotation["raw_file"] = f"data/k400/{file}"
        joints.setdefault(file, {})[clip.name] = {"keypoint": annotation.pop("keypoint")}
        annotations.append(annotation)
        progress(number + 1, sequences)
    for file, content in joints.items():
        write_file(folder / PurePosixPath(file), pickle.dumps(content))
    write_annotations(folder / "k400_hrnet.pkl", chosen, annotations)
    return Summary(sequences, tuple(sorted(spoilt)))


def _packed(seed: int, clip: Clip) -> dict[str, Any]:
    """A row a person and frame, of every second frame, the surest box of a frame first."""
    rng = rng_for(seed, "boxes", clip.name)
    height, width = 320, int(rng.choice([426, 570]))
    body = coco(crowd(seed, clip, _BYSTANDERS))
    people, frames = body.shape[:2]
    pixels, score = filmed(body, width, height, rng)
    seen = np.isfinite(body).all(axis=(2, 3)) & (np.arange(frames) % 2 == 0)
    box = np.clip(rng.uniform(0.5, 1, (people, 1)) + rng.normal(0, 0.1, seen.shape), 0.5, 1)
    m, t = np.nonzero(seen)
    order = np.lexsort((-box[m, t], t))
    m, t = m[order], t[order]
    sure = box[m, t].astype(np.float16)
    rows = np.concatenate([pixels, score[..., None]], axis=-1)[m, t]
    return {
        "frame_dir": clip.name,
        "label": clip.label,
        "img_shape": (height, width),
        "original_shape": (height, width),
        "total_frames": frames,
        "frame_inds": (t + 1).astype(np.int16),
        "box_score": sure,
        "valid": {b: len(np.unique(t[sure.astype(float) >= b])) for b in _BOX_SCORES},
        "keypoint": rows.astype(np.float16),
    }


FORMS: dict[str, dict[str, Generate]] = {"kinetics": {"json": _json, "pyskl": _pyskl}}
