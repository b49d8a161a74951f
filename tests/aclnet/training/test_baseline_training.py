"""Baseline networks through training, resuming, scoring, retrieval and export."""

from __future__ import annotations

import numpy as np
import pytest

import aclnet.training.trainer
from aclnet.datasets.spec import AclnetError
from aclnet.evaluation.scorer import Scorer
from aclnet.exchange.export_run import export, export_embeddings
from aclnet.models.registry import BASELINES
from aclnet.runs.network import load_model
from aclnet.runs.scores import Scores


@pytest.mark.slow
@pytest.mark.parametrize("persons", ["present", "padded"])
@pytest.mark.parametrize("name", BASELINES)
def test_every_network_trains_with_all_terms_of_the_loss(
    name, persons, train_quickly, store, tmp_path, assert_alike
):
    settings = (f"model.name={name}", f"model.persons={persons}", "optim.lr=0.1")
    run = train_quickly(tmp_path / "run", *settings, "optim.epochs=6")
    losses = [row["loss"] for row in run.load("last")["rows"]]
    assert np.isfinite(losses).all()
    assert min(losses[2:]) < losses[0]
    written = Scores.load(run.scores("xsub-test"))
    found = Scorer(run, store, accelerator="cpu").score()
    assert_alike(found.scores, written.scores)
    assert type(load_model(run)) is BASELINES[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", BASELINES)
def test_stopped_and_continued_ends_like_an_uninterrupted_run(
    name, train_quickly, assert_same_run, stop_at, monkeypatch, tmp_path
):
    monkeypatch.setattr(aclnet.training.trainer, "CHECK_EVERY", 1)
    monkeypatch.setattr(aclnet.training.trainer, "SAVE_EVERY", -1.0)
    settings = (f"model.name={name}", "model.persons=padded", "optim.epochs=2")
    whole = train_quickly(tmp_path / "whole", *settings)
    with pytest.raises(stop_at.Stopped):
        train_quickly(tmp_path / "run", *settings, progress=stop_at(steps=2))
    assert_same_run(train_quickly(tmp_path / "run", *settings), whole)


@pytest.fixture(scope="module")
def baseline_run(train_once):
    """A short training of ST-GCN."""
    return train_once("stgcn", "model.name=stgcn", "model.size=8", "optim.epochs=1")


@pytest.mark.slow
def test_a_baseline_goes_through_everything_that_follows(baseline_run, store, tmp_path):
    assert "topology" not in baseline_run.config.to_toml()
    found = Scorer(baseline_run, store, accelerator="cpu").score()
    assert found.scores.shape == (12, len(store.class_names))
    vectors = export_embeddings(baseline_run, store, tmp_path / "e.npz", accelerator="cpu")
    assert vectors == len(store)
    assert np.load(tmp_path / "e.npz")["vector"].shape == (len(store), 32)
    export(baseline_run, "safetensors", tmp_path / "x.safetensors")
    with pytest.raises(AclnetError, match="has the network stgcn, which the released code"):
        export(baseline_run, "official", tmp_path / "x.pth")


def test_weights_of_another_network_do_not_fit(baseline_run, train_quickly, tmp_path):
    with pytest.raises(AclnetError, match=r"the weights do not fit.*model\.name"):
        train_quickly(tmp_path / "run", init_from=baseline_run.path)
