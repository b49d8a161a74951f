"""`aclnet settings`, and how wrong settings are refused."""

from __future__ import annotations

import json
import re

from pydantic import BaseModel

from aclnet.datasets.spec import AclnetError
from aclnet.runs.config import Config, build_config


def defaults(section: BaseModel, prefix: str = ""):
    for name, value in section.model_dump(mode="json").items():
        inner = getattr(section, name)
        if isinstance(inner, BaseModel):
            yield from defaults(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def test_every_setting_has_its_default_and_a_meaning(aclnet):
    found = json.loads(aclnet("settings", "--json").out)["settings"]
    assert {setting["name"]: setting["default"] for setting in found} == dict(defaults(Config()))
    for setting in found:
        assert setting["meaning"].endswith("."), setting
        assert setting["values"], setting


def refusal(setting: str) -> str:
    try:
        build_config("default", [setting])
    except AclnetError as error:
        return str(error)
    return ""


def test_listed_words_are_those_that_set_takes(aclnet):
    listed = json.loads(aclnet("settings", "--json").out)["settings"]
    words = {s["name"]: re.split(" or |, ", s["values"]) for s in listed}
    assert words["data.balance"] == ["true", "false"]
    for name, choices in words.items():
        for word in choices:
            if word[0].islower() and " " not in word and word not in ("text", "table", "number"):
                assert "Input should be" not in refusal(f"{name}={word}"), (name, word)
        assert "Input should be" in refusal(f"{name}=[[]]"), name


def test_a_prefix_chooses_settings(aclnet):
    answer = aclnet("settings", "loss.families.t")
    assert answer.code == 0, answer.err
    assert answer.out == (
        "loss.families.temperature\n"
        '    Values: linear, steps or number greater than 0. Default: "linear".\n'
        "    Growth of the temperature with the size of the family, or one temperature for all\n"
        "    classes.\n"
    )
    assert (
        "data.interval\n    Values: list of 2 numbers in brackets. Default: [1.0, 1.0]."
        in aclnet("settings").out
    )


def test_an_unknown_prefix_gets_a_suggestion(aclnet):
    answer = aclnet("settings", "optim.epoks")
    assert answer.code == 2
    assert "no setting begins with optim.epoks (did you mean optim.epochs?)" in answer.words
