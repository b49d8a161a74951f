"""Targets: raw recordings of every dataset, a file of each form."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.stress.fuzz.cases import LONGEST_MESSAGE, Case
from tests.stress.fuzz.files import (
    HOSTILE,
    few,
    few_agcn,
    few_ctr,
    few_pickled,
    few_rows,
    few_skeletons,
    head,
    mat,
    put,
    repaired_zip,
    zipped,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from aclnet.datasets.spec import Source


def check_sequence(sequence: Any, source: Source) -> None:
    """Raises AssertionError if a sequence violates `SkeletonSequence`."""
    from aclnet.datasets.spec import UNLABELLED
    from aclnet.datasets.spec.layouts import get_layout

    keypoint, present = sequence.keypoint, sequence.present
    persons, frames = present.shape
    joints = get_layout(source.spec.source_layout).num_joints
    assert keypoint.shape == (persons, frames, joints, source.spec.dimensions)
    assert (keypoint.dtype, present.dtype) == (np.float32, np.bool_)
    assert np.isfinite(keypoint).all()
    assert sequence.frame_index.shape == (frames,)
    assert UNLABELLED <= sequence.label < len(source.spec.class_names)
    if sequence.score is not None:
        assert sequence.score.shape == keypoint.shape[:3]
        assert np.isfinite(sequence.score).all()


def read_raw(dataset: str, raw: Path) -> list[Any]:
    """Opens and reads raw data like `aclnet prepare`; returns the rejections."""
    from aclnet.datasets.registry import get_dataset, open_raw

    return read_source(open_raw(get_dataset(dataset), raw))


def read_source(source: Source) -> list[Any]:
    """Reads all of raw data; returns the rejections."""
    from aclnet.datasets.spec import AclnetError, Rejection

    items, rejections = source.scan()
    source.splits()
    source.fingerprint()
    source.tracked()
    source.rates()
    source.normalisation()
    results = [*rejections, *(source.read(item) for item in items[:5])]
    with suppress(AclnetError):  # some sources have no detection scores
        boxed = source.with_boxes(0.5, 0.1)
        results += [boxed.read(item) for item in items[:1]]
    for result in results:
        if isinstance(result, Rejection):
            assert 0 < len(str(result).strip()) <= LONGEST_MESSAGE, str(result)[:80]
        else:
            check_sequence(result, source)
    return [result for result in results if isinstance(result, Rejection)]


def raw(
    dataset: str,
    form: str,
    victim: str = "",
    shrink: Callable[[bytes], bytes] = lambda data: data,
    more: Sequence[bytes] = (),
    repair: Callable[[bytes], bytes] = lambda data: data,
) -> Callable[[Path], Case]:
    """Generated recordings with one fuzzed file.

    Args:
        victim: pattern of the file; empty: the largest one.
        shrink: makes a small file from the generated one.
        more: seeds beside that file.
        repair: change of an input before it is written.
    """

    def make(folder: Path) -> Case:
        from aclnet.datasets.synth import Request, get_generator

        place = folder / dataset
        get_generator(dataset, form)(place, Request(sequences=2, subjects=2, seed=1))
        _thin_out(place)
        files = sorted(file for file in place.rglob(victim or "*") if file.is_file())
        file = max(files, key=lambda file: file.stat().st_size)
        first = shrink(file.read_bytes())

        def parse(data: bytes) -> object:
            put(file, repair(data))
            return read_raw(dataset, place)

        return Case([first, *more], parse)

    return make


def _thin_out(place: Path) -> None:
    """Leaves three files in folders with a file per frame."""
    for folder in [place, *(path for path in place.rglob("*") if path.is_dir())]:
        files = sorted(file for file in folder.iterdir() if file.is_file())
        if len(files) > 10:
            for file in files[3:]:
                file.unlink()


def _zip_of_recordings(folder: Path) -> Case:
    from aclnet.datasets.synth import Request, get_generator

    get_generator("ntu60")(folder / "ntu60", Request(sequences=2, subjects=2, seed=1))
    contents = {
        f"nturgb+d_skeletons/{file.name}": few_skeletons(file.read_bytes())
        for file in sorted((folder / "ntu60").rglob("*.skeleton"))
    }
    archive = folder / "skeletons.zip"

    def parse(data: bytes) -> None:
        put(archive, repaired_zip(data))
        read_raw("ntu60", archive)

    return Case([zipped(contents), zipped({"../../x.skeleton": b"1\n0\n"})], parse)


_pyskl = partial(raw, shrink=few_pickled, more=HOSTILE)
_one = partial(few, entries=1)

TARGETS: dict[str, Callable[[Path], Case]] = {
    "casia-b-csv": raw("casia-b", "csv", "*.csv", head(3)),
    "casia-b-opengait": raw("casia-b", "opengait", "*.pkl", few_pickled, HOSTILE),
    "casia-b-json": raw("casia-b", "json", "*.json", few),
    "casia-b-3d-arrays": raw("casia-b-3d", "arrays", "source_y*", few_rows),
    "finegym-pyskl": _pyskl("finegym", "pyskl"),
    "kinetics-json": raw("kinetics", "json", "", _one),
    "kinetics-labels": raw("kinetics", "json", "kinetics_train_label.json"),
    "kinetics-pyskl": _pyskl("kinetics", "pyskl", "k400_hrnet.pkl"),
    "kinetics-kpfile": _pyskl("kinetics", "pyskl", "clips_*.pkl"),
    "msr-action3d": raw("msr-action3d", "text", "*.txt", head(40)),
    "ntu60-skeleton": raw("ntu60", "skeleton", "", few_skeletons),
    "ntu60-zip": _zip_of_recordings,
    "ntu60-pyskl": _pyskl("ntu60", "pyskl"),
    "ntu60-hrnet": raw("ntu60", "hrnet", "*.pkl", partial(few_pickled, protocol=2)),
    "ntu60-ctr": raw("ntu60", "ctr", "*.npz", few_ctr, repair=repaired_zip),
    "ntu60-agcn": raw("ntu60", "agcn", "", few_agcn),
    "ntu60-agcn-labels": raw("ntu60", "agcn", "val_label.pkl", more=HOSTILE),
    "nw-ucla": raw("nw-ucla", "json", "*.json", few),
    "pkummd-text": raw("pkummd", "text", "0*.txt", head(3)),
    "pkummd-labels": raw("pkummd", "text", "Train_Label*/*.txt"),
    "pkummd-splits": raw("pkummd", "text", "cross-subject.txt", head(8)),
    "pkummd-pyskl": _pyskl("pkummd", "pyskl"),
    "biwi-text": raw("biwi", "text", "*skel.txt"),
    "biwi-arrays": raw("biwi", "arrays", "source_x*", few_rows),
    "biwi-ids": raw("biwi", "arrays", "frame_id*", few_rows),
    "ias-lab-text": raw("ias-lab", "text", "*skel.txt"),
    "kgbd-text": raw("kgbd", "text", "*.txt", head(40)),
    "ks20-text": raw("ks20", "text", "*.txt"),
    "sbu": raw("sbu", "text", "*.txt", head(3)),
    "shrec17": raw("shrec17", "world", "*.txt", head(3)),
    "utd-mhad": raw(
        "utd-mhad", "mat", "*.mat", lambda _: mat(compressed=False), [mat(compressed=True)]
    ),
}
"""Functions that make the case of each target in an empty folder."""
