"""`aclnet prepare` as a user meets it: what it shows, and what it says of mistakes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from aclnet.datasets.store import manifest
from aclnet.pipelines.prepare import executor as executors


@pytest.fixture
def raw(people, tmp_path) -> Path:
    """Six of the recordings, one of them damaged."""
    folder = tmp_path / "raw"
    folder.mkdir()
    files = sorted(people.glob("*C001*R001*"))[:6]
    for file in files:
        shutil.copy(file, folder)
    (folder / files[0].name).write_bytes(b"3\n1\n")
    return folder


def test_a_first_run_and_a_second(aclnet, raw, tmp_path):
    out = tmp_path / "s.zarr"
    first = aclnet("prepare", "ntu60", "--raw", raw, "--out", out)
    assert first.code == 0
    assert f"NTU RGB+D 60: {raw} -> {out}" in first.err
    assert "S001C001P001R001A001.skeleton:2: the file ends before" in first.err
    assert f"all of them, with reasons: {out}/rejected.csv" in first.err
    assert "damaged" in first.out
    assert "5 samples in" in first.out
    assert "40091" in first.out
    second = aclnet("prepare", "ntu60", "--raw", raw, "--out", out)
    assert second.code == 0
    assert "nothing to do" in second.err


def test_a_side_without_samples_is_a_warning(aclnet, raw, tmp_path):
    result = aclnet("prepare", "ntu60", "--raw", raw, "--out", tmp_path / "s.zarr")
    assert "warning: there is no sample in xview/train" in result.err


def test_the_result_as_json(aclnet, raw, tmp_path):
    out = tmp_path / "s.zarr"
    result = aclnet("prepare", "ntu60", "--raw", raw, "--out", out, "--json")
    report = json.loads(result.out)
    assert report["store"] == str(out)
    assert report["samples"] == 5
    assert report["rejections"] == [{"kind": "damaged", "files": 1}]
    assert report["counts"][0]["side"] == "xsub/train"
    assert json.loads(aclnet("prepare", "ntu60", "--raw", raw, "--out", out, "--json").out)[
        "existed"
    ]


def test_defaults_are_found_and_said(aclnet, raw, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ACLNET_DATA", raising=False)
    nothing = aclnet("prepare", "ntu60")
    assert nothing.code == 2
    assert "in data/ntu60, data/nturgb+d_skeletons" in nothing.err
    assert "--raw, or set ACLNET_DATA" in nothing.err
    monkeypatch.setenv("ACLNET_DATA", str(tmp_path / "sets"))
    shutil.copytree(raw, tmp_path / "sets" / "ntu60")
    found = aclnet("prepare", "NTU60")
    assert found.code == 0
    assert f"{tmp_path}/sets/ntu60 -> ntu60.zarr" in found.err
    assert (tmp_path / "ntu60.zarr" / manifest.NAME).is_file()


def test_brackets_and_colons_in_paths_are_shown_as_they_are(aclnet, raw, tmp_path):
    odd = tmp_path / "a[bold]b[/nothing] :smile:"
    shutil.copytree(raw, odd)
    result = aclnet("prepare", "ntu60", "--raw", odd, "--out", tmp_path / "s[1].zarr")
    assert result.code == 0
    assert f"{odd} -> {tmp_path}/s[1].zarr" in result.err


def test_variants(aclnet, raw, tmp_path):
    options = ("--augment", "rotate=0.10,limb-mask=.5", "--variants", "2")
    result = aclnet("prepare", "ntu60", "--raw", raw, "--out", tmp_path / "s.zarr", *options)
    assert result.code == 0
    assert "5 samples and 4 variants in" in " ".join(result.out.split())  # two train
    summary = json.loads(aclnet("info", tmp_path / "s.zarr", "--json").out)
    assert summary["augmentation"] == "rotate=0.1,limb-mask=0.5"
    assert summary["stored_variants"] == 4


# Mistakes: (arguments after `prepare`, what is said)


def names(tmp_path: Path, raw: Path) -> dict[str, str]:
    """Paths of bad inputs, made."""
    empty, other, bad, occupied = (tmp_path / n for n in ("empty", "other", "bad", "file"))
    for folder in (empty, other, bad):
        folder.mkdir()
    (other / "notes.txt").write_text("hello")
    for file in raw.iterdir():
        (bad / file.name).write_bytes(b"nonsense")
    occupied.write_text("")
    return {
        "raw": str(raw),
        "tmp": str(tmp_path),
        "empty": str(empty),
        "other": str(other),
        "bad": str(bad),
        "file": str(occupied),
        "out": str(tmp_path / "s.zarr"),
    }


MISTAKES = {
    "no dataset": ("moon --raw {raw}", "unknown dataset 'moon'; known: "),
    "no folder": (
        "ntu60 --raw {tmp}/nowhere",
        "nowhere does not exist; NTU RGB+D 60 is read",
    ),
    "empty": ("ntu60 --raw {empty}", "there are no recordings of NTU RGB+D 60; give their path"),
    "other files": ("ntu60 --raw {other}", "there are no recordings of NTU RGB+D 60"),
    "all damaged": ("ntu60 --raw {bad}", "none of 6 recordings is usable. The first: S001"),
    "no pickle": ("ntu60 --raw {file}", "file"),
    "utd folder": ("utd-mhad --raw {file}", "is not a folder"),
    "augment": ("ntu60 --raw {raw} --augment spin=1 --variants 1", "'spin=1' is not name=value"),
    "range": ("ntu60 --raw {raw} --augment mirror=7 --variants 1", "mirror"),
    "variants": ("ntu60 --raw {raw} --variants 1", "needs --augment with an operation"),
    "no variants": (
        "ntu60 --raw {raw} --augment rotate=0.1",
        "and --variants with the number of variants",
    ),
    "nothing on": (
        "ntu60 --raw {raw} --augment none --variants 1",
        "needs --augment with an operation",
    ),
    "both": (
        "ntu60 --raw {raw} --workers 1 --scheduler tcp://127.0.0.1:9",
        "either --workers or --scheduler",
    ),
    "scheduler": ("ntu60 --raw {raw} --scheduler tcp://127.0.0.1:9", "no dask scheduler answers"),
    "below a file": ("ntu60 --raw {raw} --out {file}/s.zarr", "cannot be written"),
    "a file": ("ntu60 --raw {raw} --out {file}", "exists and is not an aclnet store"),
    "a folder": ("ntu60 --raw {raw} --out {other}", "exists and is not an aclnet store"),
    "overwrite": ("ntu60 --raw {raw} --out {other} --overwrite", "--overwrite does not delete it"),
    "seed": ("ntu60 --raw {raw} --seed 99999999999", "not in the range"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_with_a_message_and_status_2(aclnet, raw, tmp_path, monkeypatch, mistake):
    monkeypatch.setattr(executors, "_CONNECT_SECONDS", 0.5)
    paths = names(tmp_path, raw)
    arguments, said = MISTAKES[mistake]
    if "--out" not in arguments:
        arguments += " --out {out}"
    result = aclnet("prepare", *arguments.format(**paths).split())
    assert result.code == 2
    assert said in result.err.replace("\n", " ")
    assert not (tmp_path / "s.zarr").exists()
    assert (tmp_path / "other" / "notes.txt").is_file()


def test_after_all_were_damaged_mended_files_are_read_again(aclnet, raw, tmp_path):
    """The same names and sizes: nothing else tells that the files are others."""
    bad = Path(names(tmp_path, raw)["bad"])
    file = next(file for file in sorted(raw.iterdir()) if file.stat().st_size > 100)
    for other in bad.iterdir():
        other.unlink()
    content = file.read_bytes()
    (bad / file.name).write_bytes(b"x" * len(content))
    command = ("prepare", "ntu60", "--raw", bad, "--out", tmp_path / "s.zarr")
    assert aclnet(*command).code == 2
    (bad / file.name).write_bytes(content)
    assert aclnet(*command).code == 0


def test_real_recordings(aclnet, real_data, tmp_path):
    ntu = aclnet("prepare", "ntu120", "--raw", real_data / "ntu_raw", "--out", tmp_path / "n.zarr")
    assert ntu.code == 0
    assert "7 samples in" in ntu.out
    assert "warning: there is no sample in " in ntu.err
    utd = aclnet(
        "prepare", "utd_mhad", "--raw", real_data / "utd_mhad", "--out", tmp_path / "u.zarr"
    )
    assert utd.code == 0
    assert utd.out.count("complete") == 2
    for store in ("n.zarr", "u.zarr"):
        assert aclnet("verify", tmp_path / store).code == 0
        assert aclnet("info", tmp_path / store).code == 0


def test_persons_that_are_told_apart_are_not_tracked(aclnet, raw, tmp_path):
    result = aclnet("prepare", "ntu60", "--raw", raw, "--out", tmp_path / "s.zarr", "--track")
    assert result.code == 2
    assert "are already the same in all frames; leave out --track" in result.err


def test_persons_are_tracked(aclnet, tmp_path):
    raw, out = tmp_path / "clips", tmp_path / "k.zarr"
    assert aclnet("synth", "kinetics", raw, "--sequences", 4, "--subjects", 2).code == 0
    result = aclnet("prepare", "kinetics", "--raw", raw, "--out", out, "--track")
    assert result.code == 0
    assert "4 samples in" in result.out
    assert "two-tracks" in aclnet("info", out).out
    result = aclnet("prepare", "kinetics", "--raw", raw, "--out", out)
    assert result.code == 2
    assert "made from other files or options" in result.err


def test_the_size_of_bodies_is_taken_out(aclnet, raw, tmp_path):
    out = tmp_path / "s.zarr"
    command = ("prepare", "ntu60", "--raw", raw, "--out", out, "--normalise")
    refused = aclnet(*command, "height")
    assert refused.code == 2
    assert "use --normalise directions" in refused.words
    assert aclnet(*command, "directions").code == 0
    assert "bone-directions/1" in aclnet("info", out).out


def test_links_are_followed_and_broken_ones_named(aclnet, raw, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "s.zarr"
    (whole / "mine").mkdir(parents=True)
    (whole / "theirs").symlink_to(raw)
    (whole / "itself").symlink_to("itself")
    result = aclnet("prepare", "ntu60", "--raw", whole, "--out", out)
    assert result.code == 0
    assert "5 samples in" in result.out
    assert "itself: a link that cannot be followed: Too many levels" in result.words
    assert "itself,,broken link," in (out / "rejected.csv").read_text()
    checked = aclnet("prepare", "ntu60", "--raw", whole, "--check")
    assert checked.code == 1
    assert "broken link (1):" in checked.out


def test_files_that_were_changed_later_are_named(aclnet, raw, tmp_path):
    out = tmp_path / "s.zarr"
    command = ("prepare", "ntu60", "--raw", raw, "--out", out)
    aclnet(*command)
    assert "warning" not in aclnet(*command).err
    made = (out / manifest.NAME).stat().st_mtime_ns
    file = sorted(raw.iterdir())[0]
    os.utime(file, ns=(made + 1, made + 1))
    again = aclnet(*command)
    assert again.code == 0
    assert "warning: 1 raw files have the same names and sizes, but newer times: " in again.words
    assert str(file) in again.err
    assert "--overwrite" in again.err
    assert json.loads(aclnet(*command, "--json").out)["newer"] == [str(file)]
