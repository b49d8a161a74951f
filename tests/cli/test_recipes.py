"""`aclnet recipes` as a person and a machine meet it."""

from __future__ import annotations

import json

import pytest

from aclnet.runs.config import build_config
from aclnet.runs.recipes import recipe_names


def test_the_list(aclnet):
    answer = aclnet("recipes", terminal=True)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert max(map(len, lines)) <= 80
    rows = {line.split()[1]: line for line in lines if line.startswith("│")}
    for name in recipe_names():
        assert name in rows or name in answer.words
    assert "joint 91.44, J+B 93.07" in rows["ntu60-xsub"]
    assert "not yet" in rows["ntu60-xsub"]
    assert "yes (docs/small-sets.md)" in rows["small"]


def test_the_list_as_json(aclnet):
    listed = json.loads(aclnet("recipes", "--json").out)["recipes"]
    found = {about["name"]: about for about in listed}
    assert found["kinetics"]["published"] == [
        {"on": "joint", "percent": 48.37},
        {"on": "J+B", "percent": 50.35},
    ]
    assert found["kinetics"]["record"] is None
    assert found["small"]["whose"] == "ours"


@pytest.mark.parametrize("modality", [None, "km"])
def test_settings_of_a_recipe(modality, aclnet, tmp_path):
    options = ["--modality", modality] if modality else []
    wanted = build_config("ntu120-xsub", [f"data.modality={modality}"] if modality else [])
    answer = aclnet("recipes", "ntu120-xsub", *options)
    assert answer.code == 0, answer.err
    (tmp_path / "ntu120-xsub.toml").write_text(answer.out)
    assert build_config(str(tmp_path / "ntu120-xsub.toml")) == wanted
    answer = aclnet("recipes", "ntu120-xsub", *options, "--json")
    assert json.loads(answer.out)["settings"] == wanted.model_dump(mode="json")


def test_mistakes_end_in_a_message(aclnet):
    for arguments, message in (
        (["cake"], "unknown recipe 'cake'; known: "),
        (["cake.toml"], "recipe file cake.toml cannot be read"),
        (["--modality", "b"], "--modality needs NAME, the name of a recipe"),
    ):
        answer = aclnet("recipes", *arguments)
        assert answer.code == 2
        assert message in answer.words


def test_each_setting_of_a_recipe_has_its_meaning_above_it(aclnet):
    meanings = {s["name"]: s for s in json.loads(aclnet("settings", "--json").out)["settings"]}
    table, comment, named = "", [], []
    for line in aclnet("recipes", "small").out.splitlines():
        unset = line.endswith(" is not set")
        if line.startswith("# ") and not unset:
            comment.append(line.removeprefix("# "))
            continue
        if line.startswith("["):
            table = line.strip("[]") + "."
        if unset or (" = " in line and not line.startswith(" ")):
            name = table + line.removeprefix("# ").split()[0]
            assert " ".join(comment) == meanings[name]["meaning"]
            named.append(name)
        comment = []
    tables = {"model.options", "loss.options"}  # of one's own code, tables without a setting
    assert sorted(named) == sorted(meanings.keys() - tables)
