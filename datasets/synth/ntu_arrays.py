"""The synthetic people of NTU RGB+D in the forms of other toolkits: PYSKL's pickles in space and in
pixels, CTR-GCN's `.npz` and 2s-AGCN's `.npy`.

Tracks are written in their cleaned form: nobody lost, one or two people. The people and their
performances are those of the `.skeleton` files of the same seed.
"""

from __future__ import annotations

import pickle
import zipfile
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.spec import silent
from aclnet.datasets.synth.damage import deal_damage
from aclnet.datasets.synth.filming import coco, filmed
from aclnet.datasets.synth.ntu import (
    X_SUB_TRAIN,
    choose_names,
    synthesise_scene,
    synthesise_tracks,
)
from aclnet.datasets.synth.pyskl import annotate_all, write_pickle
from aclnet.datasets.synth.request import Request, Summary
from aclnet.datasets.synth.seeding import rng_for
from aclnet.datasets.synth.writing import npy, write_errors, write_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Progress
    from aclnet.datasets.synth.body import FloatArray
    from aclnet.datasets.synth.pyskl import Annotation
    from aclnet.datasets.synth.request import Generate

    Annotate = Callable[[str, int], Annotation]
    """A function of name and seed: the entries of a recording's annotation besides its id and
    label."""

FRAMES = 300
_CLASSES = {"ntu60": 60, "ntu120": 120}
_TRAIN: Mapping[str, Callable[[str], bool]] = {
    "xsub": lambda name: int(name[9:12]) in X_SUB_TRAIN,
    "xview": lambda name: int(name[5:8]) in (2, 3),
    "xset": lambda name: int(name[1:4]) % 2 == 0,
}
"""Tests whether a recording trains, by protocol."""
_SECOND = {"ntu60": "xview", "ntu120": "xset"}
_CTR_NAMES = {"ntu60": "NTU60_CS.npz", "ntu120": "NTU120_CSub.npz"}
_WIDTH, _HEIGHT = 1920, 1080


def _pickle(
    folder: Path,
    request: Request,
    progress: Progress = silent,
    *,
    dataset: str,
    file: str,
    annotate: Annotate,
) -> Summary:
    """Writes one of PYSKL's pickles; a `Generate` once the last three arguments are given."""

    def labelled(name: str) -> Annotation:
        return {"frame_dir": name, "label": _label(name), **annotate(name, request.seed)}

    names = choose_names(request)
    annotations, damaged = annotate_all(request, names, labelled, progress)
    split = {
        f"{protocol}_{side}": chosen
        for protocol in ("xsub", _SECOND[dataset])
        for side, chosen in zip(("train", "val"), _sides(names, protocol), strict=True)
    }
    write_pickle(folder / f"{dataset}_{file}.pkl", split, annotations)
    return Summary(len(names), damaged)


def _in_space(name: str, seed: int) -> Annotation:
    tracks = synthesise_tracks(name, seed=seed)
    return {"keypoint": tracks.astype(np.float16), "total_frames": tracks.shape[1]}


def _in_pixels(name: str, seed: int) -> Annotation:
    scene = synthesise_scene(name, seed=seed)
    pixels, score = filmed(coco(scene), _WIDTH, _HEIGHT, rng_for(seed, "film", name))
    return {
        "keypoint": pixels.astype(np.float16),
        "keypoint_score": score.astype(np.float16),
        "img_shape": (_HEIGHT, _WIDTH),
        "original_shape": (_HEIGHT, _WIDTH),
        "total_frames": scene.shape[1],
    }


# Arrays


class _Rows:
    """Recordings as rows of equal size, some of them damaged."""

    def __init__(
        self,
        request: Request,
        progress: Progress,
        make: Callable[[FloatArray], NDArray[np.float32]],
    ) -> None:
        self.names = choose_names(request)
        kinds = ("not finite", "empty", "label")
        self.damaged = deal_damage(request.seed, request.damage, self.names, kinds, self.names)
        self._seed, self._progress, self._make = request.seed, progress, make
        self._made = 0

    def row(self, name: str) -> bytes:
        """The values of a recording; counts it."""
        row = self._make(synthesise_tracks(name, seed=self._seed))
        if self.damaged.get(name) == "not finite":
            row.reshape(-1)[0] = np.nan
        elif self.damaged.get(name) == "empty":
            row[:] = 0
        self._made += 1
        self._progress("write", self._made, len(self.names))
        return row.tobytes()

    def label(self, name: str) -> int:
        """The label of a recording, -1 if it is damaged."""
        return -1 if self.damaged.get(name) == "label" else _label(name)

    @property
    def summary(self) -> Summary:
        return Summary(len(self.names), self.damaged)


def _ctr(folder: Path, request: Request, progress: Progress = silent, *, dataset: str) -> Summary:
    """Writes the `.npz` of X-Sub; a `Generate` once `dataset` is given."""
    rows = _Rows(request, progress, partial(_ctr_row, twice=dataset == "ntu120"))
    path = folder / _CTR_NAMES[dataset]
    with write_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            for side, chosen in zip(("train", "test"), _sides(rows.names, "xsub"), strict=True):
                # the scripts go through the subjects, and through the names of each
                chosen.sort(key=lambda name: (name[8:12], name))
                one_hot = np.zeros((len(chosen), _CLASSES[dataset]))
                for row, name in enumerate(chosen):
                    label = rows.label(name)
                    one_hot[row, slice(None) if label < 0 else label] = 1
                with archive.open(_member(f"x_{side}"), "w", force_zip64=True) as file:
                    file.write(_header((len(chosen), FRAMES, 150)))
                    for name in chosen:
                        file.write(rows.row(name))
                archive.writestr(_member(f"y_{side}"), npy(one_hot))
    return rows.summary


def _ctr_row(tracks: FloatArray, *, twice: bool) -> NDArray[np.float32]:
    """(300, 150); `twice`: a single person is the second one too."""
    joints = (tracks - tracks[0, 0, 1])[:2, :FRAMES].astype(np.float32)
    row = np.zeros((FRAMES, 2, 75), np.float32)
    for person, track in enumerate(joints):
        row[: len(track), person] = track.reshape(len(track), 75)
    if twice and len(joints) == 1:
        row[:, 1] = row[:, 0]
    return row.reshape(FRAMES, 150)


def _agcn(folder: Path, request: Request, progress: Progress = silent) -> Summary:
    """Writes the folder `xsub` of 2s-AGCN; a `Generate`."""
    rows = _Rows(request, progress, _agcn_row)
    for side, chosen in zip(("train", "val"), _sides(rows.names, "xsub"), strict=True):
        labels = [rows.label(name) for name in chosen]
        pair = ([f"{name}.skeleton" for name in chosen], labels)
        write_file(folder / "xsub" / f"{side}_label.pkl", pickle.dumps(pair, protocol=4))
        path = folder / "xsub" / f"{side}_data_joint.npy"
        with write_errors(path), path.open("wb") as file:
            file.write(_header((len(chosen), 3, FRAMES, 25, 2)))
            for name in chosen:
                file.write(rows.row(name))
    return rows.summary


def _agcn_row(tracks: FloatArray) -> NDArray[np.float32]:
    """(3, 300, 25, 2) filled by repetition, centred frame by frame, turned by the first frame."""
    frames = np.arange(FRAMES) % tracks.shape[1]
    joints = tracks[:2, frames]
    joints = joints - joints[:1, :, 1:2]
    first = joints[0, 0]
    for bone, axis in (((0, 1), (0, 0, 1)), ((4, 8), (1, 0, 0))):
        turn = _turn(first[bone[1]] - first[bone[0]], np.array(axis, float))
        joints, first = joints @ turn.T, first @ turn.T
    row = np.zeros((3, FRAMES, 25, 2), np.float32)
    row[..., : len(joints)] = joints.transpose(3, 1, 2, 0)
    return row


def _turn(vector: FloatArray, axis: FloatArray) -> FloatArray:
    """(3, 3) the smallest rotation from a vector to an axis (Rodrigues)."""
    vector = vector / np.linalg.norm(vector)
    about, cosine = np.cross(vector, axis), vector @ axis
    x, y, z = about
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + cross + cross @ cross / (1 + cosine))


def _sides(names: list[str], protocol: str) -> tuple[list[str], list[str]]:
    """The names that train, and the others."""
    trains = _TRAIN[protocol]
    return [n for n in names if trains(n)], [n for n in names if not trains(n)]


def _label(name: str) -> int:
    return int(name[17:20]) - 1


def _member(name: str) -> zipfile.ZipInfo:
    # without a time of its own, so that the bytes are reproducible
    return zipfile.ZipInfo(f"{name}.npy")


def _header(shape: tuple[int, ...]) -> bytes:
    file = BytesIO()
    facts = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, facts)
    return file.getvalue()


def _forms(dataset: str) -> dict[str, Generate]:
    return {
        "pyskl": partial(_pickle, dataset=dataset, file="3danno", annotate=_in_space),
        "hrnet": partial(_pickle, dataset=dataset, file="hrnet", annotate=_in_pixels),
        "ctr": partial(_ctr, dataset=dataset),
        "agcn": _agcn,
    }


FORMS: dict[str, dict[str, Generate]] = {name: _forms(name) for name in _CLASSES}
