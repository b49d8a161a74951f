"""`aclnet occlusion-bench` as a person and a machine meet it."""

from __future__ import annotations

import json
import shutil
from typing import get_args

import pandas as pd
import pytest

from aclnet.pipelines.choices import Missing
from aclnet.pipelines.inputs.protocols import SUITES
from aclnet.runs.run import Run


@pytest.fixture
def own_run(trained_once, tmp_path) -> Run:
    shutil.copytree(trained_once[0], tmp_path / "own")
    return Run(tmp_path / "own")


def test_what_a_person_sees_and_finds(own_run, aclnet):
    drops = ("--drop", "hands", "--drop", "left_leg+head")
    answer = aclnet("occlusion-bench", own_run.path, *drops, terminal=True)
    assert answer.code == 0, answer.err
    assert max(map(len, answer.out.splitlines())) <= 80
    for words in ("nothing (clean)", "parts-v1/hands", "parts-v1/left_leg+head", "joints: centre"):
        assert words in answer.out
    assert "weights: the last" in answer.words
    for published in ("79.6", "17.1"):
        assert published not in answer.out + answer.err
    folder, stem = own_run.path / "occlusion", "xsub-test.centre.hands,left_leg+head"
    table = pd.read_csv(folder / f"{stem}.csv")
    assert table["protocol"].tolist() == [
        "nothing (clean)",
        "parts-v1/hands (centre)",
        "parts-v1/left_leg+head (centre)",
    ]
    assert (folder / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
    assert r"parts-v1/left\_leg+head" in (folder / f"{stem}.tex").read_text()
    assert json.loads((folder / f"{stem}.json").read_text())["left_out"] == []


@pytest.mark.slow
def test_a_run_that_is_named_twice_is_one_row(own_run, aclnet, monkeypatch):
    monkeypatch.chdir(own_run.path.parent)
    twice = (own_run.path, own_run.path.name, "--compare", own_run.path)
    answer = aclnet("occlusion-bench", *twice, "--drop", "hands", "--json")
    assert answer.code == 0, answer.err
    assert len(json.loads(answer.out)["rows"]) == 2


@pytest.mark.slow
def test_every_meaning_of_missing_has_files_of_its_own(own_run, aclnet):
    tops = {}
    for missing in get_args(Missing):
        answer = aclnet(
            "occlusion-bench", own_run.path, "--drop", "hands", "--missing", missing, "--json"
        )
        rows = json.loads(answer.out)["rows"]
        assert [row["protocol"] for row in rows] == [
            "nothing (clean)",
            f"parts-v1/hands ({missing})",
        ]
        tops[missing] = rows[1]["accuracy"]
    for missing, accuracy in tops.items():
        table = pd.read_csv(own_run.path / "occlusion" / f"xsub-test.{missing}.hands.csv")
        assert table["accuracy"][1] == accuracy


@pytest.mark.slow
def test_a_suite_of_several_runs_beside_a_reference(own_run, aclnet, tmp_path):
    """The second call finds all outcomes, also those of a larger suite."""
    shutil.copytree(own_run.path, tmp_path / "other")
    runs = (own_run.path, tmp_path / "other")
    command = ("occlusion-bench", *runs, "--suite", "quick", "--out", tmp_path / "found")
    plain = aclnet(*command)
    assert plain.code == 0, plain.err
    assert "Area under the curve" not in plain.out, "one severity is not a curve"
    compared = aclnet(*command, "--compare", tmp_path / "other", "--seed", 0)
    assert compared.code == 0, compared.err
    assert "mCE, %" in compared.out
    assert "gain" in compared.out
    assert "nothing (clean) ━" not in compared.err, "nothing is scored again"
    told = json.loads((tmp_path / "found" / "xsub-test.centre.quick.json").read_text())
    assert told["runs"] == [str(run) for run in runs]
    assert len(told["rows"]) == 2 * 7
    assert {row["gain"] for row in told["rows"]} == {0}
    assert told["errors"] == [{"run": "own", "mce": 1, "mce_low": 1, "mce_high": 1}]


@pytest.mark.slow
def test_what_a_suite_leaves_out_is_told(own_run, aclnet, monkeypatch):
    monkeypatch.setitem(SUITES, "quick", ("parts-v1/hands", "parts-v1/tail"))
    answer = aclnet("occlusion-bench", own_run.path, "--suite", "quick", "--json")
    left_out = json.loads(answer.out)["left_out"]
    assert [one["protocol"] for one in left_out] == ["parts-v1/tail"]
    answer = aclnet("occlusion-bench", own_run.path, "--suite", "quick")
    assert (
        "left out: parts-v1/tail: 'tail' is not a part or joint of layout nturgb+d" in answer.words
    )


def test_mistakes_end_in_a_message(own_run, aclnet, tmp_path):
    for arguments, message in (
        (["--drop", "wings"], "'wings' is not a part or joint of layout nturgb+d. Parts: "),
        (["--drop", "hands+wings"], "'wings' is not a part or joint"),
        (["--drop", "arms+legs+trunk+head"], "contains every joint of layout"),
        (["--drop", "parts-v7/hands"], "there is no protocol 'parts-v7/hands'"),
        (["--drop", "hands", "--missing", "gone"], "'gone' is not one of"),
        (["--suite", "huge"], "'huge' is not one of"),
        ([], "give --suite, --drop or both"),
        (["--drop", "hands", "--compare", tmp_path / "gone"], "gone is not a run of aclnet"),
        (["--drop", "hands", "--split", "xview/train"], "has no sample"),
    ):
        answer = aclnet("occlusion-bench", own_run.path, *arguments)
        assert answer.code == 2, arguments
        assert message in answer.words
        assert "Traceback" not in answer.err
    assert not (own_run.path / "occlusion").exists()
