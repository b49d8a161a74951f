"""Prepare end to end: against the public steps done one file at a time, killed, on clusters."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import zarr

import aclnet
from aclnet.datasets import manifest, protocols
from aclnet.datasets.errors import AclnetError
from aclnet.datasets.layouts import get_layout
from aclnet.datasets.readers import Item, get_dataset
from aclnet.datasets.readers.ntu import unusable
from aclnet.datasets.sequence import Rejection, Sequence
from aclnet.datasets.synth.ntu import generate
from aclnet.datasets.verify import verify
from aclnet.pipelines import executor as executors
from aclnet.pipelines import parts
from aclnet.pipelines import prepare as preparing
from aclnet.pipelines.clean import clean_ntu
from aclnet.pipelines.executor import executor
from aclnet.pipelines.normalise import denormalise, normalise
from aclnet.pipelines.options import PrepareOptions
from aclnet.pipelines.parts import own_sides
from aclnet.pipelines.prepare import prepare

LAYOUT = get_layout("nturgb+d")


def manifest_of(store: Path) -> bytes:
    return (store / manifest.NAME).read_bytes()


def cleaned(raw: Path) -> dict[str, Sequence]:
    """Each recording by id, read and cleaned on its own."""
    source = get_dataset("ntu60").open(raw)
    items, _ = source.scan()
    return {item.sample_id: clean_ntu(source.read(item)) for item in items}


@pytest.fixture(scope="module")
def recordings(people: Path) -> dict[str, Sequence]:
    return cleaned(people)


def test_every_sequence_is_what_the_steps_give_for_its_file_alone(people_store, recordings):
    store = aclnet.open_store(people_store)
    assert sorted(store.column("id")) == sorted(recordings)
    for row, sample_id in enumerate(store.column("id")):
        raw = recordings[sample_id]
        expected = normalise(raw.keypoint, raw.present, LAYOUT)
        there = expected.present.any(axis=1)
        stored = store.sequence(sample_id)
        np.testing.assert_array_equal(stored.keypoint, expected.keypoint[there])
        np.testing.assert_array_equal(stored.present, expected.present[there])
        np.testing.assert_array_equal(stored.frame_index, raw.frame_index[expected.kept])
        np.testing.assert_array_equal(store.column("centre")[row], expected.centre)
        camera_space = denormalise(
            stored.keypoint,
            stored.present,
            store.column("centre")[row],
            store.column("rotation")[row],
        )
        main_first = raw.keypoint[expected.order[there]][:, expected.kept]
        np.testing.assert_allclose(camera_space, main_first, atol=2e-6)


def test_labels_and_numbers_are_those_of_the_names(people_store):
    samples = aclnet.open_store(people_store).samples.set_index("id")
    for sample_id, row in samples.iterrows():
        assert sample_id == (
            f"S{row.setup:03}C{row.camera:03}P{row.subject:03}"
            f"R{row.replication:03}A{row.label + 1:03}"
        )
        assert row.source == f"{sample_id}.skeleton"
        assert (row.original, row.variant) == (sample_id, 0)


def test_sides_follow_the_protocols(people_store):
    store = aclnet.open_store(people_store)
    assert store.protocols == ["xsub", "xview"]
    np.testing.assert_array_equal(store.mask("xsub/train"), store.column("subject") != 3)
    np.testing.assert_array_equal(store.mask("xview/test"), store.column("camera") == 1)
    for protocol in store.protocols:
        train, test = store.mask(f"{protocol}/train"), store.mask(f"{protocol}/test")
        np.testing.assert_array_equal(train, ~test)
        assert not set(store.shard_of[train]) & set(store.shard_of[test])


def test_the_store_opens_with_plain_zarr_and_all_columns_are_as_long(people_store):
    # pytest makes an error of any warning
    group = zarr.open_group(people_store, mode="r")
    start, n_frames, n_persons = (
        group[f"samples/{n}"][:] for n in ("start", "n_frames", "n_persons")
    )
    assert len(start) == 72
    assert (np.diff(start) > 0).all()
    for name, column in group["samples"].arrays():
        assert column.shape[0] == 72, name
    for protocol, sides in group["splits"].groups():
        for name, mask in sides.arrays():
            assert mask.shape == (72,), (protocol, name)
            assert mask.dtype == bool
    rows = np.zeros(group["frames/keypoint"].shape[0], dtype=bool)
    for first, frames, persons in zip(start, n_frames, n_persons, strict=True):
        rows[first : first + frames * persons] = True
    keypoint = group["frames/keypoint"][:]
    assert keypoint.shape[1:] == (25, 3)
    assert np.isfinite(keypoint[rows]).all()
    assert np.isnan(keypoint[~rows]).all()
    np.testing.assert_array_equal(group["frames/index"][:] >= 0, rows)
    assert not group["frames/present"][:][~rows].any()


def test_joints_of_absent_persons_are_zero_and_only_theirs(people_store):
    group = zarr.open_group(people_store, mode="r")
    keypoint, present = group["frames/keypoint"][:], group["frames/present"][:]
    np.testing.assert_array_equal((np.nan_to_num(keypoint) != 0).any(axis=(1, 2)), present)


def test_attributes_say_what_was_done(people_store):
    attributes = aclnet.open_store(people_store).attributes
    assert attributes["dataset"] == "ntu60"
    assert attributes["layout"]["name"] == "nturgb+d"
    assert attributes["units"] == "m"
    assert len(attributes["class_names"]) == 60
    assert attributes["cleaning"] == "ntu"
    assert attributes["normalisation"] == "centre-first-frame/1"
    assert attributes["protocols"] == {
        "xsub": {"train": 54, "test": 18},
        "xview": {"train": 48, "test": 24},
    }
    assert attributes["rejected"] == {}


def test_aligned_stores_say_so_and_lead_back_to_camera_space(
    people, tmp_path, prepare_ntu, recordings
):
    prepare_ntu(people, tmp_path / "a.zarr", align=True)
    store = aclnet.open_store(tmp_path / "a.zarr")
    assert store.attributes["normalisation"] == "centre-first-frame-aligned/1"
    row = 7
    sequence = store.sequence(row)
    raw = recordings[sequence.sample_id]
    expected = normalise(raw.keypoint, raw.present, LAYOUT, align=True)
    back = denormalise(
        sequence.keypoint,
        sequence.present,
        store.column("centre")[row],
        store.column("rotation")[row],
    )
    kept = raw.keypoint[expected.order][: len(back), expected.kept]
    np.testing.assert_allclose(back, kept, atol=1e-5)
    assert not np.allclose(store.column("rotation")[row], np.eye(3))


# Where it runs


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    from distributed import LocalCluster

    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("elsewhere"))  # the workers' folder is not the command's
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=0
    ) as cluster:
        os.chdir(before)
        yield cluster


def test_local_workers_and_a_scheduler_give_the_same_bytes(
    cluster, people, people_store, tmp_path, monkeypatch, capfd
):
    from aclnet.cli.main import main

    monkeypatch.setattr(preparing, "_PART_ITEMS", 20)
    monkeypatch.chdir(tmp_path)
    Path("raw").symlink_to(people)
    command = ["prepare", "ntu60", "--raw", "raw", "--out"]
    main([*command, "c.zarr", "--scheduler", cluster.scheduler_address])
    main([*command, "w.zarr", "--workers", "2"])
    assert manifest_of(Path("c.zarr")) == manifest_of(people_store)
    assert manifest_of(Path("w.zarr")) == manifest_of(people_store)
    assert "72/72" in capfd.readouterr().err


def test_a_mistake_in_a_worker_is_told_as_in_process(cluster):
    with (
        executor(scheduler=cluster.scheduler_address) as run,
        pytest.raises(AclnetError, match="moon"),
    ):
        list(run(get_dataset, ["moon"]))


def test_no_scheduler_or_one_without_workers(monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr(executors, "_CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(executors, "_WORKER_SECONDS", 0.5)
    with pytest.raises(AclnetError, match=r"no dask scheduler answers at tcp://127\.0\.0\.1:9"):
        executor(scheduler="tcp://127.0.0.1:9").__enter__()
    with pytest.raises(AclnetError, match="no dask scheduler answers at nonsense://here"):
        executor(scheduler="nonsense://here").__enter__()
    with pytest.raises(AclnetError, match="either"):
        executor(workers=1, scheduler="tcp://127.0.0.1:9").__enter__()
    with (
        LocalCluster(n_workers=0, processes=False, protocol="tcp", dashboard_address=":0") as empty,
        pytest.raises(AclnetError, match="has no worker"),
    ):
        executor(scheduler=empty.scheduler_address).__enter__()


# Killed


@pytest.fixture(scope="module")
def few(people, tmp_path_factory) -> Path:
    """Twelve of the recordings."""
    raw = tmp_path_factory.mktemp("few") / "raw"
    raw.mkdir()
    for file in people.glob("*C001*R001*"):
        shutil.copy(file, raw)
    return raw


@pytest.fixture(scope="module")
def few_store(few, prepare_ntu) -> Path:
    """What all the killed commands must end with."""
    prepare_ntu(few, few.parent / "few.zarr")
    return few.parent / "few.zarr"


@pytest.fixture
def small_parts(monkeypatch) -> None:
    """The killed commands work in parts of three."""
    monkeypatch.setattr(preparing, "_PART_ITEMS", 3)


KILLER = """
import importlib, os, signal, sys
from aclnet.cli.main import main
from aclnet.pipelines import prepare
prepare._PART_ITEMS = 3
place, text, count, when = sys.argv[1:5]
module, _, name = place.partition(":")
owner = importlib.import_module(module)
*path, name = name.split(".")
for step in path:
    owner = getattr(owner, step)
original, seen = getattr(owner, name), 0

def counted(*args, **kwargs):
    global seen
    hit = text in repr(args)
    seen += hit
    if hit and seen == int(count) and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*args, **kwargs)
    if hit and seen == int(count):
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(owner, name, counted)
main(sys.argv[5:])
"""

MOMENTS = {
    "before any part": ("aclnet.pipelines.parts:make_part", "", 1, "before"),
    "in a part": ("aclnet.pipelines.parts:_write", "", 2, "after"),
    "after some parts": ("aclnet.pipelines.parts:make_part", "", 3, "after"),
    "between the arrays": ("aclnet.datasets.zarr_io:create_frames", "", 2, "before"),
    "in a shard's file": ("pathlib:Path.replace", "keypoint/c/4", 1, "before"),
    "in a receipt": ("pathlib:Path.replace", "shards/000003.json", 1, "before"),
    "after some shards": ("aclnet.pipelines.shards:write_shard", "", 5, "after"),
    "in a column": ("pathlib:Path.replace", "samples/label/c", 1, "before"),
    "before the metadata are gathered": ("aclnet.datasets.zarr_io:consolidate", "", 1, "before"),
    "in the manifest": ("pathlib:Path.replace", "manifest.json", 1, "before"),
    "before the rename": ("aclnet.pipelines.prepare:_put_into_place", "", 1, "before"),
    "after the rename": ("aclnet.pipelines.prepare:_remove", ".wip", 1, "before"),
}


def killed(moment: tuple[str, str, int, str], *arguments: str) -> None:
    place, text, count, when = moment
    command = [sys.executable, "-c", KILLER, place, text, str(count), when, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_anywhere_the_same_command_goes_on(
    moment, few, few_store, tmp_path, small_parts, capsys
):
    from aclnet.cli.main import main

    out = tmp_path / "k.zarr"
    command = ["prepare", "ntu60", "--raw", str(few), "--out", str(out)]
    killed(MOMENTS[moment], *command)
    if moment != "after the rename":
        for folder in (out, tmp_path / "k.zarr.wip"):
            with pytest.raises(AclnetError, match=r"unfinished.*the same `aclnet prepare` command"):
                aclnet.open_store(folder)
    main(command)
    assert manifest_of(out) == manifest_of(few_store)
    assert list(verify(out)) == []
    assert [f.name for f in tmp_path.iterdir()] == ["k.zarr"]
    assert sorted(f.relative_to(out) for f in out.rglob("*")) == sorted(
        f.relative_to(few_store) for f in few_store.rglob("*")
    )
    said = capsys.readouterr().err
    assert "went on" in said or (moment == "after the rename" and "nothing to do" in said)


def test_killed_with_all_options_on_it_ends_the_same_too(few, tmp_path, prepare_ntu, monkeypatch):
    options = {"dtype": "int16", "augment": "rotate=0.2", "variants": 1}
    prepare_ntu(few, tmp_path / "a.zarr", **options)
    command = ["prepare", "ntu60", "--raw", str(few), "--out", str(tmp_path / "b.zarr")]
    command += ["--dtype", "int16", "--augment", "rotate=0.2", "--variants", "1"]
    killed(MOMENTS["before the rename"], *command)
    monkeypatch.setattr(preparing, "_PART_ITEMS", 3)  # which must not matter to the result
    assert prepare_ntu(few, tmp_path / "b.zarr", **options).resumed
    assert manifest_of(tmp_path / "a.zarr") == manifest_of(tmp_path / "b.zarr")


def test_done_parts_and_shards_are_not_made_again(few, tmp_path, small_parts):
    done: list[str] = []

    def run_some(limit):
        def run(function, jobs):
            for job in jobs[:limit]:
                done.append(f"{function.__name__} {job.number}")
                yield function(job)
            if limit < len(jobs):
                raise InterruptedError

        return run

    def go(run):
        spec = get_dataset("ntu60")
        out = tmp_path / "d.zarr"
        return prepare(spec, spec.open(few), out, PrepareOptions(), run, lambda *_: None)

    with pytest.raises(AclnetError):
        go(run_some(3))
    with pytest.raises(AclnetError):
        go(run_some(5))
    report = go(run_some(1000))
    assert report.resumed
    assert len(done) == len(set(done))
    assert sum(name.startswith("make_part") for name in done) == 4


def test_shards_that_were_lost_or_cut_since_are_written_again(
    few, few_store, tmp_path, prepare_ntu, small_parts
):
    out = tmp_path / "l.zarr"
    killed(MOMENTS["before the rename"], "prepare", "ntu60", "--raw", str(few), "--out", str(out))
    shards = sorted((tmp_path / "l.zarr.wip" / "store" / "frames" / "keypoint").rglob("0/0"))
    files = [file for file in shards if file.is_file()]
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:50])
    assert prepare_ntu(few, out).resumed
    assert list(verify(out)) == []
    assert manifest_of(out) == manifest_of(few_store)


def test_unfinished_work_of_other_options_files_or_versions_is_left_alone(
    few, tmp_path, prepare_ntu, monkeypatch
):
    out = tmp_path / "o.zarr"
    command = ["prepare", "ntu60", "--raw", str(few), "--out", str(out)]
    killed(MOMENTS["after some parts"], *command)
    with pytest.raises(AclnetError, match=r"o\.zarr\.wip holds an unfinished store .*--overwrite"):
        prepare_ntu(few, out, seed=1)
    fewer = tmp_path / "fewer"
    shutil.copytree(few, fewer)
    next(fewer.iterdir()).unlink()
    with pytest.raises(AclnetError, match="other files"):
        prepare_ntu(fewer, out)
    with monkeypatch.context() as patch:
        patch.setattr(preparing, "version", lambda _: "0.0.0")
        with pytest.raises(AclnetError, match="another version"):
            prepare_ntu(few, out)
    assert not prepare_ntu(few, out, seed=1, overwrite=True).resumed


def test_a_finished_store_is_found_refused_or_replaced(people, tmp_path, prepare_ntu):
    out = tmp_path / "f.zarr"
    prepare_ntu(people, out)
    before = manifest_of(out)
    again = prepare_ntu(people, out)
    assert again.existed
    assert again.samples == 72
    with pytest.raises(AclnetError, match=r"f\.zarr exists and was made from other .*--overwrite"):
        prepare_ntu(people, out, seed=1)
    assert manifest_of(out) == before
    prepare_ntu(people, out, seed=1, overwrite=True)
    assert manifest_of(out) != before
    assert [f.name for f in tmp_path.iterdir()] == ["f.zarr"]


def test_overwrite_keeps_the_old_store_until_the_new_one_is_whole(people, tmp_path, prepare_ntu):
    out, bad = tmp_path / "f.zarr", tmp_path / "bad"
    prepare_ntu(people, out)
    bad.mkdir()
    (bad / "S001C001P001R001A001.skeleton").write_bytes(b"1\n1\n")
    with pytest.raises(AclnetError, match="none of 1 recordings is usable"):
        prepare_ntu(bad, out, overwrite=True)
    assert len(aclnet.open_store(out)) == 72
    command = ["prepare", "ntu60", "--raw", str(people), "--out", str(out), "--overwrite"]
    killed(MOMENTS["after some shards"], *command, "--seed", "5")
    assert len(aclnet.open_store(out)) == 72


def test_what_is_no_store_is_never_deleted(people, tmp_path, prepare_ntu):
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter1.tex").write_text("Introduction")
    for overwrite in (False, True):
        with pytest.raises(AclnetError, match=r"thesis (exists and )?is no aclnet store"):
            prepare_ntu(people, thesis, overwrite=overwrite)
        with pytest.raises(AclnetError, match="is no aclnet store"):
            prepare_ntu(people, thesis / "chapter1.tex", overwrite=overwrite)
    assert (thesis / "chapter1.tex").read_text() == "Introduction"


def test_an_empty_folder_may_become_the_store(people, people_store, tmp_path, prepare_ntu):
    (tmp_path / "e.zarr").mkdir()
    prepare_ntu(people, tmp_path / "e.zarr")
    assert manifest_of(tmp_path / "e.zarr") == manifest_of(people_store)


# Rejections


@pytest.fixture(scope="module")
def damaged(tmp_path_factory, prepare_ntu):
    """A folder with files of every kind of damage and other oddities, prepared."""
    folder = tmp_path_factory.mktemp("damaged")
    raw = folder / "raw"
    damages = generate(
        raw, seed=3, actions=(1, 10), subjects=3, cameras=1, replications=1, damage=1.0
    ).damaged
    made = generate(folder / "sound", seed=3, actions=(1,), subjects=4, cameras=2, replications=1)
    sound = [name for name in made.names if name not in damages]
    listed = min(unusable("ntu60"))
    copies = [*sound, listed, "notes", "S018C001P001R001A001", f"copy/{sound[0]}"]
    (raw / "copy").mkdir()
    for name in copies:
        original = name if name in sound else sound[0]
        shutil.copy(folder / "sound" / f"{original}.skeleton", raw / f"{name}.skeleton")
    report = prepare_ntu(raw, folder / "d.zarr")
    return SimpleNamespace(report=report, sound=sound, damages=damages, listed=listed)


def rejected(damaged: SimpleNamespace) -> dict[str, dict[str, str]]:
    with (damaged.report.path / "rejected.csv").open(newline="") as stream:
        return {row["path"]: row for row in csv.DictReader(stream)}


def test_rejections_are_counted_by_kind(damaged):
    counts = {
        "damaged": 5,
        "no person": 1,
        "listed as unusable": 1,
        "unknown name": 1,
        "there twice": 1,
    }
    assert damaged.report.rejections == counts
    assert aclnet.open_store(damaged.report.path).attributes["rejected"] == counts
    assert damaged.report.outside == 1


def test_rejections_are_listed_whole(damaged):
    rows = rejected(damaged)
    assert len(rows) == 9
    for name, damage in damaged.damages.items():
        row = rows[f"{name}.skeleton"]
        assert row["kind"] == ("no person" if damage == "no body" else "damaged")
        assert row["reason"]
        if damage in ("truncated", "joint count", "nan"):
            assert int(row["line"]) > 1
    assert rows[f"{damaged.listed}.skeleton"]["kind"] == "listed as unusable"
    double = damaged.sound[0]
    row = rows[f"copy/{double}.skeleton"]
    assert row["reason"] == f"the same recording is at {double}.skeleton"


def test_the_first_of_each_kind_is_shown_in_full(damaged):
    rows = rejected(damaged).values()
    kinds = {
        str(Rejection(row["path"], int(row["line"] or 0) or None, row["reason"])): row["kind"]
        for row in rows
    }
    examples = damaged.report.examples
    assert len(set(examples)) == 5
    # those on the authors' list are known
    assert {kinds[e] for e in examples} == {"damaged", "no person", "unknown name", "there twice"}


def test_sound_files_beside_damaged_ones_are_kept(damaged):
    ids = aclnet.open_store(damaged.report.path).column("id")
    assert sorted(ids) == sorted(damaged.sound)
    assert damaged.report.samples == len(damaged.sound) > 0


def test_rejections_survive_a_resume(few, tmp_path, prepare_ntu, small_parts):
    raw = tmp_path / "raw"
    shutil.copytree(few, raw)
    first, *_, last = sorted(raw.iterdir())
    first.write_bytes(b"")
    last.write_bytes(b"nonsense\n")
    command = ["prepare", "ntu60", "--raw", str(raw), "--out", str(tmp_path / "r.zarr")]
    killed(MOMENTS["after some shards"], *command)
    report = prepare_ntu(raw, tmp_path / "r.zarr")
    assert report.resumed
    assert report.rejections == {"damaged": 2}


def test_empty_sides_are_named(people, tmp_path, prepare_ntu):
    raw = tmp_path / "raw"
    raw.mkdir()
    for file in people.glob("*C001P003*"):
        shutil.copy(file, raw)
    report = prepare_ntu(raw, tmp_path / "e.zarr")
    assert report.empty == ("xsub/train", "xview/train")
    assert {c.side: c.verdict for c in report.counts} == dict.fromkeys(
        ("xsub/train", "xsub/test", "xview/train", "xview/test"), "subset"
    )


def test_published_counts_that_cannot_be_are_refused(people, tmp_path, prepare_ntu, monkeypatch):
    few = protocols.Protocol("xsub", "subject", frozenset({3}), (18, 54))
    swapped = protocols.Protocol("xsub", "subject", frozenset({1, 2, 4}), (18, 54))
    monkeypatch.setitem(protocols.PROTOCOLS, "ntu60", (few,))
    counts = prepare_ntu(people, tmp_path / "p.zarr").counts
    assert [c.verdict for c in counts] == ["complete", "complete"]
    monkeypatch.setitem(protocols.PROTOCOLS, "ntu60", (swapped,))
    with pytest.raises(AclnetError, match=r"not the published samples .*54 of 18 \(wrong"):
        prepare_ntu(people, tmp_path / "q.zarr")


def test_file_names_that_are_no_text_do_not_stop_it(people, tmp_path, prepare_ntu):
    raw = tmp_path / "raw"
    folder = raw / os.fsdecode(b"f\xfcnf")
    folder.mkdir(parents=True)
    files = sorted(people.iterdir())
    shutil.copy(files[0], folder)
    (raw / os.fsdecode(b"S001C001P001R001A001\xff.skeleton")).write_bytes(b"")
    report = prepare_ntu(raw, tmp_path / "n.zarr")
    assert report.samples == 1
    assert aclnet.open_store(tmp_path / "n.zarr").column("source")[0].startswith(r"f\udcfcnf/")
    assert b"\xff.skeleton" in (tmp_path / "n.zarr" / "rejected.csv").read_bytes()


# Sources that are made up here


class MadeUp:
    """A source of sequences in memory, with splits of its own."""

    cleaned = True

    def __init__(self, sequences, splits=()) -> None:
        self.root = Path("made-up.pkl")
        self._sequences = {s.sample_id: s for s in sequences}
        self._splits = dict(splits)

    def scan(self):
        return [Item(i, "", s.keypoint.nbytes) for i, s in self._sequences.items()], []

    def outside(self) -> int:
        return 0

    def splits(self):
        return self._splits

    def read(self, item):
        return self._sequences[item.sample_id]


def sequence(sample_id: str, persons: int = 1, frames: int = 5, seed: int = 0) -> Sequence:
    rng = np.random.default_rng([seed, frames])
    return Sequence(
        sample_id=sample_id,
        keypoint=rng.normal(size=(persons, frames, 25, 3)).astype(np.float32),
        label=0,
        present=np.ones((persons, frames), dtype=bool),
        frame_index=np.arange(frames, dtype=np.int32),
    )


def prepared(source: MadeUp, out: Path, **options):
    spec = get_dataset("ntu60")
    with executor() as run:
        report = prepare(spec, source, out, PrepareOptions(**options), run, lambda *_: None)
    return report, aclnet.open_store(out)


def test_a_sequence_longer_than_a_shard_becomes_linked_samples(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "MAX_ROWS", 17)
    long, short = sequence("long#1", persons=3, frames=11), sequence("short")
    report, store = prepared(MadeUp([long, short]), tmp_path / "l.zarr")
    assert report.cut == 1
    pieces = [store.sequence(f"long#1#{n}") for n in (1, 2, 3)]
    whole = normalise(long.keypoint, long.present, LAYOUT)
    np.testing.assert_array_equal(
        np.concatenate([p.keypoint for p in pieces], axis=1), whole.keypoint
    )
    np.testing.assert_array_equal(np.concatenate([p.frame_index for p in pieces]), long.frame_index)
    assert all(p.present.size <= 17 for p in pieces)
    assert list(store.column("original")).count("long#1") == 3
    assert np.ptp(store.column("centre")[store.column("original") == "long#1"], axis=0).max() == 0


def test_pieces_of_a_sequence_count_as_one_recording(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "MAX_ROWS", 4)
    long = sequence("a", frames=11)
    long.subject, long.camera = 1, 1
    report, store = prepared(MadeUp([long]), tmp_path / "l.zarr")
    assert len(store) == report.samples == 3
    assert {c.side: c.found for c in report.counts}["xsub/train"] == 1


def test_persons_who_are_never_there_do_not_hide_the_others(tmp_path):
    three = sequence("a", persons=3)
    three.present[:2] = False
    three.keypoint[:2] = 0
    _, store = prepared(MadeUp([three]), tmp_path / "t.zarr")
    found = store.sequence("a")
    assert len(found.keypoint) == 1
    alone = normalise(three.keypoint[2:], three.present[2:], LAYOUT)
    np.testing.assert_array_equal(found.keypoint, alone.keypoint)


def test_frames_without_the_main_person_go_and_the_others_keep_their_numbers(tmp_path):
    gaps = sequence("a", frames=6)
    gaps.frame_index += 10
    gaps.present[0, [0, 3]] = False
    gaps.keypoint[~gaps.present] = 0
    _, store = prepared(MadeUp([gaps]), tmp_path / "g.zarr")
    assert store.sequence("a").frame_index.tolist() == [11, 12, 14, 15]


def test_splits_of_the_source_decide(tmp_path):
    sequences = [sequence(i) for i in "abcd"]
    splits = {"train": ["a", "b"], "val": ["c"], "fold_val2": ["a"], "fold_test2": ["d"]}
    _, store = prepared(MadeUp(sequences, splits.items()), tmp_path / "s.zarr")
    found = {name: sorted(store.column("id")[mask]) for name, mask in store.splits.items()}
    assert found == {
        "own/train": ["a", "b"],
        "own/test": ["c"],
        "fold2/val": ["a"],
        "fold2/test": ["d"],
    }
    assert store.protocols == ["own", "fold2"]  # none of the samples tells its subject


def test_an_odd_split_name_is_refused_before_anything_is_read(tmp_path):
    source = MadeUp([sequence("a")], {"everything": ["a"]}.items())
    with pytest.raises(AclnetError, match="'everything' does not say which side"):
        prepared(source, tmp_path / "s.zarr")
    assert not list(tmp_path.iterdir())


def test_pyskl_names_of_splits():
    names = ["xsub_train", "xsub_val", "train1", "test1", "a_b_train", "a_b_val", "a_b_test"]
    source = MadeUp([], {n: [n] for n in names}.items())
    assert own_sides(source) == {
        "xsub/train": ["xsub_train"],
        "xsub/test": ["xsub_val"],
        "own1/train": ["train1"],
        "own1/test": ["test1"],
        "a_b/train": ["a_b_train"],
        "a_b/val": ["a_b_val"],
        "a_b/test": ["a_b_test"],
    }


def test_memory_that_does_not_suffice_stops_it(tmp_path, monkeypatch):
    source = MadeUp([sequence("a")])

    def read(_):
        raise MemoryError

    monkeypatch.setattr(source, "read", read)
    with pytest.raises(AclnetError, match="memory does not suffice"):
        prepared(source, tmp_path / "m.zarr")


def test_scores_are_stored_with_their_persons_and_frames(tmp_path):
    scored = sequence("a", persons=2, frames=6)
    scored.present[0, :3] = False  # the second is the main person
    scored.score = np.random.default_rng(1).random((2, 6, 25)).astype(np.float32)
    _, store = prepared(MadeUp([scored]), tmp_path / "s.zarr")
    np.testing.assert_array_equal(store.sequence("a").score, scored.score[::-1])


# int16


def test_int16_keeps_its_recorded_bound_and_missing_joints(
    people, people_store, tmp_path, prepare_ntu
):
    prepare_ntu(people, tmp_path / "i.zarr", dtype="int16")
    exact, fixed = aclnet.open_store(people_store), aclnet.open_store(tmp_path / "i.zarr")
    array = zarr.open_group(tmp_path / "i.zarr", mode="r")["frames/keypoint"]
    assert array.dtype == np.int16
    assert array.attrs["scale"] == pytest.approx(2e-4)
    worst = 0.0
    for sample_id in exact.column("id"):
        a, b = exact.sequence(sample_id).keypoint, fixed.sequence(sample_id).keypoint
        assert b.dtype == np.float32
        worst = max(worst, float(np.abs(a - b).max()))
        np.testing.assert_array_equal((a == 0).all(axis=-1), (b == 0).all(axis=-1))
    assert worst == pytest.approx(array.attrs["max_error"], rel=1e-6)
    assert 0 < worst <= array.attrs["scale"]
    assert list(verify(tmp_path / "i.zarr")) == []
    block, _ = fixed.read_shard(0)
    np.testing.assert_array_equal(np.isnan(block), np.isnan(exact.read_shard(0)[0]))


# Stored augmentation


@pytest.fixture(scope="module")
def augmented(people, tmp_path_factory, prepare_ntu):
    out = tmp_path_factory.mktemp("augmented") / "a.zarr"
    prepare_ntu(people, out, augment="rotate=0.3,jitter=0.01,mirror=0.5", variants=2, seed=4)
    return aclnet.open_store(out)


def test_variants_are_of_training_samples_and_only_train(augmented):
    variant, original = augmented.column("variant"), augmented.column("original")
    trains = augmented.mask("xsub/train") | augmented.mask("xview/train")
    assert set(original[variant == 1]) == set(original[trains & (variant == 0)])
    assert (variant > 0).sum() == 2 * (trains & (variant == 0)).sum()
    for name, mask in augmented.splits.items():
        if name.endswith("/test"):
            assert not variant[mask].any()
        else:
            _, counts = np.unique(original[mask], return_counts=True)
            assert (counts == 3).all(), name
    assert augmented.mask("xsub/test").sum() == 18


def test_a_variant_is_what_augmenting_the_sample_gives(augmented):
    import torch

    from aclnet.datasets import random
    from aclnet.pipelines.augment import AugmentSpec, augment

    spec = AugmentSpec(rotate=0.3, jitter=0.01, mirror=0.5)
    for row in np.flatnonzero(augmented.column("variant") == 2)[::9]:
        moved = augmented.sequence(row)
        sample_id = augmented.column("original")[row]
        assert moved.sample_id == f"{sample_id}@2"
        base = augmented.sequence(str(sample_id))
        persons, frames = base.present.shape
        key = random.fold(random.sample_keys([sample_id]), 4, 2, 4)
        expected = augment(
            torch.from_numpy(base.keypoint),
            torch.zeros(persons, dtype=torch.int64),
            torch.from_numpy(key),
            spec,
            LAYOUT,
            frame=torch.arange(frames).expand(persons, -1),
            present=torch.from_numpy(base.present),
        )
        np.testing.assert_array_equal(moved.keypoint, expected.numpy())
        np.testing.assert_array_equal(moved.present, base.present)
        assert not np.array_equal(moved.keypoint, base.keypoint)


def test_variants_of_one_sample_differ(augmented):
    sample_id = augmented.column("original")[augmented.column("variant") == 1][0]
    first, second = (augmented.sequence(f"{sample_id}@{n}").keypoint for n in (1, 2))
    assert not np.array_equal(first, second)


# Real recordings


def test_real_ntu_files(real_data, tmp_path):
    spec = get_dataset("ntu120")
    source = spec.open(real_data / "ntu_raw")
    with executor() as run:
        report = prepare(spec, source, tmp_path / "n.zarr", PrepareOptions(), run, lambda *_: None)
    store = aclnet.open_store(tmp_path / "n.zarr")
    assert report.samples == len(store) == 7
    assert (
        set(report.empty)
        == {name for name, mask in store.splits.items() if not mask.any()}
        != set()
    )
    assert store.protocols == ["xsub", "xset", "ntu60-xsub", "ntu60-xview"]
    for name, raw in cleaned(real_data / "ntu_raw").items():
        expected = normalise(raw.keypoint, raw.present, LAYOUT).keypoint
        np.testing.assert_array_equal(store.sequence(name).keypoint, expected)


def test_real_utd_mhad(real_data, tmp_path):
    spec = get_dataset("utd-mhad")
    source = spec.open(real_data / "utd_mhad")
    with executor() as run:
        report = prepare(spec, source, tmp_path / "u.zarr", PrepareOptions(), run, lambda *_: None)
    assert {c.side: (c.found, c.verdict) for c in report.counts} == {
        "xsub/train": (431, "complete"),
        "xsub/test": (430, "complete"),
    }
    store = aclnet.open_store(tmp_path / "u.zarr")
    assert store.layout.name == "utd_mhad"
    train = store.mask("xsub/train")
    assert set(store.column("subject")[train]) == {1, 3, 5, 7}
    assert 8 <= len(np.unique(store.shard_of[train])) <= 20
    item = source.scan()[0][100]
    raw = source.read(item)
    expected = normalise(raw.keypoint, raw.present, store.layout)
    np.testing.assert_array_equal(store.sequence(item.sample_id).keypoint, expected.keypoint)


def test_torch_stays_out_where_nothing_is_augmented(people, tmp_path):
    program = """
import json, sys
from aclnet.cli.main import main
main(sys.argv[1:])
print(json.dumps([name for name in sys.modules if name.partition(".")[0] in ("torch", "pandas")]))
"""
    command = [sys.executable, "-c", program, "prepare", "ntu60", "--raw", str(people)]
    command += ["--out", str(tmp_path / "t.zarr")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []
