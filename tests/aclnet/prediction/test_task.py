"""Tables of predictions: their forms, tasks that are interrupted, and folders that are watched."""

from __future__ import annotations

import csv
import errno
import json
import shutil
from itertools import islice
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import openpyxl
import pandas as pd
import pytest

from aclnet.datasets.readers.ntu import NtuSource
from aclnet.datasets.spec import AclnetError, Rejection
from aclnet.prediction import task
from aclnet.prediction.files import FileSettings, Outcome, predict_files
from aclnet.prediction.journal import journal_path
from aclnet.prediction.model import load
from aclnet.prediction.output import check_form, write_rows
from aclnet.prediction.task import predict_to, watch
from aclnet.prediction.windows import SegmentSettings
from aclnet.runs.run import Run

ROW = {
    "id": "a, b",
    "file": "a.npy",
    "frames": 9,
    "label": "walk",
    "probability": 0.5,
    "family": ["run", "jump"],
    "top": [{"label": "walk", "probability": 0.5}, {"label": "run", "probability": 0.25}],
}
SEGMENTS = [
    {
        "id": "day 1",
        "file": "day1.npy",
        "person": str(person),
        "start": start,
        "end": end,
        "start_seconds": start / 10,
        "end_seconds": (end + 1) / 10,
        "label": label,
        "probability": 0.75,
    }
    for person, start, end, label in ((0, 0, 19, "sit"), (1, 5, 44, "stand"))
]
REJECTION = Rejection("b.npy", 3, "damaged")


@pytest.fixture
def raw(ntu, tmp_path):
    """Five recordings, one of them damaged."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for file in sorted(ntu.raw.glob("*.skeleton"))[:5]:
        shutil.copy(file, folder)
    sorted(folder.iterdir())[2].write_text("1\n")
    return folder


def test_a_table_has_the_classes_in_columns(tmp_path):
    outcomes = [Outcome("1", [ROW]), Outcome("2", [], REJECTION)]
    write_rows(tmp_path / "t.csv", outcomes, {})
    with (tmp_path / "t.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row == {
        "id": "a, b",
        "file": "a.npy",
        "frames": "9",
        "label": "walk",
        "probability": "0.5",
        "family": "run; jump",
        "label_2": "run",
        "probability_2": "0.25",
    }


def test_json_has_what_is_unusable_and_lines_have_the_rows(tmp_path):
    outcomes = [Outcome("1", [ROW]), Outcome("2", [], REJECTION)]
    write_rows(tmp_path / "t.json", outcomes, {"runs": ["r"]})
    assert json.loads((tmp_path / "t.json").read_text()) == {
        "schema": "aclnet.predict/1",
        "runs": ["r"],
        "rows": [ROW],
        "unusable": [{"path": "b.npy", "line": 3, "reason": "damaged", "kind": "damaged"}],
    }
    write_rows(tmp_path / "t.jsonl", outcomes, {})
    assert [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()] == [ROW]


def test_elan_gets_a_line_a_segment(tmp_path):
    write_rows(tmp_path / "t.tsv", [Outcome("1", SEGMENTS)], {})
    assert (tmp_path / "t.tsv").read_text().splitlines() == [
        "tier\tbegin\tend\tannotation\tprobability",
        "day 1/0\t0.000\t2.000\tsit\t0.750",
        "day 1/1\t0.500\t4.500\tstand\t0.750",
    ]


def test_boris_gets_the_start_and_the_end_of_a_segment(tmp_path):
    write_rows(tmp_path / "t.xlsx", [Outcome("1", SEGMENTS)], {})
    cells = [*openpyxl.load_workbook(tmp_path / "t.xlsx").active.iter_rows(values_only=True)]
    assert cells[0] == ("time", "subject", "code", "modifier", "comment")
    assert [row[:3] for row in cells[1:]] == [
        (0, "0", "sit"),
        (0.5, "1", "stand"),
        (2, "0", "sit"),
        (4.5, "1", "stand"),
    ]
    others = [{**row, "id": str(n)} for n, row in enumerate(SEGMENTS)]
    with pytest.raises(AclnetError, match="one recording into each"):
        write_rows(tmp_path / "u.xlsx", [Outcome("1", others)], {})


def test_times_that_nobody_knows_are_asked_for(tmp_path):
    row = {**SEGMENTS[0], "start_seconds": None, "end_seconds": None}
    with pytest.raises(AclnetError, match="give --fps"):
        write_rows(tmp_path / "t.tsv", [Outcome("1", [row])], {})
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("t.txt", "the suffix must be one of .csv, .json"),
        ("t.tsv", "give --segments"),
        ("t.parquet", "pip install pyarrow"),
    ],
)
def test_forms_that_cannot_be_written_are_refused_first(name, message, tmp_path, monkeypatch):
    monkeypatch.setattr("aclnet.prediction.output.find_spec", lambda _: None)
    with pytest.raises(AclnetError, match=message):
        check_form(tmp_path / name, segments=False)


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    write_rows(tmp_path / "t.parquet", [Outcome("1", [ROW])], {})
    assert pd.read_parquet(tmp_path / "t.parquet")["label"].tolist() == ["walk"]


class KilledError(Exception):
    """Stands for whatever ends the process."""


def test_an_interrupted_task_goes_on(ntu, raw, tmp_path, monkeypatch):
    """Killed while it wrote its third line: the other two are not predicted again.

    The damaged recording has no line, because it may be repaired.
    """
    whole = predict_to(ntu.model, [raw], FileSettings(), tmp_path / "whole.csv")
    assert sum(o.rejection is not None for o in whole) == 1
    assert not (tmp_path / "whole.csv.part").exists()
    out = tmp_path / "t.csv"

    def killed(*args):
        for number, outcome in enumerate(predict_files(*args)):
            if number == 4:
                raise KilledError
            yield outcome

    monkeypatch.setattr(task, "predict_files", killed)
    with pytest.raises(KilledError):
        predict_to(ntu.model, [raw], FileSettings(), out)
    assert not out.exists()
    part = tmp_path / "t.csv.part"
    part.write_bytes(part.read_bytes()[:-20])
    asked = []

    def counted(model, paths, settings, done, *others):
        asked.extend(done)
        yield from predict_files(model, paths, settings, done, *others)

    monkeypatch.setattr(task, "predict_files", counted)
    predict_to(ntu.model, [raw], FileSettings(), out)
    assert len(asked) == 2
    assert out.read_text().count("\n") == (tmp_path / "whole.csv").read_text().count("\n") == 5
    assert not part.exists()


def test_a_task_goes_on_with_its_own_settings_alone(ntu, raw, tmp_path):
    out = tmp_path / "t.csv"
    predict_to(ntu.model, [raw], FileSettings(), out)
    with pytest.raises(AclnetError, match="already exists"):
        predict_to(ntu.model, [raw], FileSettings(), out)
    predict_to(ntu.model, [raw], FileSettings(top=2), out, overwrite=True)
    assert "label_3" not in out.read_text()
    out.unlink()
    part = tmp_path / "t.csv.part"
    part.write_text('{"aclnet": "0"}\n{"key": "[]", "rows": []}\n')
    with pytest.raises(AclnetError, match="was begun with other runs"):
        predict_to(ntu.model, [raw], FileSettings(), out)


@pytest.fixture
def interrupted(monkeypatch):
    """Predicts recordings into a table, and is killed after a number of outcomes."""

    def do(model, paths, out, count):
        def some(*args):
            yield from islice(predict_files(*args), count)
            raise KilledError

        with monkeypatch.context() as patch:
            patch.setattr(task, "predict_files", some)
            with pytest.raises(KilledError):
                predict_to(model, paths, FileSettings(), out)

    return do


def ids_in(table):
    with table.open(newline="") as file:
        return [row["id"] for row in csv.DictReader(file)]


def test_a_resumed_table_has_the_recordings_of_its_call_alone(
    ntu, raw, tmp_path, interrupted, monkeypatch
):
    """Also if a path is written in another way, and if files were replaced or repaired."""
    first, second, damaged, fourth, _ = sorted(raw.iterdir())
    out = tmp_path / "t.csv"
    interrupted(ntu.model, [first], out, 1)
    interrupted(ntu.model, [second, damaged], out, 2)
    monkeypatch.chdir(tmp_path)
    second.write_bytes(first.read_bytes())
    damaged.write_bytes(fourth.read_bytes())
    paths = [Path("raw") / second.name, second, damaged]
    found = predict_to(ntu.model, paths, FileSettings(), out)
    assert ids_in(out) == [second.stem, damaged.stem]
    assert [o.rejection for o in found] == [None, None]


def test_a_table_is_not_resumed_by_other_weights(ntu, raw, tmp_path, interrupted, change_record):
    out, copy = tmp_path / "t.csv", shutil.copytree(ntu.run.path, tmp_path / "run")
    interrupted(ntu.model, [raw], out, 1)
    change_record(copy, files=None)
    other = Run(copy)
    state = other.load(other.selected)
    state["network"]["model.fc_cls.bias"] += 1
    other.save(other.selected, state)
    with pytest.raises(AclnetError, match="was begun with other runs"):
        predict_to(load(copy, accelerator="cpu"), [raw], FileSettings(), out)


def test_a_table_among_the_recordings_is_not_one_of_them(openpose, tmp_path):
    np.save(tmp_path / "clip.npy", np.random.default_rng(0).uniform(50, 400, (20, 17, 3)))
    out = tmp_path / "t.json"
    for _ in range(2):
        found = predict_to(openpose.model, [tmp_path], FileSettings(), out, overwrite=True)
        assert len(found) == 1


def test_a_row_that_the_form_cannot_hold_stops_at_once(ntu, raw, tmp_path):
    """The same command resumes when it gets the frame rate."""
    segments = SegmentSettings(window=16, enter=0, leave=0)
    out = tmp_path / "t.tsv"
    with pytest.raises(AclnetError, match="give --fps"):
        predict_to(ntu.model, [raw], FileSettings(segments=segments), out)
    predict_to(ntu.model, [raw], FileSettings(segments=segments, fps=30), out)
    out = tmp_path / "t.xlsx"
    with pytest.raises(AclnetError, match="one recording into each"):
        predict_to(ntu.model, [raw], FileSettings(segments=segments, fps=30), out)
    assert journal_path(out).read_text().count("\n") == 2  # the head and one recording


def test_a_watched_folder_is_predicted_file_by_file(ntu, tmp_path):
    """A file counts when it did not change for a round; one that is damaged stops nothing."""
    folder, out = tmp_path / "in", tmp_path / "t.jsonl"
    folder.mkdir()
    first, second = sorted(ntu.raw.glob("*.skeleton"))[:2]
    content = first.read_bytes()
    tables = []

    def arrive():
        """Events between two rounds."""
        tables.append(out.read_text().count("\n") if out.exists() else None)
        match len(tables):
            case 1:
                (folder / first.name).write_bytes(content[:1000])  # still being copied
                (folder / "half.skeleton.part").write_bytes(content)
            case 2:
                (folder / first.name).write_bytes(content)
            case 4:
                (folder / "bad.json").write_text("{")
                shutil.copy(second, folder)
            case 7:
                raise KilledError

    told = []
    arguments = (ntu.model, folder, FileSettings(), out)
    with pytest.raises(KilledError):
        watch(*arguments, tell=told.append, wait=arrive)
    assert tables == [None, None, None, 1, 1, 2, 2]
    assert [o.rejection is None for o in told] == [True, True, False]
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == [
        first.stem,
        second.stem,
    ]

    def stop():
        raise KilledError

    with pytest.raises(KilledError):  # resumed: all is known
        watch(*arguments, tell=told.append, wait=stop)
    assert len(told) == 3


def test_a_file_whose_prediction_was_interrupted_is_watched_again(ntu, tmp_path):
    """An archive of three recordings; the table has those that are known from the start."""
    folder, out = tmp_path / "in", tmp_path / "t.csv"
    folder.mkdir()
    files = sorted(ntu.raw.glob("*.skeleton"))[:3]
    with ZipFile(folder / "a.zip", "w") as archive:
        for file in files:
            archive.write(file, file.name)
    told, tables = [], []

    def die(outcome):
        told.append(outcome)
        if len(told) == 2:
            raise KilledError

    def wait():
        tables.append(ids_in(out) if out.exists() else None)
        if len(tables) == 3:
            raise KilledError

    for tell in (die, told.append):
        with pytest.raises(KilledError):
            watch(ntu.model, folder, FileSettings(), out, tell=tell, wait=wait)
    ids = [file.stem for file in files]
    assert tables == [None, ids[:2], ids]
    assert [o.rows[0]["id"] for o in told] == ids


def test_a_watched_file_that_could_not_be_read_is_tried_again(ntu, tmp_path, monkeypatch):
    """After a restart: the fault may not have been in the file."""
    folder, out = tmp_path / "in", tmp_path / "t.jsonl"
    folder.mkdir()
    shutil.copy(next(ntu.raw.glob("*.skeleton")), folder)

    def unreadable(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    for read in (unreadable, NtuSource.read):
        told, rounds = [], [None]
        monkeypatch.setattr(NtuSource, "read", read)
        with pytest.raises(IndexError):  # the end of the rounds
            watch(ntu.model, folder, FileSettings(), out, tell=told.append, wait=rounds.pop)
        assert [o.rejection is None for o in told] == [read is not unreadable]
    assert len(out.read_text().splitlines()) == 1


def test_a_table_of_segments(ntu, raw, tmp_path):
    settings = SegmentSettings(window=16, enter=0, leave=0)
    out = tmp_path / "t.tsv"
    predict_to(ntu.model, [raw], FileSettings(segments=settings, fps=30), out)
    lines = out.read_text().splitlines()
    assert len({line.split("\t")[0] for line in lines[1:]}) == 4
