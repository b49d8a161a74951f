"""`aclnet compare` on runs as they are after training and after another evaluation."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from aclnet.evaluation.family_table import family_table
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


@pytest.mark.slow
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
    samples = Run(trained[0]).open_store().class_names
    assert sum(row["samples"] for row in found["classes"]) == 12
    assert all(row["class"] in samples for row in found["classes"])
    changes = [row["difference"] for row in found["classes"]]
    assert changes == sorted(changes, reverse=True)
    assert changes[-1] < 0
    assert found["classes"][-1]["class"].split()[0] in seen.out
    assert ("Largest losses" in seen.out, "Largest gains" in seen.out) == (True, False)
    assert "same prediction" in seen.out
    families = [family for family in family_table(Run(trained[0])).occurring if family.members]
    assert bool(found["families"]) == bool(families)


@pytest.mark.slow
def test_a_file_of_scores_stands_for_a_run(trained, other_run, aclnet, tmp_path):
    file = tmp_path / "fused.npz"
    shutil.copy(other_run.scores("xsub-test"), file)
    of_file, of_run = (
        aclnet("compare", first, "--with", trained[0], "--json") for first in (file, other_run.path)
    )
    assert of_file.code == 0, of_file.err
    first, second = (json.loads(answer.out) for answer in (of_file, of_run))
    assert first["pairs"][0].pop("first_run") == str(file)
    assert second["pairs"][0].pop("first_run") == str(other_run.path)
    assert first == second


def test_other_scores_by_name(trained, other_run, aclnet):
    shutil.copy(other_run.scores("xsub-test"), other_run.scores("mine"))
    answer = aclnet("compare", other_run.path, "--with", other_run.path, "--scores", "mine")
    assert answer.code == 0, answer.err
    answer = aclnet("compare", other_run.path, "--with", trained[0], "--scores", "mine")
    assert answer.code == 2
    assert f"{Run(trained[0]).scores('mine')}: there are no scores" in answer.words
