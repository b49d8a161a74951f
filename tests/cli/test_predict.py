"""`aclnet predict`."""

from __future__ import annotations

import csv
import json

import pytest

from aclnet.runs.scores import Scores


@pytest.fixture(scope="module")
def raw(made_up_store):
    return made_up_store.parent / "raw"


def test_the_scores_are_those_of_evaluate(aclnet, trained, raw):
    run, _ = trained
    answer = aclnet("predict", run, raw, "--json", "--top", 60)
    assert answer.code == 0
    found = json.loads(answer.out)
    assert found["schema"] == "aclnet.predict/1"
    assert found["unusable"] == []
    rows = {row["id"]: row for row in found["rows"]}
    expected = Scores.load(run / "scores" / "xsub-test.npz")
    for sample_id, scores in zip(expected.ids.tolist(), expected.scores, strict=True):
        shares = [entry["probability"] for entry in rows[sample_id]["top"]]
        assert shares == pytest.approx(sorted(scores.tolist(), reverse=True), abs=1e-5)


@pytest.mark.slow
def test_a_table_and_what_is_unusable(aclnet, trained, raw, tmp_path):
    run, _ = trained
    bad = tmp_path / "S001C001P001R001A001.skeleton"
    bad.write_text("1\n")
    good = next(raw.glob("*.skeleton"))
    answer = aclnet("predict", run, good, bad, "--out", tmp_path / "t.csv")
    assert answer.code == 1
    assert "1 rows in" in answer.words
    assert f"1 recordings cannot be used: {bad.name}:1:" in answer.words
    with (tmp_path / "t.csv").open(newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == [good.stem]
    again = aclnet("predict", run, good, bad, "--out", tmp_path / "t.csv")
    assert again.code == 2
    assert "already exists" in again.words


@pytest.mark.slow
def test_segments_on_the_screen(aclnet, trained, raw):
    run, _ = trained
    file = next(raw.glob("*.skeleton"))
    options = ("--segments", "--window", 16, "--enter", 0, "--fps", 30, "--per-person")
    answer = aclnet("predict", run, file, *options)
    assert answer.code == 0
    assert "Segments by" in answer.out
    assert "0.00 to" in answer.out
    assert aclnet("predict", run, file, *options, "--leave", 0).code == 0


@pytest.mark.slow
def test_an_ensemble(aclnet, trained, raw):
    run, _ = trained
    file = next(raw.glob("*.skeleton"))
    one = json.loads(aclnet("predict", run, file, "--json").out)["rows"]
    both = json.loads(aclnet("predict", run, run, file, "--weights", "2,1", "--json").out)
    assert both["weights"] == pytest.approx([2 / 3, 1 / 3])
    assert both["rows"][0]["probability"] == pytest.approx(one[0]["probability"], abs=1e-6)


@pytest.mark.slow
def test_what_cannot_be_asked(aclnet, trained, raw, tmp_path):
    run, _ = trained
    for arguments, message in (
        ((raw,), "is not a run of aclnet"),
        ((run,), "give a recording"),
        ((run, raw, "--watch"), "--watch needs one folder, and --out"),
        ((run, raw, "--weights", "1,x"), "write numbers"),
        ((run, raw, "--segments", "--leave", 0.6), "--leave 0.6 must not be above --enter 0.5"),
        ((run, raw, "--out", tmp_path / "t.doc"), "the suffix must be one of"),
        ((run, raw, "--out", tmp_path / "t.tsv"), "give --segments"),
    ):
        answer = aclnet("predict", *arguments)
        assert answer.code == 2
        assert message in answer.words
