"""Skeletons of a report: which sequences are on the page, their joints, and their size."""

from __future__ import annotations

import base64
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.store import Store
from aclnet.report import skeletons
from aclnet.report.parts import Missing
from aclnet.report.skeletons import Shelf, actions_to_show, skeletons_of
from aclnet.runs.scores import Scores
from aclnet.viewing.page import layout_data


@pytest.fixture(scope="module")
def store(made_up_store) -> Store:
    return Store(made_up_store)


def run_of(store: Store | Exception) -> SimpleNamespace:
    """The parts of a run of actions that the choice needs."""

    def open_store() -> Store:
        if isinstance(store, Exception):
            raise store
        return store

    config = SimpleNamespace(task="action")
    return SimpleNamespace(path=Path("run"), config=config, open_store=open_store)


def guesses(ids, labels, classes, seed=0) -> Scores:
    scores = np.random.default_rng(seed).random((len(ids), classes), dtype=np.float32)
    return Scores.sorted(np.array(ids), scores, np.array(labels, np.int64))


@pytest.fixture(scope="module")
def scores(store) -> Scores:
    """Random scores of all samples of the store, with the six classes that it has."""
    labels = np.unique(store.column("label"), return_inverse=True)[1]
    return guesses(store.column("id").tolist(), labels, 6)


def test_errors_take_turns_by_pair_beside_the_surest_right_sequence():
    rng = np.random.default_rng(4)
    scores = guesses([f"s{n:03}" for n in range(90)], rng.integers(5, size=90), 5)
    answers = [
        (id_, label, row.index(max(row)), max(row))
        for id_, label, row in zip(
            scores.ids.tolist(), scores.labels.tolist(), scores.scores.tolist(), strict=True
        )
    ]
    wrong = [one for one in answers if one[1] != one[2]]
    pairs = Counter(tuple(sorted(one[1:3])) for one in wrong)
    queues = [
        sorted((one for one in wrong if tuple(sorted(one[1:3])) == pair), key=lambda one: -one[3])
        for pair, _ in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    ]
    expected = [
        queue[turn]
        for turn in range(max(map(len, queues)))
        for queue in queues
        if turn < len(queue)
    ]
    found = list(actions_to_show(scores))
    assert [str(scores.ids[example.row]) for example in found] == [one[0] for one in expected]
    for example, (_, _, predicted, _) in zip(found, expected, strict=True):
        right = [one for one in answers if one[1] == one[2] == predicted]
        best = max(right, key=lambda one: one[3], default=None)
        assert example.beside == ({"recognised": best[0]} if best else {})


def decoded(form: dict) -> np.ndarray:
    """(M, T, V, C) joints of a form of a page, as the script reads them."""
    steps = np.frombuffer(base64.b64decode(form["values"]), "<i2").astype(np.float64)
    return (steps * form["step"]).reshape(
        form["persons"], len(form["frame"]), -1, form["coordinates"]
    )


def check_joints(form: dict, store: Store, sample_id: str, frames: int) -> None:
    sequence = store.sequence(sample_id)
    joints = sequence.keypoint[:, :frames].astype(np.float64)
    found = decoded(form)
    assert found.shape == joints.shape
    assert form["step"] == pytest.approx(np.abs(joints).max() / 32767)
    assert np.abs(found - joints).max() <= form["step"]
    np.testing.assert_array_equal((found != 0).any(-1), (joints != 0).any(-1))
    assert form["frame"] == sequence.frame_index[:frames].tolist()
    assert form["length"] == sequence.keypoint.shape[1]


def test_the_joints_are_those_of_the_store_to_a_step(store, scores, monkeypatch):
    monkeypatch.setattr(skeletons, "FRAMES", 20)
    shelf = Shelf(1e8)
    found = skeletons_of(run_of(store), scores, None, shelf)
    wrong = np.flatnonzero(~scores.correct)
    assert found.errors == len(wrong) == len(found.examples)
    page = asdict(shelf.sequences)
    json.dumps(page, allow_nan=False)
    assert [layout_data(store.layout)] == page["layouts"]
    ids = {id_ for row in found.examples for _, id_ in row["forms"]}
    assert {found.prefix + id_ for id_ in ids} == set(page["forms"])
    for id_ in ids:
        check_joints(page["forms"][found.prefix + id_], store, id_, 20)
    place = {id_: row for row, id_ in enumerate(scores.ids.tolist())}
    for row in found.examples:
        own = place[row["id"]]
        assert (row["true"], row["predicted"]) == (scores.labels[own], scores.predictions[own])
        assert row["score"] == pytest.approx(scores.scores[own].max(), abs=1e-4)


def test_joints_of_an_image_and_their_frames(pixel_store, monkeypatch):
    monkeypatch.setattr(skeletons, "FRAMES", 10)
    shelf = Shelf(1e8)
    ids = pixel_store.column("id").tolist()
    assert shelf.put(pixel_store, ids)
    forms = shelf.sequences.forms
    assert {form["coordinates"] for form in forms.values()} == {2}
    for key, id_ in zip(forms, ids, strict=True):
        check_joints(forms[key], pixel_store, id_, 10)


def test_the_page_has_no_more_bytes_than_it_may(store, scores):
    whole = Shelf(1e8)
    everything = skeletons_of(run_of(store), scores, None, whole)
    sizes = [len(json.dumps(form)) for form in whole.sequences.forms.values()]
    limit = 0.4 * sum(sizes)
    shelf = Shelf(limit)
    found = skeletons_of(run_of(store), scores, None, shelf)
    size = len(json.dumps(shelf.sequences.forms, separators=(",", ":")))
    assert size <= limit
    assert size > limit - 2 * max(sizes), "there is no room for another example"
    assert 0 < len(found.examples) < len(everything.examples)
    assert found.examples == everything.examples[: len(found.examples)]
    # a second run on the same store has the same sequences, and needs no room
    again = skeletons_of(run_of(store), scores, None, shelf)
    assert again == found
    assert len(json.dumps(shelf.sequences.forms, separators=(",", ":"))) == size
    # half of the room is for the first of two runs
    half = Shelf(limit)
    half.allow(0.5)
    first = skeletons_of(run_of(store), scores, None, half)
    assert half.bytes <= 0.5 * limit
    assert len(first.examples) < len(found.examples)


def test_sequences_that_are_not_in_the_store_are_left_out(store, scores):
    ids = scores.ids.astype("U80")
    wrong = np.flatnonzero(~scores.correct)
    ids[wrong[0]] = "</script>"
    changed = Scores(ids, scores.scores, scores.labels)
    found = skeletons_of(run_of(store), changed, None, Shelf(1e8))
    shown = {row["id"] for row in found.examples}
    assert shown == set(ids[wrong].tolist()) - {"</script>"}


def test_without_the_store_the_report_says_so_in_one_sentence(scores):
    run = run_of(AclnetError("the store of run is neither here nor there; name it with --store"))
    found = skeletons_of(run, scores, None, Shelf(1e8))
    assert isinstance(found, Missing)
    assert found.reason == (
        "The skeletons could not be read: the store of run is neither here nor there; name it "
        "with --store."
    )
    assert not found.command, "the advice is in the reason"
    none = skeletons_of(run, scores, None, Shelf(0))
    assert none == Missing(
        "The report was made without skeletons. Make it again without --skeletons 0."
    )
