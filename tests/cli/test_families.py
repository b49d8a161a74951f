"""`aclnet families` as a person and a machine meet it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from aclnet.runs.run import Run


def test_what_a_person_sees(trained, aclnet):
    path, _ = trained
    answer = aclnet("families", path, terminal=True)
    assert answer.code == 0, answer.err
    assert max(map(len, answer.out.splitlines())) <= 80
    assert "after epoch 2" in answer.words
    assert "of 6 classes that occur have no family" in answer.words
    assert "jump up" not in answer.out + answer.err, "who never occurs is not listed"
    assert (path / "affinity.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_json_holds_what_was_recorded(trained, aclnet):
    path, _ = trained
    run = Run(path)
    for epoch in (1, 2):
        answer = aclnet("families", path, "--epoch", epoch, "--json")
        (found,) = json.loads(answer.out)["runs"]
        assert found["epoch"] == epoch
        member = run.history.read("family", epoch - 1)
        temperature = run.history.read("temperature", epoch - 1)
        names = run.class_names
        assert len(found["families"]) == 6
        for family in found["families"]:
            c = names.index(family["class"])
            members = {one["class"] for one in family["family"]}
            assert members == {names[b] for b in np.flatnonzero(member[c])}
            assert family["temperature"] == float(temperature[c])


def test_families_of_scores_have_a_figure_of_their_own(trained, aclnet):
    path, _ = trained
    answer = aclnet("families", path, "--scores", "xsub-test", "--json")
    assert answer.code == 0, answer.err
    (found,) = json.loads(answer.out)["runs"]
    assert (found["origin"], found["epoch"]) == ("of scores xsub-test", None)
    assert (path / "affinity-xsub-test.png").is_file()


@pytest.mark.slow
def test_several_runs_and_own_groups(trained, aclnet, tmp_path):
    path, _ = trained
    copy = shutil.copytree(path, tmp_path / "copy")
    (alone,) = json.loads(aclnet("families", path, "--json").out)["runs"]
    names = [family["class"] for family in alone["families"]]
    groups = tmp_path / "groups.csv"
    groups.write_text("class,group\n" + "".join(f"{n},{k % 2}\n" for k, n in enumerate(names)))
    arguments = ("families", path, copy, "--grouping", groups)
    answer = aclnet(*arguments, "--json", "--out", tmp_path / "tables")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert [run["run"] for run in found["runs"]] == [str(path), str(copy)]
    (pair,) = found["agreement"]
    assert pair == {"first": str(path), "second": str(copy), "adjusted_rand": 1.0}
    history = Run(path).history
    related = [np.triu(history.read("family", epoch), 1).sum() for epoch in (0, 1)]
    for run in found["runs"]:
        assert [row["pairs"] for row in run["stability"]] == related
        assert run["stability"][0]["with_previous"] is None
        assert run["stability"][1]["with_last"] == 1
        assert run["grouping"]["classes"] == len(names)
    assert {(row["runs"], row["share"]) for row in found["pairs"]} == {(2, 1.0)}
    assert len(found["pairs"]) == related[1]
    tables = {file.stem: pd.read_csv(file) for file in (tmp_path / "tables").iterdir()}
    assert {*tables} == {"families", "stability", "agreement", "pairs"}
    members = tables["families"].dropna(subset="member").groupby("run").size()
    assert members.tolist() == [2 * related[1]] * 2
    seen = aclnet(*arguments)
    assert seen.code == 0, seen.err
    assert "Agreement of runs" in seen.out
    assert "related pairs in one group" in seen.out


def test_mistakes_end_in_a_message(trained, aclnet, tmp_path):
    path, _ = trained
    for arguments, message in (
        ([path, "--epoch", 3], "has trained 2 epochs; there is no epoch 3 yet"),
        ([path, "--epoch", 0], "--epoch"),
        ([path, "--epoch", 1, "--scores", "xsub-test"], "give one"),
        ([path, "--scores", "nothing"], "there are no scores"),
        ([path, "--grouping", tmp_path / "none.csv"], "cannot be read: No such file"),
        ([tmp_path], "is not a run of aclnet"),
    ):
        answer = aclnet("families", *arguments)
        assert answer.code == 2
        assert message in answer.words
        assert "Traceback" not in answer.err
