"""Made-up people as data of one's own: recordings in each form that is read, and their index.

The forms are those of `docs/custom.md`: arrays and tables in metres, as a sensor of depth gives
them, and the JSON of pose estimators (their documentation: openpose/doc/02_output.md, the results
format of cocodataset.org, MediaPipe's pose landmarks).
"""

from __future__ import annotations

import csv
import io
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.spec.source import read_class_names
from aclnet.datasets.synth import Summary, check_range
from aclnet.datasets.synth.motion import MOVEMENTS
from aclnet.datasets.synth.recordings import spoil, write_file, write_recordings
from aclnet.datasets.synth.scenes import KINECT_V1, act, coco, filmed, rng_for, sensed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from aclnet.datasets.synth import Generate
    from aclnet.datasets.synth.body import FloatArray

_MOVEMENTS = (0, 4, 5, 8, 9, 10)
"""One person each, told apart easily."""
_WIDTH, _HEIGHT = 1280, 720
_FRAME_DAMAGES = ("truncated", "joint count", "not finite", "empty", "garbage")


def _clips(sequences: int, subjects: int) -> list[tuple[str, int, int]]:
    """Id, movement and subject of so many recordings, movements and subjects in turn."""
    check_range("subjects", subjects, 2, 10**6)
    found = []
    for number in range(sequences):
        turn, place = divmod(number, len(_MOVEMENTS))
        who = (turn + place) % subjects + 1
        found.append((f"clip_{number:05}", _MOVEMENTS[place], who))
    return found


def _stage(seed: int, clip: tuple[str, int, int]) -> FloatArray:
    name, movement, subject = clip
    scene: FloatArray = act(seed, str(subject), movement, name)
    return np.asarray(scene[0])


def _write_index(
    folder: Path, clips: Iterable[tuple[str, int, int]], subjects: int, suffix: str, toml: str
) -> None:
    """The last quarter of the subjects is tested."""
    names = read_class_names("ntu120")
    numbers = tuple(MOVEMENTS)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["id", "file", "label", "subject", "split", "width", "height"])
    for name, movement, subject in clips:
        side = "test" if subject > subjects - max(1, subjects // 4) else "train"
        label = names[numbers[movement] - 1]
        table.writerow([name, f"{name}{suffix}", label, subject, side, _WIDTH, _HEIGHT])
    write_file(folder / "index.csv", text.getvalue().encode())
    write_file(folder / "dataset.toml", f'title = "Made-up people"\n{toml}'.encode())


def _generate(
    folder: Path,
    *,
    sequences: int,
    subjects: int,
    seed: int,
    damage: float,
    progress: Callable[[int, int], None],
    suffix: str,
    toml: str,
    look: Callable[[FloatArray, np.random.Generator, int, str], FloatArray],
    encode: Callable[[str, FloatArray], bytes],
) -> Summary:
    """Recordings of a file each. look: what is recorded (T, V, C) of joints (T, 25, 3)."""
    clips = {f"{clip[0]}{suffix}": clip for clip in _clips(sequences, subjects)}

    def make(path: str) -> FloatArray:
        return look(_stage(seed, clips[path]), rng_for(seed, "film", path), seed, path)

    _write_index(folder, clips.values(), subjects, suffix, toml)
    return write_recordings(
        folder, list(clips), make, encode, seed=seed, damage=damage, progress=progress
    )


def _openpose(
    folder: Path,
    *,
    sequences: int,
    subjects: int,
    seed: int,
    damage: float,
    progress: Callable[[int, int], None],
) -> Summary:
    """A folder a recording, a file a frame; of a damaged recording one frame is spoilt."""
    clips = _clips(sequences, subjects)
    check_range("damage", damage, 0, 1)
    order = rng_for(seed, "damaged").permutation(len(clips))[: round(damage * len(clips))]
    spoilt = {int(i): _FRAME_DAMAGES[turn % 5] for turn, i in enumerate(order)}
    _write_index(folder, clips, subjects, "", "")
    for number, clip in enumerate(clips):
        rng = rng_for(seed, "film", clip[0])
        joints = _pixels(_body25(_stage(seed, clip)), rng)
        bad = int(rng.integers(len(joints))) if number in spoilt else -1
        for frame, person in enumerate(joints):
            content = _people(person[None])
            if frame == bad:
                content = spoil(person[None], spoilt[number], _people, rng)
            path = folder / clip[0] / f"{clip[0]}_{frame:012}_keypoints.json"
            write_file(path, content)
        progress(number + 1, len(clips))
    return Summary(len(clips), tuple(sorted(clips[i][0] for i in spoilt)))


def _people(person: FloatArray) -> bytes:
    """A frame's file of one person (1, V, 3)."""
    keypoints = np.round(person, 3).ravel().tolist()
    people = [{"person_id": [-1], "pose_keypoints_2d": keypoints, "face_keypoints_2d": []}]
    return json.dumps({"version": 1.3, "people": people}).encode()


def _npy(path: str, values: FloatArray) -> bytes:
    file = io.BytesIO()
    np.save(file, values.astype(np.float32))
    return file.getvalue()


def _csv(path: str, values: FloatArray) -> bytes:
    """A column of frames' numbers, then x, y and z of each joint, under a header."""
    joints = range(values.shape[1])
    lines = [",".join(["frame", *(f"{axis}{j}" for j in joints for axis in "xyz")])]
    for frame, row in enumerate(values.reshape(len(values), -1).tolist()):
        lines.append(",".join([str(frame), *(f"{value:.5f}" for value in row)]))
    return ("\n".join(lines) + "\n").encode()


def _results(path: str, values: FloatArray) -> bytes:
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


def _landmarks(path: str, values: FloatArray) -> bytes:
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
        "npy": partial(
            _generate,
            suffix=".npy",
            toml='layout = "nturgb+d"\nunits = "m"\n',
            look=_depth,
            encode=_npy,
        ),
        "csv": partial(
            _generate,
            suffix=".csv",
            toml='layout = "kinect_v1"\nunits = "m"\n',
            look=_depth_v1,
            encode=_csv,
        ),
        "openpose": _openpose,
        "mediapipe": partial(_generate, suffix=".json", toml="", look=_world, encode=_landmarks),
        "coco": partial(_generate, suffix=".json", toml="", look=_video, encode=_results),
    }
}
