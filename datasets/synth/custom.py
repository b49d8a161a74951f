"""Synthetic people as data of one's own: recordings in each form that is read, and their index.

The forms are those of `docs/custom.md`: arrays and tables in metres, as a sensor of depth gives
them, and the JSON of pose estimators (their documentation: openpose/doc/02_output.md, the results
format of cocodataset.org, MediaPipe's pose landmarks).
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aclnet.datasets.spec import read_class_names, silent
from aclnet.datasets.synth.acting import act
from aclnet.datasets.synth.damage import DAMAGES, deal_damage
from aclnet.datasets.synth.filming import coco, filmed
from aclnet.datasets.synth.kinect import KINECT_V1, sensed
from aclnet.datasets.synth.motion import MOVEMENTS
from aclnet.datasets.synth.request import Request, Summary
from aclnet.datasets.synth.seeding import rng_for
from aclnet.datasets.synth.writing import FileForm, npy, write_file, write_frames

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aclnet.datasets.spec import Progress
    from aclnet.datasets.synth.body import FloatArray
    from aclnet.datasets.synth.request import Generate

    Look = Callable[[FloatArray, np.random.Generator, int, str], FloatArray]
    """What is recorded (T, V, C) of joints (T, 25, 3), by random numbers, seed and file."""

_MOVEMENTS = (0, 4, 5, 8, 9, 10)
"""One person each, told apart easily."""
_WIDTH, _HEIGHT = 1280, 720


class _Clip(NamedTuple):
    """One recording, a row of the index."""

    name: str
    file: str
    movement: int
    subject: int
    split: str


def _clips(request: Request, suffix: str = "") -> dict[str, _Clip]:
    """Recordings by file, movements and subjects in turn; the last quarter of these is tested."""
    request.require_subjects(2)
    trained = request.subjects - max(1, request.subjects // 4)
    found = {}
    for number in range(request.sequences):
        turn, place = divmod(number, len(_MOVEMENTS))
        who = (turn + place) % request.subjects + 1
        name = f"clip_{number:05}"
        split = "test" if who > trained else "train"
        file = f"{name}{suffix}"
        found[file] = _Clip(name, file, _MOVEMENTS[place], who, split)
    return found


def _stage(seed: int, clip: _Clip) -> FloatArray:
    return np.asarray(act(seed, str(clip.subject), clip.movement, clip.name)[0])


def _index(request: Request, suffix: str = "", toml: str = "") -> dict[str, bytes]:
    names, numbers = read_class_names("ntu120"), tuple(MOVEMENTS)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["id", "file", "label", "subject", "split", "width", "height"])
    for clip in _clips(request, suffix).values():
        label = names[numbers[clip.movement] - 1]
        row = [clip.name, clip.file, label, clip.subject, clip.split, _WIDTH, _HEIGHT]
        table.writerow(row)
    return {
        "index.csv": text.getvalue().encode(),
        "dataset.toml": f'title = "Made-up people"\n{toml}'.encode(),
    }


def _form(
    suffix: str, look: Look, encode: Callable[[_Clip, FloatArray], bytes], toml: str = ""
) -> Generate:
    """One file for each recording, with an index."""
    return FileForm(
        lambda request: _clips(request, suffix),
        lambda seed, clip: look(
            _stage(seed, clip), rng_for(seed, "film", clip.file), seed, clip.file
        ),
        encode,
        beside=lambda request: _index(request, suffix, toml),
    )


def _openpose(folder: Path, request: Request, progress: Progress = silent) -> Summary:
    """A folder for each recording, a file for each frame. Damage is of one frame."""
    seed, clips = request.seed, _clips(request)
    damaged = deal_damage(seed, request.damage, [*clips], DAMAGES, key=())
    for path, content in _index(request).items():
        write_file(folder / path, content)
    for done, (name, clip) in enumerate(clips.items(), start=1):
        rng = rng_for(seed, "film", name)
        joints = _pixels(_body25(_stage(seed, clip)), rng)
        write_frames(
            folder / name,
            joints,
            f"{name}_{{:012}}_keypoints.json".format,
            _people,
            damaged.get(name),
            rng,
        )
        progress("write", done, len(clips))
    return Summary(len(clips), damaged)


def _people(_: int, person: FloatArray) -> bytes:
    """A frame's file of one person (1, V, 3)."""
    keypoints = np.round(person, 3).ravel().tolist()
    people = [{"person_id": [-1], "pose_keypoints_2d": keypoints, "face_keypoints_2d": []}]
    return json.dumps({"version": 1.3, "people": people}).encode()


def _csv(_: _Clip, values: FloatArray) -> bytes:
    """A column of frames' numbers, then x, y and z of each joint, under a header."""
    joints = range(values.shape[1])
    lines = [",".join(["frame", *(f"{axis}{j}" for j in joints for axis in "xyz")])]
    for frame, row in enumerate(values.reshape(len(values), -1).tolist()):
        lines.append(",".join([str(frame), *(f"{value:.5f}" for value in row)]))
    return ("\n".join(lines) + "\n").encode()


def _results(_: _Clip, values: FloatArray) -> bytes:
    """COCO's results, one person a frame; nothing is found in frames without a joint."""
    entries: list[dict[str, Any]] = [
        {
            "image_id": frame,
            "category_id": 1,
            "keypoints": np.round(person, 3).ravel().tolist(),
            "score": round(float(np.nanmean(person[:, 2])), 3),
        }
        for frame, person in enumerate(values)
    ]
    return json.dumps(entries).encode()


def _landmarks(_: _Clip, values: FloatArray) -> bytes:
    keys = ("x", "y", "z", "visibility")
    frames = [
        [dict(zip(keys, landmark, strict=True)) for landmark in person]
        for person in np.round(values, 5).tolist()
    ]
    return json.dumps(frames).encode()


def _depth(joints: FloatArray, rng: np.random.Generator, seed: int, path: str) -> FloatArray:
    return np.asarray(sensed(seed, joints[None], 1, path)[0])


def _depth_v1(joints: FloatArray, rng: np.random.Generator, seed: int, path: str) -> FloatArray:
    return _depth(joints, rng, seed, path)[:, KINECT_V1]


def _video(joints: FloatArray, rng: np.random.Generator, seed: int, path: str) -> FloatArray:
    return _pixels(coco(joints), rng)


def _world(joints: FloatArray, rng: np.random.Generator, seed: int, path: str) -> FloatArray:
    """MediaPipe's 33 landmarks in metres from the middle of the hips, y down, with visibility."""
    points = _landmarks33(joints) - joints[:, [12, 16]].mean(axis=1, keepdims=True)
    points = points * [1, -1, 1] + rng.normal(0, 0.008, points.shape)
    visibility = np.clip(rng.normal(0.9, 0.08, points.shape[:2]), 0, 1)
    return np.concatenate([points, visibility[..., None]], axis=-1)


def _pixels(points: FloatArray, rng: np.random.Generator) -> FloatArray:
    """(..., V, 3) x, y and confidence."""
    pixels, score = filmed(points, _WIDTH, _HEIGHT, rng)
    return np.concatenate([pixels, score[..., None]], axis=-1).astype(np.float64)


def _feet(joints: FloatArray) -> list[FloatArray]:
    """Heel, small and big toe of the left foot, then of the right, made up about foot and ankle."""
    across = joints[:, 8] - joints[:, 4]
    across = across / np.linalg.norm(across, axis=-1, keepdims=True)
    found = []
    for ankle, foot, side in ((14, 15, -1), (18, 19, 1)):
        toe, joint = joints[:, foot], joints[:, ankle]
        found += [joint - 0.4 * (toe - joint), toe + 0.04 * side * across, toe]
    return found


def _body25(joints: FloatArray) -> FloatArray:
    """(T, 25, 3) OpenPose's BODY_25 out of Kinect's joints (T, 25, 3)."""
    c = coco(joints)
    left_heel, left_small, left_big, right_heel, right_small, right_big = _feet(joints)
    neck, hips = (c[:, pair].mean(axis=1) for pair in ([5, 6], [11, 12]))
    arms = [c[:, j] for j in (6, 8, 10, 5, 7, 9)]
    legs = [c[:, j] for j in (12, 14, 16, 11, 13, 15)]
    face = [c[:, j] for j in (2, 1, 4, 3)]
    left, right = [left_big, left_small, left_heel], [right_big, right_small, right_heel]
    return np.stack([c[:, 0], neck, *arms, hips, *legs, *face, *left, *right], axis=1)


def _landmarks33(joints: FloatArray) -> FloatArray:
    """(T, 33, 3) MediaPipe's landmarks out of Kinect's joints (T, 25, 3)."""
    c = coco(joints)
    nose, left_eye, right_eye, left_ear, right_ear = (c[:, j] for j in range(5))
    aside = 0.25 * (right_eye - left_eye)
    mouth = nose - 0.5 * ((left_eye + right_eye) / 2 - nose) * [0, 1, 0]
    face = [
        *(nose, left_eye + aside, left_eye, left_eye - aside),
        *(right_eye - aside, right_eye, right_eye + aside),
        *(left_ear, right_ear, mouth - aside, mouth + aside),
    ]
    left_heel, _, left_toe, right_heel, _, right_toe = _feet(joints)
    limbs = [c[:, j] for j in range(5, 11)]
    fingers = [joints[:, j] for j in (7, 11, 21, 23, 22, 24)]
    legs = [c[:, j] for j in range(11, 17)]
    return np.stack(
        [*face, *limbs, *fingers, *legs, left_heel, right_heel, left_toe, right_toe], axis=1
    )


FORMS: dict[str, dict[str, Generate]] = {
    "custom": {
        "npy": _form(
            ".npy",
            _depth,
            lambda _, values: npy(values.astype(np.float32)),
            'layout = "nturgb+d"\nunits = "m"\n',
        ),
        "csv": _form(".csv", _depth_v1, _csv, 'layout = "kinect_v1"\nunits = "m"\n'),
        "openpose": _openpose,
        "mediapipe": _form(".json", _world, _landmarks),
        "coco": _form(".json", _video, _results),
    }
}
