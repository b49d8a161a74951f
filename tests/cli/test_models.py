"""Networks other than the default one, through the commands."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aclnet.runs.run import Run
from aclnet.runs.scores import Scores


def test_a_network_that_is_not_there(aclnet, made_up_store):
    answer = aclnet("train", made_up_store, "--model", "resnet")
    assert answer.code == 2
    assert "'resnet' is not one of" in answer.words


@pytest.mark.slow
def test_model_is_short_for_a_setting(aclnet, made_up_store, quick_arguments, tmp_path):
    """The second command finds the run of the first finished."""
    out = tmp_path / "run"
    answer = aclnet("train", made_up_store, "--model", "ctrgcn", "--out", out, *quick_arguments)
    assert answer.code == 0, answer.err
    assert "tiny network ctrgcn" in answer.words
    assert Run(out).config.model.name == "ctrgcn"
    setting = ("--set", "model.name=ctrgcn")
    again = aclnet("train", made_up_store, *setting, "--out", out, *quick_arguments, "--json")
    assert json.loads(again.out)["run"] == str(out)
    answer = aclnet("occlusion-bench", out, "--drop", "hands", "--json")
    assert answer.code == 0, answer.err


@pytest.mark.slow
def test_the_zoo_is_imported_evaluated_and_fused(aclnet, goldens, tmp_path):
    """The networks are PYSKL's, the recordings are made up: only the way through is tested."""
    store, runs = tmp_path / "ntu60.zarr", [tmp_path / "ctrgcn", tmp_path / "stgcnpp"]
    raw = goldens / "e2e_pyskl.pkl"
    prepared = aclnet("prepare", "ntu60", "--raw", raw, "--out", store, "--align")
    assert prepared.code == 0, prepared.err
    for run in runs:
        answer = aclnet(
            *("import-checkpoint", goldens / f"baselines/{run.name}_ntu25.pth"),
            *("--dataset", "ntu60", "--modality", "j", "--out", run),
        )
        assert answer.code == 0, answer.err
        assert f"network {run.name}" in answer.words
        answer = aclnet("evaluate", run, "--store", store)
        assert answer.code == 0, answer.err
    answer = aclnet("ensemble", *runs, "--out", tmp_path / "fused.npz")
    assert answer.code == 0, answer.err
    fused = Scores.load(tmp_path / "fused.npz").scores
    each = [Scores.load(Run(run).scores("xsub-test")).scores for run in runs]
    np.testing.assert_allclose(fused, np.mean(each, 0), rtol=1e-4, atol=1e-6)
