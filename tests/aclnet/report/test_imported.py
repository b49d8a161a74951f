"""Reports of imported runs, whose people or classes may be those of another store."""

from __future__ import annotations

import numpy as np
import pytest

from aclnet.datasets.spec.layouts import get_layout
from aclnet.report.gather import gather
from aclnet.report.page import render
from aclnet.report.parts import Missing
from aclnet.runs.config import build_config
from aclnet.runs.record import ImportRecord, RunRecord, SplitRecord
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores

PEOPLE = 6


@pytest.fixture
def imported(tmp_path):
    """Makes an imported run of four classes: `imported(recipe)`."""

    def make(recipe: str) -> Run:
        record = RunRecord(
            name="run",
            store=None,
            dataset="custom",
            layout=get_layout("nturgb+d"),
            channels=3,
            normalisation="none",
            class_names=["ann", "bob", "cid", "dee"],
            split=SplitRecord(protocol="own"),
            init_from=None,
            imported=ImportRecord(file="net.pth", sha256="0" * 64),
            environment={},
        )
        return Run.begin(tmp_path / "run", build_config(recipe, []), record)

    return make


def with_scores(run: Run, columns: int) -> Scores:
    """Random scores, which the run then has."""
    values = np.random.default_rng(0).random((20, columns), dtype=np.float32)
    scores = Scores(np.array([f"s{n:02}" for n in range(20)]), values, np.arange(20) % columns)
    scores.save(run.test_scores)
    return scores


@pytest.mark.parametrize("recipe", ["casia-b", "reid", "default"])
def test_numbers_name_the_people_of_a_store_that_the_run_does_not_know(imported, recipe):
    run = imported(recipe)
    scores = with_scores(run, PEOPLE)
    report = gather([run], sequences=0, skeletons=0)
    (found,) = report.runs
    assert found.labels.names == [str(number) for number in range(PEOPLE)]
    expected = [(t, p) for t, p in zip(scores.labels, scores.predictions, strict=True)]
    assert {(t, p) for t, p, _ in found.confusion.cells} == set(expected)
    assert isinstance(found.families, Missing)
    assert found.families.reason in render(report)


def test_the_classes_of_an_imported_run_keep_their_names_and_families(imported):
    run = imported("default")
    with_scores(run, 4)
    (found,) = gather([run], sequences=0, skeletons=0).runs
    assert found.labels.names == run.class_names
    assert found.families.labels == found.labels


def test_the_commands_name_the_store_that_an_imported_run_needs(imported):
    run = imported("casia-b")
    report = gather([run, run], sequences=0, skeletons=0)
    (found, _) = report.runs
    commands = [part.command for part in (found.accuracy, found.families, found.occlusion)]
    assert all(command.endswith(" --store STORE") for command in commands), commands
    assert found.store_option == " --store STORE"
    with_scores(run, PEOPLE)
    page = render(gather([run], sequences=0, skeletons=0))
    assert f"aclnet evaluate {run.path} --store STORE" in page, "for the tables of the protocol"
    assert "without embeddings. Make it again without --sequences 0.</p>" in page


@pytest.mark.parametrize(("people", "word"), [(None, "probability"), (PEOPLE, "similarity")])
def test_scores_by_a_gallery_are_similarities(imported, change_record, people, word):
    run = imported("default")
    names = [f"p{number}" for number in range(people)] if people else None
    change_record(run.path, score_names=names)
    run = Run(run.path)
    with_scores(run, people or 4)
    (found,) = gather([run], sequences=0, skeletons=0).runs
    assert found.confusion.score == word
