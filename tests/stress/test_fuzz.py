"""Every parser with mutated inputs, without Atheris; and inputs that were findings.

`python -m tests.stress.fuzz` examines far more inputs, and lets the coverage guide the mutations.
"""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import zipfile
from contextlib import nullcontext
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
import torch

from aclnet.datasets.exports.hdf5 import seal
from aclnet.datasets.formats.unpickle import parse_pickle
from aclnet.datasets.spec import AclnetError, DamageError
from aclnet.datasets.synth import pose_files
from tests.stress.fuzz import (
    campaign,
    cases,
    files,
    mutations,
    targets_checkpoints,
    targets_custom,
    targets_recordings,
    targets_runs,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUICK, THOROUGH = 12, 60
"""Inputs of a target."""
LONG = {
    *("prepare-array", "prepare-fragment", "prepare-receipt", "official-values"),
    *("store-column-metadata", "store-starts", "store-frames", "history-array", "history-chunk"),
}
"""Targets with slow inputs, whose code other targets test too."""


def check(name: str, folder: Path, inputs: int) -> None:
    case = campaign.TARGETS[name](folder)
    case.warm_up()
    for seed in case.seeds[:3]:
        assert cases.examine(case, seed, folder) is None
    for number in range(max(1, round(inputs * campaign.share(name)))):
        seed = case.seeds[number % len(case.seeds)]
        data = mutations.mutate(seed, np.random.default_rng(number), case.seeds)
        finding = cases.examine(case, data, folder)
        assert finding is None, f"input {number}: {finding.key}: {finding.text}\n{finding.trace}"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty folder, which is the working folder as well."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", [name for name in campaign.CAMPAIGN if name not in LONG])
def test_mutated_inputs_give_a_value_or_a_message(name, folder):
    check(name, folder, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("name", campaign.CAMPAIGN)
def test_many_mutated_inputs_give_a_value_or_a_message(name, folder):
    check(name, folder, THOROUGH)


def test_what_no_parser_may_do_is_found(folder):
    """The examination finds each forbidden act."""
    outside = folder.parent / "outside.txt"
    outside.write_text("x")

    def raise_forbidden(parse: Callable[[bytes], object]) -> str:
        inside = folder / "inside"
        inside.mkdir(exist_ok=True)
        found = cases.examine(cases.Case([], parse), b"", inside)
        return found.kind if found else ""

    assert raise_forbidden(lambda _: None) == ""
    assert raise_forbidden(lambda _: (folder / "inside" / "x").write_text("x")) == ""
    assert raise_forbidden(lambda _: outside.read_text()) == "Forbidden"
    assert raise_forbidden(lambda _: outside.write_text("y")) == "Forbidden"
    assert raise_forbidden(lambda _: outside.unlink()) == "Forbidden"
    assert raise_forbidden(lambda _: subprocess.run(["true"], check=False)) == "Forbidden"
    assert raise_forbidden(lambda _: os.system("true")) == "Forbidden"
    assert raise_forbidden(lambda _: 1 / 0) == "ZeroDivisionError"
    assert raise_forbidden(lambda _: np.float32(1e38) * np.float32(10)) == "RuntimeWarning"
    assert outside.read_text() == "x"


def test_archives_are_repaired():
    whole = files.zipped({"a": b"12345678", "b/c": b"text"})
    for number in range(20):
        changed = whole.replace(b"12345678", b"%08d" % number)
        repaired = files.repaired_zip(changed)
        with zipfile.ZipFile(io.BytesIO(repaired)) as archive:
            damaged = archive.testzip()
        assert damaged == (None if files.half(changed) else "a")


# --- Inputs that were findings ------------------------------------------------------------------


def npy_of(shape: tuple[int, ...]) -> bytes:
    """A `.npy` file that announces a shape and holds nothing."""
    file = io.BytesIO()
    described = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)
    return file.getvalue()


def scores_of(**changes: object) -> bytes:
    return files.packed({**targets_runs.score_arrays(), **changes})


def long_name() -> bytes:
    """A `.npz` file whose first member's own header takes the rest of the file as its name."""
    archive = files.packed({"x": np.ones(5000)})
    return archive[:26] + b"\xff\xff" + archive[28:]


ENTITIES = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "cccc">]><a>&b;</a>'


def sheet(name: str, content: bytes) -> bytes:
    """An Excel file with one part replaced."""
    parts, file = targets_custom.parts_of(targets_custom.sheets()[0]), io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, data in (parts | {name: content}).items():
            archive.writestr(part, data)
    return file.getvalue()


def sheet_of_rows(rows: bytes, before: bytes = b"") -> bytes:
    space = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    content = b"<worksheet xmlns='%b'>%b<sheetData>%b</sheetData></worksheet>"
    return sheet("xl/worksheets/sheet1.xml", content % (space, before, rows))


def sheet_with_flag(place: int, value: int) -> bytes:
    """An Excel file with one byte changed in the headers of all parts."""
    whole = bytearray(targets_custom.sheets()[1])
    for magic, shift in ((b"PK\3\4", 0), (b"PK\1\2", 2)):
        at = whole.find(magic)
        while at >= 0:
            whole[at + place + shift] = value
            at = whole.find(magic, at + 1)
    return bytes(whole)


def bvh(joints: int, motion: bytes) -> bytes:
    """Motion capture of joints in a chain; the first two have a channel each."""
    lines = ["HIERARCHY"]
    for joint in range(joints):
        lines += [f"{'JOINT' if joint else 'ROOT'} j{joint}", "{", "OFFSET 1e308 0 0"]
        lines += ["CHANNELS 1 Xposition"] if joint == 0 else []
    text = "\n".join([*lines, *"}" * joints, "MOTION"])
    frames = motion.count(b"\n") or 1
    return b"%b\nFrames: %d\nFrame Time: 0.1\n%b" % (text.encode(), frames, motion)


def c3d_of_many(parameters: int) -> bytes:
    """Markers after many parameters; each parameter announces the rest of the file."""
    whole = pose_files.c3d(np.ones((2, 20, 3)))
    one = [struct.pack("<bb", 4, 1) + b"%04x" % n for n in range(parameters)]
    behind = struct.pack("<HbB4B", 8, -1, 4, 255, 255, 255, 255)
    return whole[:516] + b"".join(name + behind for name in one) + whole[516:]


def long_csv(rows: list[str]) -> bytes:
    return "\n".join(["frame,joint,x,y,z", *(f"{row},0,0,0" for row in rows)]).encode()


def narrow() -> bytes:
    """A checkpoint whose head is one channel wide after the last block of a network."""
    return targets_checkpoints.saved(
        {
            "state_dict": {
                **targets_checkpoints.tensors(),
                "cls_head.fc_cls.weight": torch.zeros(2, 4),
            }
        }
    )


FOUND: dict[str, tuple[str, Callable[[], bytes]]] = {
    "pickle that names a function of a long name": (
        "pickle",
        lambda: b"c" + b"a" * 9000 + b"\nb\n.",
    ),
    "pickle with a long number": ("pickle", lambda: b"F" + b"9" * 6000 + b"x\n."),
    "pickle that announces a terabyte": (
        "pickle",
        lambda: b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"a" * 9,
    ),
    "many wrong settings": (
        "config-toml",
        lambda: (
            b"".join(b"a%d = 1\n" % n for n in range(99)) + b"settings = '%b'\n" % (b"x" * 9000)
        ),
    ),
    "header of many columns": (
        "custom-index",
        lambda: b"id,file,label," + b",".join(b"c%d" % n for n in range(15_000)) + b"\n",
    ),
    "header of long columns": ("custom-index", lambda: b"a" * 9000 + b",file\n"),
    "people of the demonstration that are none": ("demo-people", lambda: b"{"),
    "rows beyond any index": ("npy-rows", lambda: npy_of((2**70, 2))),
    "archive of a long name": ("npz", long_name),
    "label beyond the classes": ("scores", lambda: scores_of(labels=np.array([1, 2]))),
    "negative label": ("scores", lambda: scores_of(labels=np.array([1, -1]))),
    "score that is not finite": ("scores", lambda: scores_of(scores=np.full((2, 2), np.nan))),
    "no column in a table": ("score-tables", lambda: b""),
    "bytes that are no text in a table": ("score-tables", lambda: b"a,b\n\xff,1\n"),
    "open quote in a table": ("score-tables", lambda: b'a,b\n"1,1\n'),
    "uneven rows in a table": ("score-tables", lambda: b"a\n1\n1,1,1\n"),
    "network narrower than any": ("official", narrow),
    "Excel file that does not unpack": (
        "sheet",
        lambda: (whole := targets_custom.sheets()[0])[:60] + b"\xff" * 40 + whole[100:],
    ),
    "Excel file that is encrypted": ("sheet", lambda: sheet_with_flag(6, 1)),
    "Excel file of another version of zip": ("sheet", lambda: sheet_with_flag(4, 200)),
    "Excel file that is a bomb": ("sheet", lambda: sheet("xl/sharedStrings.xml", b"x" * 2**27)),
    "Excel file of many styles": ("sheet", lambda: sheet("xl/styles.xml", b"<xf/>" * 2**20)),
    "Excel file with entities": ("sheet", lambda: sheet("xl/workbook.xml", ENTITIES)),
    "Excel file with entities in UTF-16": (
        "sheet",
        lambda: sheet("xl/workbook.xml", ENTITIES.decode().encode("utf-16")),
    ),
    "Excel file of a row far below": ("sheet", lambda: sheet_of_rows(b'<row r="999999999999"/>')),
    "motion of few numbers and many joints": ("custom-bvh", lambda: bvh(999, b"0\n" * 40_000)),
    "motion of many channels": (
        "custom-bvh",
        lambda: bvh(1, b"0 " * 90_000).replace(b"1 X", b"90000 X" + b"position X" * 89_999),
    ),
    "motion that leads out of all numbers": ("custom-bvh", lambda: bvh(2, b"1e308\n" * 2)),
    "joint of a long number": ("custom-long-csv", lambda: long_csv([f"0,{'9' * 5000}"])),
    "scores that name a long sample twice": (
        "score-file-mmaction",
        lambda: files.pickled(
            [{"pred_score": [0.5, 0.5], "gt_label": 1, "frame_dir": "a" * 9000}] * 2
        ),
    ),
    "a table of as many people as joints": (
        "custom-long-csv",
        lambda: (
            b"frame,joint,x,y,z,person\n"
            + b"".join(b"%d,%d,0,0,0,p%d\n" % (n % 2, n % 20, n) for n in range(30_000))
        ),
    ),
    "frames without an end": (
        "custom-csv",
        lambda: b"\n".join([b"inf," + b"0," * 59 + b"0"] * 2) + b"\n",
    ),
    "parameters that hold all that follows": ("custom-c3d", lambda: c3d_of_many(100_000)),
    "joints whose visibility is a number": (
        "custom-others",
        lambda: b'[[{"class": 0, "name": "", "keypoints": {"x": [1], "y": [1], "visible": 1}}]]',
    ),
    "shares of an image that are out of range": (
        "custom-yolo",
        lambda: b"0 " + b" ".join([b"3e38"] * 55) + b"\n",
    ),
}
"""Target and input of each fixed finding: the input is now refused or rejected."""


@pytest.mark.parametrize("what", FOUND)
def test_findings_stay_mended(what, folder):
    name, make = FOUND[what]
    case, data = campaign.TARGETS[name](folder), make()
    assert cases.examine(case, data, folder) is None
    try:
        rejections = case.parse(data)
    except (AclnetError, DamageError):
        return
    assert rejections


UNUSUAL = {
    "half precision": ("ntu60-agcn", lambda: files.npy(np.ones((1, 3, 2, 25, 2), np.float16))),
    "identities in half precision": ("biwi-ids", lambda: files.npy(np.zeros(1, np.float16))),
    "names of long files": (
        "custom-index",
        lambda: b"id,file,label,subject\na,%b,x,1\nb,b,x,%b\n" % (b"f" * 9000, b"s" * 9000),
    ),
    "ids as long as files": (
        "custom-index",
        lambda: b"id,file,label\n%b,x,1\n%b,x,1\n" % (b"i" * 9000, b"i" * 9000),
    ),
    "a pattern of many fields": (
        "custom-pattern",
        lambda: b"{subject}" + b"".join(b"{f%d}" % n for n in range(30)) + b"!",
    ),
    "as many classes as rows": (
        "custom-index",
        lambda: b"id,file,label\n" + b"".join(b"%d,f%d,c%d\n" % (n, n, n) for n in range(4_000)),
    ),
}
"""Valid inputs that once ended in an exception or a warning, or took minutes."""


@pytest.mark.parametrize("what", UNUSUAL)
def test_unusual_inputs_are_read(what, folder):
    name, make = UNUSUAL[what]
    case = campaign.TARGETS[name](folder)
    case.warm_up()
    assert cases.examine(case, make(), folder) is None


@pytest.mark.parametrize("layout", ["../../etc/own", "/etc/own", "é" * 150, "a\0b", ""])
@pytest.mark.parametrize("field", ["layout", "file_layout"])
def test_a_layout_of_an_export_that_is_no_file_beside_it(folder, field, layout):
    case = campaign.TARGETS["export-pyskl"](folder)
    content = parse_pickle(case.seeds[0], "seed")
    content["aclnet"][field] = layout
    data = files.pickled(content)
    assert cases.examine(case, data, folder) is None
    with pytest.raises(AclnetError, match="cannot be the name of a file"):
        case.parse(data)


def test_an_export_of_a_dataset_of_a_long_name(folder):
    case = campaign.TARGETS["export-pyskl"](folder)
    content = parse_pickle(case.seeds[0], "seed")
    content["aclnet"]["dataset"] = "a" * 9000
    assert cases.examine(case, files.pickled(content), folder) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("store", {"path": "a" * 5000, "digest": "0"}),
        ("result", {"top1": "a"}),
        ("result", {"unknown": {"threshold": "a"}}),
        ("result", {"unknown": [1]}),
    ],
)
def test_a_record_of_a_run_whose_values_are_of_no_use(folder, field, value):
    case = campaign.TARGETS["run-json"](folder)
    values = json.loads(case.seeds[0]) | {field: value}
    values.pop("sha256")
    assert cases.examine(case, json.dumps(values).encode(), folder) is None


@pytest.mark.parametrize("what", ["attribute", "pieces", "rows"])
def test_an_hdf5_export_that_announces_more_than_it_holds(folder, what):
    case, file = campaign.TARGETS["export-hdf5"](folder), folder / "export.h5"
    case.parse(case.seeds[0])
    file.unlink()
    file.write_bytes(case.seeds[0])
    with h5py.File(file, "r+") as opened:
        if what == "attribute":
            opened.attrs["title"] = ["a"] * 50
        elif what == "pieces":
            del opened["samples/label"]
            opened.create_dataset("samples/label", (6,), "i4", chunks=(1,))
        else:
            opened["samples/n_frames"][:] = 2**30
    seal(file)
    with pytest.raises(AclnetError) if what != "rows" else nullcontext():
        targets_recordings.read_raw("custom", file)
