"""`aclnet bench`."""

from __future__ import annotations

import json

from aclnet.datasets.opening import open_store
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.store import Store
from aclnet.training.launch import TrainingRequest


def test_a_store_is_measured(aclnet, people_store):
    options = ("--set", "model.size=tiny", "--set", "data.frames=16", "--seconds", "0.1")
    result = aclnet("bench", people_store, *options, "--accelerator", "cpu", "--json")
    assert result.code == 0
    found = json.loads(result.out)
    for name in ("read", "first", "again", "made", "trained", "epoch"):
        assert found[name] > 0
    assert found["advice"]
    told = aclnet("bench", people_store, *options, "--accelerator", "cpu")
    for what in ("sequences/s", "trained", "entropy of shards in a batch"):
        assert what in told.out


def test_what_cannot_be_trained_is_the_users_mistake(aclnet, people_store):
    result = aclnet("bench", people_store, "--protocol", "moon")
    assert result.code == 2
    assert "moon" in result.err


def test_it_takes_the_settings_that_train_would_take(aclnet, people_store, monkeypatch):
    used = []

    def note(_, __, config, **___):
        used.append(config)
        raise AclnetError("enough")

    monkeypatch.setattr("aclnet.bench.bench", note)
    monkeypatch.setattr(Store, "name", property(lambda _: "mine"))
    assert "enough" in aclnet("bench", people_store, "--accelerator", "cpu").err
    trained = TrainingRequest.of(open_store(people_store), accelerator="cpu").config
    assert trained.recipe == "small"
    assert used == [trained]
