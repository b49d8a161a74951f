"""Fusion against the official code and against fusing sample by sample; what an ensemble is of."""

from __future__ import annotations

import itertools
import json
import shutil
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.datasets.spec import AclnetError
from aclnet.evaluation.ensemble import (
    Ensemble,
    Member,
    best_stream,
    check_members,
    class_gains,
    ensemble_name,
    fuse,
    log_loss,
    open_members,
    report,
    search_on_validation,
    search_weights,
    standard_ensembles,
)
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores

SIX = ("j", "b", "k", "jm", "bm", "km")


def random_scores(seed: int, samples: int = 30, classes: int = 6, right: float = 1.0) -> Scores:
    """Scores of the same samples and labels for each seed; the larger `right`, the better."""
    rng = np.random.default_rng(seed)
    labels = np.arange(samples) % classes
    raw = rng.random((samples, classes))
    raw[np.arange(samples), labels] += right * rng.random(samples)
    ids = np.array([f"s{i:03}" for i in range(samples)])
    return Scores(ids, (raw / raw.sum(1, keepdims=True)).astype(np.float32), labels)


def random_members(*modalities: str | None) -> list[Member]:
    return [Member(f"m{n}", random_scores(n), m) for n, m in enumerate(modalities)]


@pytest.fixture
def make_run(quick_run, tmp_path, change_record):
    """A run's record, configuration and scores, of any modality and seed."""

    def make(name: str, modality: str, seed: int, test: Scores, val: Scores | None = None) -> Run:
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(quick_run.path / "run.json", folder)
        config = quick_run.config.model_copy(
            update={
                "seed": seed,
                "data": quick_run.config.data.model_copy(update={"modality": modality}),
            }
        )
        (folder / "config.toml").write_text(config.to_toml())
        change_record(folder, config_sha256=None)
        run = Run(folder)
        test.save(run.test_scores)
        if val:
            val.save(run.scores("xsub-val"))
        return run

    return make


def test_six_streams_equal_the_sum_of_the_official_code(goldens, tmp_path):
    """Each file in an order of its own, and the members in another than the weights are told in."""
    rng = np.random.default_rng(0)
    with np.load(goldens / "e2e_scores.npz") as stored:
        arrays = dict(stored)
    for stream in SIX:
        order = rng.permutation(len(arrays["names"]))
        labels = {"labels": order} if stream == "k" else {}
        ids = arrays["names"][order]
        np.savez(tmp_path / f"{stream}.npz", ids=ids, scores=arrays[stream][order], **labels)
    streams = ("km", "b", "jm", "j", "bm", "k")
    members = open_members([f"{stream}={tmp_path}/{stream}.npz" for stream in streams])
    ensemble = standard_ensembles(members)[-1]
    assert ensemble == Ensemble("standard", (1, 2, 1, 2, 1, 2))
    fused = fuse(members, ensemble.weights)
    assert fused.ids.tolist() == sorted(arrays["names"])
    wanted = arrays["fused"][np.argsort(arrays["names"])]
    np.testing.assert_allclose(9 * fused.scores, wanted, atol=1e-4)
    np.testing.assert_array_equal(fused.labels, np.argsort(arrays["names"]))


@given(weights=st.lists(st.integers(0, 5), min_size=2, max_size=5).filter(any))
def test_fusion_is_the_weighted_mean_of_each_sample(weights):
    members = random_members(*(["j"] * len(weights)))
    fused = fuse(members, weights)
    for row in range(0, 30, 7):
        for c in range(6):
            parts = [
                w * float(m.scores.scores[row, c]) for w, m in zip(weights, members, strict=True)
            ]
            assert fused.scores[row, c] == pytest.approx(sum(parts) / sum(weights), abs=1e-6)
    assert fused.scores.dtype == np.float32


@pytest.mark.parametrize(
    ("modalities", "wanted"),
    [
        ("j b", ["standard 1 1"]),
        ("b j", ["standard 1 1"]),
        ("jm j bm b", ["standard 0 1 0 1", "standard 1 2 1 2"]),
        ("j b k", ["standard 1 1 0", "equal 1 1 1"]),
        ("j k", ["equal 1 1"]),
        ("j j j", ["equal 1 1 1"]),
        # the seeds of a stream share its weight
        ("j j b", ["equal 1 1 0", "standard 1 1 2"]),
        ("j b j b", ["equal 1 0 1 0", "equal 0 1 0 1", "standard 1 1 1 1"]),
        ("j j j b b jm bm", [
            "equal 1 1 1 0 0 0 0", "equal 0 0 0 1 1 0 0", "standard 2 2 2 3 3 0 0",
            "standard 2 2 2 3 3 3 3",
        ]),
        ("j j b b jm bm", [
            "equal 1 1 0 0 0 0", "equal 0 0 1 1 0 0", "standard 1 1 1 1 0 0",
            "standard 1 1 1 1 1 1",
        ]),
        ("? ?", ["equal 1 1"]),
        ("j b ?", ["standard 1 1 0", "equal 1 1 1"]),
    ],
)  # fmt: skip
def test_ensembles_that_the_members_make_up(modalities, wanted):
    members = random_members(*(None if m == "?" else m for m in modalities.split()))
    found = [
        " ".join([e.kind, *(f"{weight:g}" for weight in e.weights)])
        for e in standard_ensembles(members)
    ]
    assert found == wanted


def test_all_six_are_weighted_as_published():
    found = [ensemble.weights for ensemble in standard_ensembles(random_members(*SIX))]
    assert found == [(1, 1, 0, 0, 0, 0), (2, 2, 0, 1, 1, 0), (2, 2, 2, 1, 1, 1)]


@pytest.mark.slow
def test_an_ensemble_says_what_it_is_of(make_run):
    scores = random_scores(0)
    streams = (("j", 0), ("j", 1), ("j", 2), ("b", 0), ("b", 1), ("km", 1))
    members = {
        f"{m}{seed}": Member(f"{m}{seed}", scores, m, make_run(f"{m}{seed}", m, seed, scores))
        for m, seed in streams
    }

    def of(*names: str) -> str:
        return ensemble_name([members[n] for n in names], Ensemble("equal", (1.0,) * len(names)))

    assert of("j0", "b0") == "modalities j, b"
    assert of("j0", "j1", "j2") == "3 seeds of j"
    assert of("j0", "j1", "b0", "b1") == "2 seeds of j + 2 seeds of b"
    assert of("j0", "b0", "b1", "km1") == "j + 2 seeds of b + km"
    files = random_members("j", "b", "j", None, None)
    assert (
        ensemble_name(files, Ensemble("given", (1, 1, 1, 0, 2)))
        == "2 runs of j + b + 1 of unknown modality"
    )
    assert ensemble_name(files, Ensemble("given", (0, 3, 1, 0, 0))) == "modalities b, j"
    assert ensemble_name(files, Ensemble("given", (1, 0, 0, 0, 0))) == "j"


@pytest.mark.slow
def test_runs_of_one_seed_are_no_seeds(make_run):
    runs = [make_run(name, "j", 4, random_scores(0)) for name in ("one", "two")]
    members = open_members([str(run.path) for run in runs])
    assert ensemble_name(members, standard_ensembles(members)[-1]) == "2 runs of j"


def test_members_are_opened_from_runs_and_files(make_run, tmp_path):
    run = make_run("run", "bm", 3, random_scores(1, classes=60))
    other = random_scores(2, classes=60)
    (tmp_path / "pyskl").mkdir()
    np.savez(tmp_path / "pyskl" / "a.npz", ids=other.ids[::-1], scores=other.scores[::-1])
    first, second = open_members([str(run.path), f"j={tmp_path}/pyskl/a.npz"])
    assert (first.name, first.modality, first.seed) == ("run", "bm", 3)
    assert (second.name, second.modality, second.seed) == ("pyskl/a.npz", "j", None)
    np.testing.assert_array_equal(first.scores.scores, random_scores(1, classes=60).scores)
    np.testing.assert_array_equal(second.scores.scores, other.scores)
    np.testing.assert_array_equal(second.scores.labels, other.labels)
    copy = shutil.copy(run.test_scores, run.path / "copy.npz")
    assert [m.name for m in open_members([str(run.path), str(copy)])] == ["run", "run/copy.npz"]


def test_sets_that_differ_are_refused():
    members = random_members("j", "b", "k")

    def refused(message, **changes):
        old = members[2].scores
        fields = {"ids": old.ids, "scores": old.scores, "labels": old.labels} | changes
        changed = [*members[:2], Member("odd", Scores(**fields), "k")]
        for check in (check_members, lambda found: fuse(found, [1, 1, 1]), search_weights):
            with pytest.raises(AclnetError, match=message):
                check(changed)

    ids = members[0].scores.ids
    other = np.array([*ids[:-1], "stranger"])
    refused(
        r"m0 and odd have different samples: 1 in the first only \(s029\); "
        r"1 in the second only \(stranger\)",
        ids=other,
    )
    labels = members[0].scores.labels.copy()
    labels[[3, 7]] = 5
    refused("m0 and odd disagree on the class of 2 samples, first s003: 3 and 5", labels=labels)
    refused("m0 and odd have 6 and 5 classes", scores=members[2].scores.scores[:, :5])


def test_runs_of_other_classes_are_refused(make_run, change_record):
    runs = [make_run(name, "j", 0, random_scores(0, classes=60)) for name in ("one", "two")]
    change_record(runs[1].path, class_names=runs[1].class_names[::-1])
    with pytest.raises(AclnetError, match="one and two were trained on different classes"):
        open_members([str(run.path) for run in runs])


def test_members_that_cannot_be_opened(make_run, tmp_path):
    run = make_run("run", "j", 0, random_scores(0)).path
    for name in ("a", "b"):
        scores = random_scores(0)
        np.savez(tmp_path / f"{name}.npz", ids=scores.ids, scores=scores.scores)
    file = tmp_path / "a.npz"
    short = random_scores(0, samples=29)
    np.savez(tmp_path / "short.npz", ids=short.ids, scores=short.scores)
    for arguments, message in (
        ([run], "two or more members, each given once"),
        ([run, file, f"{run}/../run"], "two or more members, each given once"),
        ([file, f"j={file}"], "two or more members, each given once"),
        ([f"j={run}", file], "j=.*run is a run, which records its modality"),
        ([tmp_path, run], "is not a run of aclnet"),
        ([run, tmp_path / "short.npz"], r"run and short.npz have different .* first only \(s029"),
        ([file, tmp_path / "b.npz"], "no member has the true classes"),
        ([run, tmp_path / "gone.npz"], "gone.npz does not exist"),
        ([run, f"x={file}"], "x=.*a.npz does not exist"),
    ):
        with pytest.raises(AclnetError, match=message):
            open_members([str(argument) for argument in arguments])


@pytest.mark.parametrize("weights", [[1], [1, 1, 1], [1, -1], [0, 0], [1, np.nan], [1, np.inf]])
def test_weights_that_are_none(weights):
    with pytest.raises(AclnetError, match="weights"):
        fuse(random_members("j", "b"), weights)


def mixed_loss(members: list[Member], weights: tuple[float, ...]) -> float:
    labels = members[0].scores.labels
    loss = 0.0
    for row, label in enumerate(labels):
        parts = [
            w * float(m.scores.scores[row, label]) for w, m in zip(weights, members, strict=True)
        ]
        loss -= np.log(sum(parts) / sum(weights)) / len(labels)
    return loss


@pytest.mark.parametrize("seed", range(4))
def test_searched_weights_have_the_smallest_log_loss(seed):
    """Against all weights in steps of a twentieth."""
    quality = np.random.default_rng(seed).permutation([0.2, 0.8, 3.0])
    members = [
        Member(str(n), random_scores(10 * seed + n, right=float(right)))
        for n, right in enumerate(quality)
    ]
    found = search_weights(members)
    assert sum(found) == pytest.approx(1, abs=0.02)
    assert mixed_loss(members, found) == pytest.approx(log_loss(fuse(members, found)), rel=1e-5)
    grid = (w for w in itertools.product(range(21), repeat=3) if sum(w) == 20)
    assert mixed_loss(members, found) < min(mixed_loss(members, w) for w in grid) + 1e-4
    assert found == search_weights(members)


def test_a_member_that_knows_nothing_gets_no_weight():
    good, sure_and_wrong = random_scores(0, right=5), random_scores(1)
    wrong = np.eye(6, dtype=np.float32)[(good.labels + 1) % 6]
    sure_and_wrong = Scores(good.ids, wrong, good.labels)
    assert search_weights([Member("bad", sure_and_wrong), Member("good", good)]) == (0, 1)


def test_the_search_sees_what_was_held_out_and_nothing_of_the_test(make_run):
    val = [random_scores(seed, samples=24, right=r) for seed, r in ((5, 2.0), (6, 0.5))]
    rng = np.random.default_rng(0)
    results = []
    for round_ in range(2):
        labels = rng.permutation(30) % 6
        runs = []
        for n, stream in enumerate(("j", "b")):
            scores = random_scores(rng.integers(1000), classes=60)
            test = Scores(scores.ids, scores.scores, labels)
            runs.append(make_run(f"{stream}{round_}", stream, 0, test, val[n]))
        results.append(search_on_validation(open_members([str(run.path) for run in runs])))
    assert results[0] == results[1]
    direct = [Member("j", val[0]), Member("b", val[1])]
    assert results[0].weights == search_weights(direct)
    assert results[0].weights[0] > results[0].weights[1]
    assert results[0].samples == 24
    assert results[0].log_loss == pytest.approx(mixed_loss(direct, results[0].weights), rel=1e-5)
    assert results[0].log_loss_equal == pytest.approx(mixed_loss(direct, (1, 1)), rel=1e-5)


def test_a_search_without_validation_scores_of_the_same_samples(make_run, tmp_path):
    test, val = random_scores(0), random_scores(1, samples=20)
    first = make_run("first", "j", 0, test, val)
    bare = make_run("bare", "b", 0, test)
    other = make_run("other", "b", 1, test, random_scores(1, samples=21))
    for run, message in (
        (
            bare.path,
            "xsub-val.npz does not exist: .*`aclnet evaluate .*bare --split val` writes it",
        ),
        (other.path, r"one seed.*first and other have different .*second only \(s020\)"),
        (bare.test_scores, "xsub-test.npz is a file, and only runs have"),
    ):
        members = open_members([str(first.path), str(run)])
        with pytest.raises(AclnetError, match=message):
            search_on_validation(members)


def test_gains_are_against_the_best_stream():
    members = random_members("b", "j", "jm")
    ensembles = [*standard_ensembles(members), Ensemble("given", (0, 1, 5))]
    found = report(members, ensembles)
    tops = [np.mean(m.scores.scores.argmax(1) == m.scores.labels) for m in members]
    best = members[int(np.argmax(tops))]
    assert found["best_stream"] == best.name == best_stream(members).name
    assert found["samples"] == 30
    assert [stream["top1"] for stream in found["streams"]] == tops
    assert [row["name"] for row in found["ensembles"]] == [
        "modalities b, j", "modalities b, j, jm", "modalities j, jm",
    ]  # fmt: skip
    for row, ensemble in zip(found["ensembles"], ensembles, strict=True):
        total = sum(w * m.scores.scores for w, m in zip(ensemble.weights, members, strict=True))
        right, before = total.argmax(1) == best.scores.labels, best.scores.correct
        assert row["gain"] == pytest.approx(right.mean() - before.mean())
        lost, won = int((before & ~right).sum()), int((right & ~before).sum())
        assert (row["only_stream"], row["only_ensemble"]) == (lost, won)
        tail = sum(comb(lost + won, k) for k in range(min(lost, won) + 1)) / 2 ** (lost + won)
        assert row["p"] == pytest.approx(min(1, 2 * tail))
    assert found["ensembles"][-1]["modalities"] == {"j": 1, "jm": 1}
    json.dumps(found)


def test_gains_of_classes():
    labels = np.array([0, 0, 0, 0, 2, 2])
    ids = np.array(list("abcdef"))

    def predicting(*classes: int) -> Scores:
        return Scores(ids, np.eye(3, dtype=np.float32)[list(classes)], labels)

    gains = class_gains(predicting(0, 1, 1, 1, 2, 2), predicting(0, 0, 0, 1, 2, 1), ["x", "y", "z"])
    assert gains.to_dict("records") == [
        {"class": "x", "samples": 4, "stream": 0.25, "ensemble": 0.75, "gain": 0.5},
        {"class": "z", "samples": 2, "stream": 1.0, "ensemble": 0.5, "gain": -0.5},
    ]
