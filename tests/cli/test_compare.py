"""`aclnet compare` on runs as they are after training and after another evaluation."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from aclnet.runs.run import Run
from aclnet.runs.scores import Scores


@pytest.fixture
def other_run(trained, tmp_path) -> Run:
    """The trained run with a class of its own for the first five samples."""
    shutil.copytree(trained[0], tmp_path / "other")
    run = Run(tmp_path / "other")
    scores = Scores.load(run.scores("xsub-test"))
    scores.scores[:5] = np.eye(60)[scores.labels[:5]]
    scores.save(run.scores("xsub-test"))
    return run


def test_the_test_splits_of_two_runs(trained, other_run, aclnet):
    ours = Scores.load(Run(trained[0]).scores("xsub-test"))
    gained = int((~ours.correct[:5]).sum())
    assert gained > 1
    answer = aclnet("compare", other_run.path, "--with", trained[0], "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert found["samples"] == 12
    (pair,) = found["pairs"]
    assert (pair["only_first"], pair["only_second"]) == (gained, 0)
    assert pair["second"] == ours.top1
    assert pair["p"] == pytest.approx(2 * 0.5**gained)
    seen = aclnet("compare", other_run.path, "--with", trained[0])
    assert f"{other_run.name} - {trained[0].name}" in " ".join(seen.out.split())


def test_a_file_of_scores_stands_for_a_run(trained, other_run, aclnet, tmp_path):
    file = tmp_path / "fused.npz"
    shutil.copy(other_run.scores("xsub-test"), file)
    of_file, of_run = (
        aclnet("compare", first, "--with", trained[0], "--json") for first in (file, other_run.path)
    )
    assert of_file.code == 0, of_file.err
    assert json.loads(of_file.out) == json.loads(of_run.out)


def test_other_scores_by_name(trained, other_run, aclnet):
    shutil.copy(other_run.scores("xsub-test"), other_run.scores("mine"))
    answer = aclnet("compare", other_run.path, "--with", other_run.path, "--scores", "mine")
    assert answer.code == 0, answer.err
    answer = aclnet("compare", other_run.path, "--with", trained[0], "--scores", "mine")
    assert answer.code == 2
    assert f"{Run(trained[0]).scores('mine')}: no scores there" in answer.words
