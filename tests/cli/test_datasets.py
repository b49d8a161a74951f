"""`aclnet datasets`."""

from __future__ import annotations

import json

from aclnet.datasets.registry import all_datasets


def test_every_dataset_is_listed(aclnet):
    result = aclnet("datasets")
    assert result.code == 0
    for name in all_datasets():
        assert f"\n{name} " in result.out
    listed = json.loads(aclnet("datasets", "--json").out)["datasets"]
    found = {entry["name"]: entry for entry in listed}
    assert list(found) == list(all_datasets())
    assert found["ntu120"]["protocols"][:2] == ["xsub", "xset"]
    sides = [side for side in found["ntu120"]["published"] if side["protocol"] == "xset"]
    assert {side["side"]: side["samples"] for side in sides} == {"train": 54_468, "test": 59_477}
    assert found["finegym"]["joints"] == 20


def test_one_dataset_in_detail(aclnet):
    result = aclnet("datasets", "NTU60")
    for told in ("rose1.ntu.edu.sg", "ntu60_3danno.pkl", "skeleton", "40,091", "drink water"):
        assert told in result.out
    assert json.loads(aclnet("datasets", "ntu60", "--json").out)["synthetic_forms"][0] == "skeleton"


def test_an_unknown_one_is_the_users_mistake(aclnet):
    result = aclnet("datasets", "moon")
    assert result.code == 2
    assert "unknown dataset 'moon'; known: " in result.err


def test_what_is_told_of_a_dataset_is_enough_to_get_it_and_to_read_of_it():
    for spec in all_datasets().values():
        assert spec.about.forms, spec.name
        assert spec.places or spec.name == "custom", spec.name
