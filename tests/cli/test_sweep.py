"""`aclnet sweep` as a person and a machine meet it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aclnet.datasets.opening import open_store
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("sweep") / "out"


@pytest.fixture(scope="module")
def command(made_up_store, quick_arguments, out) -> list[object]:
    """A sweep of two settings on two folds, but for the seeds."""
    return [
        *("sweep", made_up_store, "--recipe", "default", "--folds", "2", "--out", out),
        *(*quick_arguments, "--set", "optim.epochs=1", "--grid", "loss.terms=ce,acl"),
    ]


@pytest.fixture(scope="module")
def swept(command, aclnet):
    """Trained with one seed."""
    return aclnet(*command, "--seeds", "0", terminal=True)


def test_what_a_person_sees(swept, out):
    assert swept.code == 0, swept.err
    assert f"recipe default, 4 runs (2 settings, 1 seeds) in {out}" in swept.words
    assert "1/4 loss.terms=ce, seed 0, fold 1/2" in swept.words
    lines = swept.out.splitlines()
    assert max(map(len, lines)) <= 80
    title = " ".join(line.strip() for line in lines[:2])
    assert "2 folds of xsub's training side, 24 samples, recipe default" in title
    assert "use --folds to choose settings" not in swept.words
    assert (out / "sensitivity.png").is_file()
    runs = pd.read_csv(out / "runs.csv")
    assert runs["top1"].notna().all()
    for terms in ("ce", "acl"):
        of = [Run(path) for path in runs["run"][runs["loss.terms"] == terms].map(Path)]
        assert {str(run.fold) for run in of} == {"1/2", "2/2"}
        correct = np.concatenate([Scores.load(run.test_scores).correct for run in of])
        assert len(correct) == 24
        row = next(line for line in lines if f" {terms} " in line)
        assert f" {100 * correct.mean():.1f} " in row
        assert " 1/1 " in row


def test_a_split_file_has_the_recipe_that_train_takes(
    made_up_store, aclnet, tmp_path, quick_arguments
):
    split = tmp_path / "split.csv"
    ids = open_store(made_up_store).column("id")
    rows = [f"{one},{('train', 'test')[n % 2]}" for n, one in enumerate(ids)]
    split.write_text("\n".join(["id,split", *rows]))
    quick = (*quick_arguments, "--set", "optim.epochs=1", "--split", split)
    trained = aclnet("train", made_up_store, *quick, "--out", tmp_path / "run")
    swept = aclnet(
        "sweep", made_up_store, *quick, "--grid", "loss.terms=ce", "--seeds", "0",
        "--out", tmp_path / "sweep",
    )  # fmt: skip
    assert (trained.code, swept.code) == (0, 0), swept.err
    recipe = Run(tmp_path / "run").config.recipe
    (run,) = map(Path, pd.read_csv(tmp_path / "sweep" / "runs.csv")["run"])
    assert Run(run).config.recipe == recipe


def test_again_it_trains_nothing_and_reports_what_is_there(swept, command, out, aclnet):
    answer = aclnet(*command, "--seeds", "0", "--json")
    assert answer.code == 0, answer.err
    assert "seed 0, fold" not in answer.words
    found = json.loads(answer.out)
    assert found["folder"] == str(out)
    assert [row["setting"]["loss"]["terms"] for row in found["rows"]] == ["ce", "acl"]
    assert found["rows"][0]["sd"] is None
    more = aclnet(*command, "--seeds", "0,1", "--report")
    assert more.code == 0, more.err
    assert more.out.count(" 1/2") == 2
    assert "epoch" not in more.err
    assert swept.code == 0


def test_on_the_test_it_says_so(made_up_store, aclnet, tmp_path):
    answer = aclnet(
        *("sweep", made_up_store, "--grid", "components", "--report", "--out", tmp_path / "out")
    )
    assert answer.code == 0, answer.err
    assert "measured on the test split: use --folds to choose settings" in answer.words
    assert "xsub test, 12 samples" in answer.out
    assert answer.out.count(" 0/3") == 4


def test_a_run_that_fails_is_named(command, swept, out, aclnet):
    runs = pd.read_csv(out / "runs.csv")
    record = Path(runs["run"][0]) / "run.json"
    before = record.read_text()
    record.write_text("{")
    answer = aclnet(*command, "--seeds", "0")
    record.write_text(before)
    assert answer.code == 2
    assert "error: 1 of 4 runs failed" in answer.err
    assert "loss.terms=ce, seed 0, fold 1/2: " in answer.err
    assert "run.json or config.toml is damaged" in answer.words
    assert " 0/1" in answer.out, "the others are reported all the same"
    assert swept.code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --grid or --rows"),
        (["--grid", "loss.weight"], "write KEY=V1,V2"),
        (["--grid", "optim.speed=1,2"], "there is no optim.speed"),
        (["--grid", "optim.lr=0.1,fast"], "optim.lr: "),
        (["--grid", "optim.lr=0.1", "--seeds", "0,0"], "contains a value twice"),
        (["--grid", "optim.lr=0.1", "--folds", "9"], "cannot make 9 folds"),
        (["--grid", "optim.lr=0.1", "--folds", "2", "--split", "x.csv"], "give one"),
    ],
)
def test_mistakes_end_in_a_message(arguments, message, made_up_store, aclnet, tmp_path):
    answer = aclnet("sweep", made_up_store, "--out", tmp_path / "out", *arguments)
    assert answer.code == 2
    assert message in answer.words
    assert "Traceback" not in answer.err
    assert not (tmp_path / "out").exists()
