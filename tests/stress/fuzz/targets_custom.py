"""Targets: custom data, the index and the files beside it, and each form of recordings."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.stress.fuzz.cases import Case
from tests.stress.fuzz.files import (
    HOSTILE,
    few,
    few_ctr,
    few_pickled,
    few_rows,
    few_skeletons,
    head,
    npy,
    packed,
    put,
    repaired_zip,
    zipped,
)
from tests.stress.fuzz.targets_recordings import raw, read_raw, read_source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_INDEX = (
    b"id,file,label,subject,camera,setup,replication,width,height,condition,split\n"
    b"a,clip_00000.npy,walk,1,2,3,4,640,480,bag,train+gallery\n"
    b'b,"clip_00001.npy",run,,,,,,,,test\n',
    b"id,file,label,start,end,person,fps,images\na,clip_00000.npy,x,0.1s,8,0,30,\n"
    b"b,clip_00000.npy,y,9,20,,,\nc,clip_00001.npy,,,,,29.97,a\n",
    b"\xef\xbb\xbfid;file;label\na;b;c\n",
    b"id,file,label\n\na,../x.npy,1\nb,\\\\x\\y.npy,2\n",
)
_TOML = (
    b'title = "t"\nlayout = "own.json"\nunits = "px"\ncolumns = "0:54"\n',
    b'layout = "../../../../etc/passwd.json"\n',
    b'units = "mm"\nlayout = "coco"\nidentities = false\n',
)
_PATTERNS = (
    b"{subject}_{view}_{run}",
    b"{split}/{label}/{id}",
    b"{label}-{x}-{cond}_{fps}",
)
_TOOLS = (
    *("coco-annotations", "mmpose", "wholebody", "alphapose", "holistic", "stgcn"),
    "azure-kinect",
)
"""Forms of JSON with one file per recording."""
_PATHS = ("1_90_2.npy", "train/walk/a.npy", "walk-a-bag_30.npy", "a" * 200 + ".npy")


def own_layout() -> bytes:
    """A complete layout."""
    from aclnet.datasets.spec.layouts import get_layout

    values = get_layout("sbu").model_dump(mode="json")
    values.pop("name")
    return json.dumps(values).encode()


def short_layout() -> bytes:
    """A layout with only names and parents."""
    values = json.loads(own_layout())
    return json.dumps({"joints": values["joints"], "parents": values["bone_parent"]}).encode()


def _recording_npz() -> bytes:
    keypoint = np.ones((2, 3, 15, 3), np.float32)
    return packed(
        {"keypoint": keypoint, "score": keypoint[..., 0], "present": keypoint[..., 0, 0] > 0}
    )


def _beside_index(
    name: str,
    seeds: Callable[[], Sequence[bytes]],
    repair: Callable[[bytes], bytes] = lambda data: data,
) -> Callable[[Path], Case]:
    """The index of a folder of custom data, or a file beside it."""

    def make(folder: Path) -> Case:
        place = folder / "custom"
        place.mkdir()
        if name != "index.xlsx":
            rows = f"a,a.npy,walk\nb,b.csv,run\nc,{name},run\n"
            (place / "index.csv").write_text(f"id,file,label\n{rows}")
        (place / "dataset.toml").write_bytes(b'layout = "own.json"\nunits = "m"\n')
        (place / "own.json").write_bytes(own_layout())
        (place / "a.npy").write_bytes(npy(np.ones((2, 15, 3), np.float32)))
        (place / "b.csv").write_bytes(b",".join([b"0.5"] * 45) + b"\n")

        def parse(data: bytes) -> None:
            put(place / name, repair(data))
            read_raw("custom", place)

        return Case(list(seeds()), parse)

    return make


def sheets() -> list[bytes]:
    """An Excel file as it is written, and one with few plain parts."""
    from openpyxl import Workbook

    book, file = Workbook(), io.BytesIO()
    for row in (["id", "file", "label", "fps"], ["a", "a.npy", "walk", 30], ["b", "b.csv", 1, 2.5]):
        book.active.append(row)
    book.save(file)
    return [file.getvalue(), zipped(parts_of(file.getvalue()))]


def parts_of(archive: bytes) -> dict[str, bytes]:
    """The content of each member of a zip archive."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def _pattern(folder: Path) -> Case:
    """A pattern of paths, typed by a user."""
    from aclnet.datasets.registry import get_dataset, open_raw

    place = folder / "custom"
    for path in _PATHS:
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(npy(np.ones((2, 25, 3), np.float32)))
    spec = replace(get_dataset("custom"), layout="nturgb+d")

    def parse(data: bytes) -> None:
        pattern = data.decode("utf-8", "surrogateescape")
        read_source(open_raw(replace(spec, pattern=pattern), place))

    return Case(list(_PATTERNS), parse, typed=True)


def _capture(form: str) -> Callable[[Path], Case]:
    """Motion capture of two frames."""

    def shrink(_: bytes) -> bytes:
        from aclnet.datasets.synth import pose_files

        return bytes(getattr(pose_files, form)(np.ones((2, 20, 3))))

    return raw("custom", form, f"clip_00000.{form}", shrink)


def _others() -> list[bytes]:
    """JSON of pose estimators in forms that no generator writes."""
    person = [float(n) for n in range(54)]
    marks = [{"x": 0.1, "y": 0.2, "z": 0.3, "visibility": 0.9}] * 33
    joints = {"x": person[:17], "y": person[:17], "visible": [0.5] * 17}
    contents: list[Any] = [
        {"3.jpg": {"version": 0.1, "bodies": [{"joints": person}]}},
        {"3.jpg": {"people": [{"pose_keypoints_2d": person}]}},
        [[{"name": "person", "class": 0, "track_id": 1, "keypoints": joints}], []],
        [[marks], []],
        [{"pose_world_landmarks": [marks], "pose_landmarks": [marks]}],
        {"frames": {"0": {"poseLandmarks": marks}, "1": None}},
    ]
    return [json.dumps(content).encode() for content in contents]


def _skeleton(folder: Path) -> Case:
    from aclnet.datasets.synth import Request, get_generator

    get_generator("ntu60")(folder / "ntu60", Request(sequences=2, subjects=2, seed=1))
    data = max((folder / "ntu60").rglob("*.skeleton")).read_bytes()
    shutil.rmtree(folder / "ntu60")
    return _beside_index("c.skeleton", lambda: [few_skeletons(data)])(folder)


TARGETS: dict[str, Callable[[Path], Case]] = {
    "custom-npy": raw("custom", "npy", "clip_00000.npy", few_rows),
    "custom-csv": raw("custom", "csv", "clip_00000.csv", head(3)),
    "custom-json": raw("custom", "mediapipe", "clip_00000.json", partial(few, entries=1)),
    "custom-kinect": raw("custom", "kinect-v2", "clip_00000.json", partial(few, entries=1)),
    "custom-deeplabcut": raw("custom", "deeplabcut", "clip_00000.csv", head(5)),
    "custom-openpose": raw("custom", "openpose", "clip_00000*json"),
    "custom-index": raw("custom", "npy", "index.csv", more=_INDEX),
    "custom-xlsx": _beside_index("index.xlsx", sheets, repaired_zip),
    "custom-pattern": _pattern,
    "custom-toml": _beside_index("dataset.toml", lambda: _TOML),
    "custom-classes": _beside_index("classes.txt", lambda: (b"walk\nrun\n", b"\n run\r\n")),
    "custom-layout": _beside_index("own.json", lambda: [own_layout(), short_layout()]),
    "custom-array": _beside_index(
        "a.npy", lambda: [npy(np.ones((1, 2, 15, 4), "f8")), npy(np.ones((2, 15, 3), "i2"))]
    ),
    "custom-npz": _beside_index("c.npz", lambda: [_recording_npz()], repaired_zip),
    "custom-skeleton": _skeleton,
    "custom-long-csv": raw("custom", "long-csv", "clip_00000.csv", head(45)),
    "custom-bvh": _capture("bvh"),
    "custom-c3d": _capture("c3d"),
    "custom-pyskl": raw("custom", "pyskl", "mine.pkl", few_pickled, HOSTILE),
    "custom-ctr": raw("custom", "ctr-npz", "mine.npz", few_ctr, repair=repaired_zip),
    "custom-others": raw("custom", "coco", "clip_00000.json", few, _others()),
    "custom-yolo": raw("custom", "yolo", "clip_00000_0.txt"),
    "custom-mmpose-images": raw("custom", "mmpose-images", "000000.json"),
    **{f"custom-{form}": raw("custom", form, "clip_00000.json", few) for form in _TOOLS},
}
"""Functions that make the case of each target in an empty folder."""
