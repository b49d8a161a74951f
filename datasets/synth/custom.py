"""Synthetic people as custom data: recordings in each supported form, and their index.

The forms are those of `docs/custom.md`: arrays and tables in metres, as depth sensors give them,
and the JSON of pose estimators (their documentation: openpose/doc/02_output.md, the results format
of cocodataset.org, MediaPipe's pose landmarks).
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aclnet.datasets.spec import read_class_names, silent
from aclnet.datasets.synth import looks, pose_files
from aclnet.datasets.synth.acting import act
from aclnet.datasets.synth.damage import DAMAGES, deal_damage
from aclnet.datasets.synth.motion import MOVEMENTS
from aclnet.datasets.synth.pyskl import annotate_all, write_pickle
from aclnet.datasets.synth.request import Request, Summary
from aclnet.datasets.synth.seeding import rng_for
from aclnet.datasets.synth.writing import FileForm, npy, write_file, write_frames

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Progress
    from aclnet.datasets.synth.body import FloatArray
    from aclnet.datasets.synth.looks import Look
    from aclnet.datasets.synth.request import Generate

_MOVEMENTS = (0, 4, 5, 8, 9, 10)
"""Movements of one person, easily distinguished."""


class _Clip(NamedTuple):
    """One recording, a row of the index."""

    name: str
    file: str
    movement: int
    subject: int
    split: str


def _clips(request: Request, suffix: str = "") -> dict[str, _Clip]:
    """Recordings by file, over movements and subjects; the last quarter of subjects is tested."""
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


def _recorded(seed: int, clip: _Clip, look: Look) -> FloatArray:
    """(T, V, C) joints of a recording."""
    stage = np.asarray(act(seed, str(clip.subject), clip.movement, clip.name)[0])
    return look(stage, rng_for(seed, "film", clip.file), seed, clip.file)


def _class_names() -> list[str]:
    """Class names of `_MOVEMENTS`."""
    names, numbers = read_class_names("ntu120"), tuple(MOVEMENTS)
    return [names[numbers[movement] - 1] for movement in _MOVEMENTS]


def _index(request: Request, suffix: str = "", toml: str = "") -> dict[str, bytes]:
    names = dict(zip(_MOVEMENTS, _class_names(), strict=True))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["id", "file", "label", "subject", "split", "width", "height"])
    for clip in _clips(request, suffix).values():
        row = [clip.name, clip.file, names[clip.movement], clip.subject, clip.split]
        table.writerow([*row, looks.WIDTH, looks.HEIGHT])
    return {
        "index.csv": text.getvalue().encode(),
        "dataset.toml": f'title = "Synthetic people"\n{toml}'.encode(),
    }


def _form(
    suffix: str, look: Look, encode: Callable[[FloatArray], bytes], toml: str = ""
) -> Generate:
    """One file for each recording, with an index."""
    return FileForm(
        lambda request: _clips(request, suffix),
        lambda seed, clip: _recorded(seed, clip, look),
        lambda _, values: encode(values),
        beside=lambda request: _index(request, suffix, toml),
    )


@dataclass(frozen=True, slots=True)
class _FrameForm:
    """A folder for each recording, a file for each frame. An instance is a `Generate`.

    Damage affects one frame.
    """

    look: Look
    path: str
    """Name of a frame's file; `{name}` stands for the recording."""
    encode: Callable[[FloatArray], bytes]
    """Content of the file of one frame (1, V, C)."""
    toml: str = ""

    def __call__(self, folder: Path, request: Request, progress: Progress = silent) -> Summary:
        seed, clips = request.seed, _clips(request)
        damaged = deal_damage(seed, request.damage, [*clips], DAMAGES, key=())
        for path, content in _index(request, toml=self.toml).items():
            write_file(folder / path, content)
        for done, (name, clip) in enumerate(clips.items(), start=1):
            joints = _recorded(seed, clip, self.look)
            write_frames(
                folder / name,
                joints,
                self.path.replace("{name}", name).format,
                lambda _, person: self.encode(person),
                damaged.get(name),
                rng_for(seed, "damage", name),
            )
            progress("write", done, len(clips))
        return Summary(len(clips), damaged)


def _pickle(folder: Path, request: Request, progress: Progress = silent) -> Summary:
    """A pickle in PYSKL's form, joints in pixels, with the names of its classes beside it."""
    clips = {clip.name: clip for clip in _clips(request).values()}

    def annotate(name: str) -> dict[str, Any]:
        joints = _recorded(request.seed, clips[name], looks.video)[None]
        return {
            "frame_dir": name,
            "label": _MOVEMENTS.index(clips[name].movement),
            "img_shape": (looks.HEIGHT, looks.WIDTH),
            "total_frames": joints.shape[1],
            "keypoint": joints[..., :2].astype(np.float32),
            "keypoint_score": joints[..., 2].astype(np.float32),
        }

    annotations, damaged = annotate_all(request, [*clips], annotate, progress)
    split: dict[str, list[str]] = {"train": [], "test": []}
    for clip in clips.values():
        split[clip.split].append(clip.name)
    write_pickle(folder / "mine.pkl", split, annotations)
    write_file(folder / "classes.txt", "\n".join(_class_names()).encode())
    return Summary(len(clips), damaged)


def _arrays(folder: Path, request: Request, progress: Progress = silent) -> Summary:
    """Arrays in CTR-GCN's form, one person in space, filled with zeros to the longest recording."""
    found: dict[str, list[tuple[FloatArray, int]]] = {"train": [], "test": []}
    clips = [*_clips(request).values()]
    for done, clip in enumerate(clips, start=1):
        joints = _recorded(request.seed, clip, looks.depth)
        found[clip.split].append((joints, _MOVEMENTS.index(clip.movement)))
        progress("write", done, len(clips))
    longest = max(len(joints) for side in found.values() for joints, _ in side)
    arrays: dict[str, NDArray[Any]] = {}
    for side, recordings in found.items():
        x = np.zeros((len(recordings), longest, 2, 25, 3), np.float32)
        for row, (joints, _) in enumerate(recordings):
            x[row, : len(joints), 0] = joints
        arrays[f"x_{side}"] = x.reshape(len(recordings), longest, 150)
        arrays[f"y_{side}"] = np.eye(len(_MOVEMENTS))[[label for _, label in recordings]]
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    write_file(folder / "mine.npz", file.getvalue())
    write_file(folder / "classes.txt", "\n".join(_class_names()).encode())
    return Summary(len(clips), {})


def _array(values: FloatArray) -> bytes:
    return npy(values.astype(np.float32))


_PIXELS, _METRES = 'units = "px"\n', 'units = "m"\n'

FORMS: dict[str, dict[str, Generate]] = {
    "custom": {
        "npy": _form(".npy", looks.depth, _array, f'layout = "nturgb+d"\n{_METRES}'),
        "csv": _form(".csv", looks.depth_v1, pose_files.csv, f'layout = "kinect_v1"\n{_METRES}'),
        "openpose": _FrameForm(looks.body25, "{name}_{:012}_keypoints.json", pose_files.openpose),
        "openpose-face": _FrameForm(
            looks.filmed_as("openpose137"),
            "{name}_{:012}_keypoints.json",
            pose_files.openpose,
            'layout = "openpose137"\n',
        ),
        "mediapipe": _form(".json", looks.world, pose_files.landmarks),
        "mediapipe-tasks": _form(".json", looks.world, pose_files.mediapipe_tasks),
        "mediapipe-js": _form(".json", looks.world, pose_files.mediapipe_js),
        "mediapipe-csv": _form(
            ".csv", looks.world, pose_files.mediapipe_csv, f'layout = "mediapipe"\n{_METRES}'
        ),
        "mediapipe-hands": _form(".json", looks.measured_as("hand21"), pose_files.mediapipe_hands),
        "coco": _form(".json", looks.video, pose_files.coco_results),
        "coco-annotations": _form(".json", looks.video, pose_files.coco_annotations),
        "mmpose": _form(".json", looks.video, pose_files.mmpose),
        "mmpose-images": _FrameForm(looks.video, "{:06}.json", pose_files.mmpose_image),
        "wholebody": _form(".json", looks.filmed_as("coco_wholebody"), pose_files.mmpose),
        "alphapose": _form(".json", looks.filmed_as("halpe26"), pose_files.alphapose),
        "halpe136": _form(".json", looks.filmed_as("halpe136"), pose_files.alphapose),
        "alphapose-images": _FrameForm(
            looks.filmed_as("openpose"), "{:06}.json", pose_files.alphapose_image
        ),
        "yolo": _FrameForm(looks.video, "{name}_{:d}.txt", pose_files.ultralytics),
        "deeplabcut": _form(".csv", looks.video, pose_files.deeplabcut, 'layout = "coco"\n'),
        "holistic": _form(
            ".json",
            looks.filmed_as("mediapipe_holistic"),
            pose_files.holistic,
            f'layout = "mediapipe_holistic"\n{_PIXELS}',
        ),
        "stgcn": _form(".json", looks.filmed_as("openpose"), pose_files.stgcn),
        "azure-kinect": _form(".json", looks.measured_as("azure_kinect"), pose_files.azure_kinect),
        "kinect-v2": _form(".json", looks.depth, pose_files.kinect_v2),
        "skeleton": _form(".skeleton", looks.depth, pose_files.skeleton),
        "h36m": _form(".npy", looks.measured_as("h36m"), _array, f'layout = "h36m"\n{_METRES}'),
        "smpl": _form(".npy", looks.measured_as("smpl24"), _array, f'layout = "smpl24"\n{_METRES}'),
        "long-csv": _form(".csv", looks.depth_v1, pose_files.long_csv, 'layout = "kinect_v1"\n'),
        "bvh": _form(".bvh", looks.depth_v1, pose_files.bvh, 'layout = "kinect_v1"\n'),
        "c3d": _form(".c3d", looks.depth_v1, pose_files.c3d, 'layout = "kinect_v1"\n'),
        "pyskl": _pickle,
        "ctr-npz": _arrays,
    }
}
