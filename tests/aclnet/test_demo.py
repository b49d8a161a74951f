"""The demonstration, on fewer people than it has, and its measure of the families found."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.synth.motion import FAMILIES
from aclnet.demo import People, compare_with_planted, make_store, measure, train_on
from aclnet.runs.scores import Scores

FAMILY_OF = {a - 1: name for name, actions in FAMILIES.items() for a in actions}
PAIRS = list(combinations(sorted(FAMILY_OF), 2))
PLANTED = [FAMILY_OF[a] == FAMILY_OF[b] for a, b in PAIRS]


def affinity_of(values) -> np.ndarray:
    affinity = np.zeros((60, 60), np.float32)
    for (a, b), value in zip(PAIRS, values, strict=True):
        affinity[a, b] = affinity[b, a] = value
    return affinity


def test_average_precision_of_known_rankings():
    share = sum(PLANTED) / len(PLANTED)
    assert share == pytest.approx(4 * 6 / 120)
    found, chance = compare_with_planted(affinity_of(map(float, PLANTED)))
    assert (found, chance) == (1.0, share)
    nothing, _ = compare_with_planted(np.zeros((60, 60), np.float32))
    assert nothing == pytest.approx(share), "all pairs tie"
    inverted, _ = compare_with_planted(affinity_of(1.0 - np.array(PLANTED)))
    assert inverted < share + 0.01


def test_average_precision_of_any_ranking():
    """Mean over the planted pairs of the precision among those ranked no lower."""
    values = np.random.default_rng(0).random(len(PAIRS)).astype(np.float32)
    order = np.argsort(-values)
    hits = np.array(PLANTED)[order]
    precisions = [hits[: i + 1].mean() for i in range(len(hits)) if hits[i]]
    assert compare_with_planted(affinity_of(values))[0] == pytest.approx(np.mean(precisions))


@pytest.mark.slow
def test_the_whole_chain_twice(tmp_path, recorder, assert_alike):
    told: list[tuple[str, int, int]] = []
    people = People(subjects=4, replications=1, cameras=1)
    settings = ["optim.epochs=1", "data.frames=16", "data.clips=1", "loss.families.start=0"]

    def chain():
        report, store = make_store(tmp_path, lambda *a: told.append(a), people)
        run = train_on(store, recorder, settings=settings)
        return report, run, measure(run, store, lambda *a: told.append(a))

    report, run, found = chain()
    assert not report.existed
    assert report.samples + sum(report.rejections.values()) == 16 * 4
    assert {stage for stage, *_ in told} == {
        "make up",
        "read",
        "write",
        "nothing (clean)",
        "parts-v1/hands (centre)",
        "parts-v1/legs (centre)",
        "parts-v1/trunk (centre)",
    }
    assert found.occlusion.rows["accuracy"][0] == found.scores.top1 == run.result["top1"]
    assert set(found.families.order.tolist()) <= set(FAMILY_OF)
    assert (found.average_precision, found.chance) == compare_with_planted(found.families.affinity)
    assert len(recorder.rows) == 1

    told.clear()
    report, again, repeated = chain()
    assert report.existed
    assert not {"make up", "read", "write"} & {stage for stage, *_ in told}
    assert again.path == run.path
    assert len(recorder.rows) == 1, "nothing is trained again"
    assert recorder.remarks == ["is finished already; --fresh trains it again"]
    assert_alike(repeated.scores.scores, found.scores.scores)
    assert Scores.load(run.scores("xsub-test")).ids.tolist() == found.scores.ids.tolist()


@pytest.mark.slow
def test_other_people_need_another_folder(tmp_path):
    few = People(subjects=2, replications=1, cameras=1)
    make_store(tmp_path, lambda *_: None, few)
    assert json.loads((tmp_path / "people.json").read_text())["subjects"] == 2
    with pytest.raises(
        AclnetError, match=r"holds recordings of other people \(.*people\.json\).*another folder"
    ):
        make_store(tmp_path, lambda *_: None, People(seed=1, subjects=2, replications=1, cameras=1))
