"""The contract of readers, tested with every form of every dataset that can be generated."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from multiprocessing import get_context
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aclnet.datasets.formats.files import folder_of
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError, Rejection, SkeletonSequence
from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.synth import Request, all_forms, get_generator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor
    from pathlib import Path

    from aclnet.datasets.spec import Item, Source

SAME_READER = {
    "h36m", "smpl", "wholebody", "alphapose", "halpe136", "alphapose-images", "openpose-face",
    "holistic", "mediapipe-tasks", "mediapipe-js", "mediapipe-hands", "mediapipe-csv", "skeleton",
}  # fmt: skip
"""Forms of `custom` that another form, or another dataset, has the reader of."""
FORMS = [
    pytest.param((dataset, form), id=f"{dataset}-{form}", marks=pytest.mark.slow)
    if dataset == "custom" and form in SAME_READER
    else pytest.param((dataset, form), id=f"{dataset}-{form}")
    for dataset, forms in all_forms().items()
    for form in forms
]
TELLS_ITS_END = (".json", ".mat", ".npy", ".npz", ".pkl", ".skeleton")
"""Endings of files that are damaged by every cut; tables of text may end after any line."""
_times = count(10**18)


def generate(folder: Path, dataset: str, form: str) -> int:
    """Writes a few small recordings; returns how many."""
    return get_generator(dataset, form)(folder, Request(sequences=3, subjects=2, seed=1)).sequences


class Raw(NamedTuple):
    """Generated raw data and what they hold."""

    dataset: str
    folder: Path
    recordings: int
    source: Source
    items: list[Item]
    sequences: dict[str, SkeletonSequence]
    place: Path
    """The first item's file, or folder of frames."""
    victim: Path
    """The file to be damaged: that one, or the first frame."""
    spared: set[str]
    """Items that are in other files."""

    def read(self) -> tuple[dict[str, SkeletonSequence | Rejection], list[Rejection]]:
        """The result of a new opening: results by id, and the rejections of the scan."""
        source = open_raw(get_dataset(self.dataset), self.folder)
        items, rejections = source.scan()
        return {item.sample_id: source.read(item) for item in items}, rejections

    @contextmanager
    def changed(self, content: bytes, file: Path | None = None) -> Iterator[None]:
        """The victim, or another file, holds something else meanwhile."""
        file = file or self.victim
        whole = file.read_bytes()
        try:
            write(file, content)
            yield
        finally:
            write(file, whole)


@pytest.fixture(scope="module", params=FORMS)
def raw(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Raw:
    """Tests change its files by `changed` alone."""
    dataset, form = request.param
    folder = tmp_path_factory.mktemp("raw") / dataset
    recordings = generate(folder, dataset, form)
    source = open_raw(get_dataset(dataset), folder)
    items, rejections = source.scan()
    assert rejections == []
    sequences = {item.sample_id: source.read(item) for item in items}
    places = {item.sample_id: place_of(source, item) for item in items}
    place = place_of(source, items[0])
    spared = {sample_id for sample_id, other in places.items() if other != place}
    victim = min(place.iterdir()) if place.is_dir() else place
    return Raw(dataset, folder, recordings, source, items, sequences, place, victim, spared)


def place_of(source: Source, item: Item) -> Path:
    """The file, or the folder of frames, that holds an item."""
    path = folder_of(source.root) / item.path if item.path else source.root
    return next(place for place in (path, *path.parents) if place.exists())


def write(file: Path, content: bytes) -> None:
    """Writes a file with a time of its own, so that caches notice it."""
    file.write_bytes(content)
    time = next(_times)
    os.utime(file, ns=(time, time))


def assert_sound(sequence: SkeletonSequence, source: Source) -> None:
    """The sequence is what `SkeletonSequence` says."""
    keypoint, present = sequence.keypoint, sequence.present
    persons, frames = present.shape
    joints = get_layout(source.spec.source_layout).num_joints
    assert keypoint.shape == (persons, frames, joints, source.spec.dimensions)
    assert (keypoint.dtype, present.dtype) == (np.float32, np.bool_)
    assert np.isfinite(keypoint).all()
    assert present.any()
    assert not keypoint[~present].any()
    assert (sequence.frame_index.dtype, sequence.frame_index.shape) == (np.int32, (frames,))
    assert (sequence.frame_index >= 0).all()
    assert (np.diff(sequence.frame_index) > 0).all()
    if sequence.score is not None:
        assert (sequence.score.dtype, sequence.score.shape) == (np.float32, keypoint.shape[:3])
        assert np.isfinite(sequence.score).all()
    assert 0 <= sequence.label < len(source.spec.class_names)
    assert len(sequence.body_ids) in (0, persons)


def assert_same(found: SkeletonSequence, expected: SkeletonSequence) -> None:
    for name in ("keypoint", "present", "frame_index", "score"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    for name in ("label", "subject", "camera", "setup", "replication", "condition", "source"):
        assert getattr(found, name) == getattr(expected, name)


def assert_beginning(found: SkeletonSequence, whole: SkeletonSequence) -> None:
    """The same but for frames at the end, and the one number that is cut itself."""
    frames = np.searchsorted(whole.frame_index, found.frame_index)
    np.testing.assert_array_equal(whole.frame_index[frames], found.frame_index)
    assert np.count_nonzero(found.keypoint != whole.keypoint[:, frames]) <= 1
    assert found.label == whole.label


def test_generated_recordings_are_read(raw: Raw):
    """The arrays of re-identification hold windows: several of a recording, or none."""
    ids = [item.sample_id for item in raw.items]
    assert len(set(ids)) == len(ids)
    assert len(ids) == raw.recordings or "/" in ids[0]
    sizes = {item.sample_id: item.size for item in raw.items}
    assert min(sizes.values()) > 0
    for sample_id, sequence in raw.sequences.items():
        assert isinstance(sequence, SkeletonSequence)
        assert sequence.sample_id == sample_id
        assert_sound(sequence, raw.source)
    for members in raw.source.splits().values():
        assert set(members) <= set(ids)


@pytest.fixture(scope="module")
def another_process() -> Iterator[Executor]:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        yield pool


def test_a_source_is_small_and_reads_the_same_in_another_process(
    raw: Raw, another_process: Executor
):
    assert len(pickle.dumps(raw.source)) < 20_000
    assert another_process.submit(raw.source.scan).result() == (raw.items, [])
    assert another_process.submit(raw.source.fingerprint).result() == raw.source.fingerprint()
    for found in another_process.map(raw.source.read, raw.items):
        assert_same(found, raw.sequences[found.sample_id])


def test_items_come_in_one_order_however_folders_are_listed(
    raw: Raw, monkeypatch: pytest.MonkeyPatch
):
    scandir, listdir = os.scandir, os.listdir
    found = []
    for backwards in (False, True):

        @contextmanager
        def entries(path: str, *, backwards: bool = backwards) -> Iterator[Iterator[os.DirEntry]]:
            with scandir(path) as listed:
                yield iter(sorted(listed, key=lambda entry: entry.name, reverse=backwards))

        def names(path: str, *, backwards: bool = backwards) -> list[str]:
            return sorted(listdir(path), reverse=backwards)

        monkeypatch.setattr(os, "scandir", entries)
        monkeypatch.setattr(os, "listdir", names)
        found.append(open_raw(get_dataset(raw.dataset), raw.folder).scan()[0])
    assert found[0] == found[1] == raw.items


def cuts(size: int) -> list[int]:
    """Lengths to which a file is cut: the ends, and eight places between."""
    return sorted({0, 1, *(size * n // 9 for n in range(1, 9)), size - 2, size - 1} - {-1, -2})


def is_nobody(raw: Raw, content: bytes) -> bool:
    """Is a file without content no damage, but a frame without anybody, as Ultralytics' labels?"""
    return raw.dataset == "custom" and raw.victim.suffix == ".txt" and not content.strip()


def test_a_cut_recording_is_rejected_or_ends_sooner(raw: Raw, refusal_of):
    whole = raw.victim.read_bytes()
    for length in cuts(len(whole)):
        if is_nobody(raw, whole[:length]):
            continue
        with raw.changed(whole[:length]), refusal_of(raw.place.name):
            found, rejections = raw.read()
            refused = [r for r in (*found.values(), *rejections) if isinstance(r, Rejection)]
            assert all(raw.place.name in f"{rejection}" for rejection in refused)
            if raw.victim.suffix in TELLS_ITS_END and whole[length:].strip():
                assert refused
            for sample_id, result in found.items():
                if isinstance(result, SkeletonSequence):
                    assert_beginning(result, raw.sequences[sample_id])
            for sample_id in raw.spared & found.keys():
                assert_same(found[sample_id], raw.sequences[sample_id])


def test_a_recording_that_is_gone_is_never_read(raw: Raw):
    with raw.changed(b""):
        raw.victim.unlink()
        for item in raw.items:
            expected = raw.sequences[item.sample_id]
            try:
                result = raw.source.read(item)
            except FileNotFoundError:  # which stops a preparation
                continue
            if isinstance(result, Rejection):
                assert raw.place.name in f"{result}"
            elif result.present.shape == expected.present.shape:  # it remembers what it has read
                assert_same(result, expected)
            else:  # a frame, which was a file of its own
                assert result.present.shape[1] == expected.present.shape[1] - 1


@pytest.mark.slow
def test_cut_files_of_other_kinds_are_no_crash(raw: Raw):
    files = sorted(file for file in raw.folder.rglob("*") if file.is_file() and file != raw.victim)
    for file in files if len(files) < 30 else files[:: len(files) // 3]:
        whole = file.read_bytes()
        for length in (0, len(whole) // 2, len(whole) - 1):
            with raw.changed(whole[:length], file), suppress(AclnetError):
                found, _ = raw.read()
                assert all(isinstance(r, SkeletonSequence | Rejection) for r in found.values())


@pytest.mark.slow
@settings(max_examples=30)
@given(data=st.data())
def test_changed_bytes_are_sound_sequences_or_say_why_not(
    raw: Raw, refusal_of, data: st.DataObject
):
    whole = raw.victim.read_bytes()
    changed = bytearray(whole)
    size = len(whole)
    # headers and lists of contents stand at either end
    places = st.integers(0, min(size, 400) - 1) | st.integers(max(0, size - 400), size - 1)
    places |= st.integers(0, size - 1)
    for _ in range(data.draw(st.integers(0, 4))):
        changed[data.draw(places)] = data.draw(st.integers(0, 255))
    begin, removed = data.draw(places), data.draw(st.integers(0, 9) | st.integers(0, size))
    changed[begin : begin + removed] = data.draw(st.binary(max_size=30))
    with raw.changed(bytes(changed)), refusal_of(raw.place.name):
        found, _ = raw.read()
        for result in found.values():
            assert isinstance(result, SkeletonSequence | Rejection)
            if isinstance(result, SkeletonSequence):
                assert_sound(result, raw.source)


@pytest.mark.slow
@settings(max_examples=12)
@given(data=st.binary(max_size=60))
def test_other_bytes_are_no_recording(raw: Raw, refusal_of, data: bytes):
    assume(not is_nobody(raw, data))
    with raw.changed(data), refusal_of(raw.place.name):
        found, rejections = raw.read()
        lost = raw.sequences.keys() - raw.spared
        assert not any(isinstance(found.get(name), SkeletonSequence) for name in lost)
        assert rejections or lost & found.keys()
