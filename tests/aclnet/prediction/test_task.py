"""Tables of predictions: their forms, tasks that are interrupted, and folders that are watched."""

from __future__ import annotations

import csv
import json
import shutil

import openpyxl
import pandas as pd
import pytest

from aclnet.datasets.spec import AclnetError, Rejection
from aclnet.prediction import task
from aclnet.prediction.files import FileSettings, Outcome, predict_files
from aclnet.prediction.output import check_form, write_rows
from aclnet.prediction.task import predict_to, watch
from aclnet.prediction.windows import SegmentSettings

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
    """Killed while it wrote its third line: the other two are not predicted again."""
    whole = predict_to(ntu.model, [raw], FileSettings(), tmp_path / "whole.csv")
    assert sum(o.rejection is not None for o in whole) == 1
    assert not (tmp_path / "whole.csv.part").exists()
    out = tmp_path / "t.csv"

    def killed(*args):
        for number, outcome in enumerate(predict_files(*args)):
            if number == 3:
                raise KilledError
            yield outcome

    monkeypatch.setattr(task, "predict_files", killed)
    with pytest.raises(KilledError):
        predict_to(ntu.model, [raw], FileSettings(), out)
    assert not out.exists()
    part = tmp_path / "t.csv.part"
    part.write_bytes(part.read_bytes()[:-20])
    asked = []

    def counted(model, paths, settings, done, progress):
        asked.extend(done)
        yield from predict_files(model, paths, settings, done, progress)

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
    (tmp_path / "t.csv.part").write_text('{"aclnet": "0"}\n')
    with pytest.raises(AclnetError, match="was begun with other runs"):
        predict_to(ntu.model, [raw], FileSettings(), out)


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


def test_a_table_of_segments(ntu, raw, tmp_path):
    settings = SegmentSettings(window=16, enter=0, leave=0)
    out = tmp_path / "t.tsv"
    predict_to(ntu.model, [raw], FileSettings(segments=settings, fps=30), out)
    lines = out.read_text().splitlines()
    assert len({line.split("\t")[0] for line in lines[1:]}) == 4
