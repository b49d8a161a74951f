"""Synthetic people in the forms of Kinetics-Skeleton 400: ST-GCN's JSON, PYSKL's pickles."""

from __future__ import annotations

import json
import pickle
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aclnet.datasets.spec import silent
from aclnet.datasets.synth.clips import Clip, clips, crowd, youtube_id
from aclnet.datasets.synth.damage import DAMAGES
from aclnet.datasets.synth.filming import coco, filmed
from aclnet.datasets.synth.pyskl import annotate_all, split_of, write_pickle
from aclnet.datasets.synth.request import Request, Summary
from aclnet.datasets.synth.seeding import rng_for
from aclnet.datasets.synth.writing import FileForm, write_file

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.datasets.spec import Progress
    from aclnet.datasets.synth.body import FloatArray
    from aclnet.datasets.synth.pyskl import Annotation
    from aclnet.datasets.synth.request import Generate

_WIDTH, _HEIGHT = 340, 256
_OPENPOSE = (0, 17, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""OpenPose's joints among COCO's and the middle of the shoulders."""
_BYSTANDERS = 4
_NO_SKELETON = 20
"""One clip in this number has no skeleton."""
_CLIPS_A_FILE = 8
_BOX_SCORES = (0.5, 0.6, 0.7, 0.8, 0.9)


class _File(NamedTuple):
    """The JSON file of a clip."""

    clip: Clip
    has_skeleton: bool

    @property
    def label(self) -> dict[str, Any]:
        return {"label": _class_names()[self.clip.label], "label_index": self.clip.label}


def _files(request: Request) -> list[_File]:
    """Files in the order of the clips."""
    numbered = enumerate(clips(request, youtube_id), start=1)
    return [_File(clip, number % _NO_SKELETON > 0) for number, clip in numbered]


def _by_path(request: Request) -> dict[str, _File]:
    found = {f"kinetics_{f.clip.side}/{f.clip.name}.json": f for f in _files(request)}
    return dict(sorted(found.items()))


def _record(seed: int, file: _File) -> FloatArray:
    values = _found(seed, file.clip)
    return values if file.has_skeleton else np.zeros_like(values)


def _encode(file: _File, values: FloatArray) -> bytes:
    return json.dumps({"data": _frames(values), **file.label}).encode()


def _label_files(request: Request) -> dict[str, bytes]:
    labels: dict[str, dict[str, Any]] = {"train": {}, "val": {}}
    for file in _files(request):
        told = {"has_skeleton": file.has_skeleton, **file.label}
        labels[file.clip.side][file.clip.name] = told
    return {
        f"kinetics_{side}_label.json": json.dumps(found).encode() for side, found in labels.items()
    }


@cache
def _class_names() -> list[str]:
    return (files("aclnet.datasets.tables") / "kinetics_classes.txt").read_text().splitlines()


def _found(seed: int, clip: Clip) -> FloatArray:
    """(T, 18, M, 3) x and y as fractions of the image, scores; zero if nothing was found."""
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


def _pyskl(folder: Path, request: Request, progress: Progress = silent) -> Summary:
    """Writes `k400_hrnet.pkl`, and the joints in `kpfiles/` of several clips each; a `Generate`."""
    chosen = {clip.name: clip for clip in clips(request, youtube_id)}
    annotations, damaged = annotate_all(
        request, [*chosen], lambda name: _packed(request.seed, chosen[name]), progress
    )
    joints: dict[str, dict[str, Any]] = {}
    for number, annotation in enumerate(annotations):
        file = f"kpfiles/clips_{number // _CLIPS_A_FILE:03}.pkl"
        annotation["raw_file"] = f"data/k400/{file}"
        keypoint = annotation.pop("keypoint")
        joints.setdefault(file, {})[annotation["frame_dir"]] = {"keypoint": keypoint}
    for file, content in joints.items():
        write_file(folder / file, pickle.dumps(content, protocol=4))
    write_pickle(folder / "k400_hrnet.pkl", split_of(chosen.values()), annotations)
    return Summary(len(chosen), damaged)


def _packed(seed: int, clip: Clip) -> Annotation:
    """A row for each person of every second frame, the surest box of a frame first."""
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


FORMS: dict[str, dict[str, Generate]] = {
    "kinetics": {
        "json": FileForm(_by_path, _record, _encode, (*DAMAGES, "no person"), beside=_label_files),
        "pyskl": _pyskl,
    }
}
