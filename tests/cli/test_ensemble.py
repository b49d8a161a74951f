"""`aclnet ensemble` on two trained streams, a third seed, and PYSKL's files."""

from __future__ import annotations

import json
import pickle
import re
import shutil

import numpy as np
import pandas as pd
import pytest

import aclnet as aclnet_package
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores


@pytest.fixture(scope="module")
def streams(made_up_store, aclnet, quick_arguments, tmp_path_factory):
    """Joints and bones of one seed, trained with the same subjects held out."""
    folder = tmp_path_factory.mktemp("streams")
    for modality in ("j", "b"):
        answer = aclnet(
            "train", made_up_store, "--modality", modality, "--select", "val",
            "--out", folder / modality, *quick_arguments, "--set=optim.epochs=1",
        )  # fmt: skip
        assert answer.code == 0, answer.err
    return folder


@pytest.fixture
def own(streams, tmp_path, monkeypatch):
    """One's own copy, in the working folder."""
    shutil.copytree(streams, tmp_path / "runs")
    monkeypatch.chdir(tmp_path / "runs")
    return tmp_path / "runs"


def change_seed(run, seed: int, change_record) -> None:
    """Another seed, and scores that are another's."""
    change_record(run, config_sha256=None)
    file = run / "config.toml"
    file.write_text(re.sub(r"(?m)^seed = \d+", f"seed = {seed}", file.read_text()))
    opened = Run(run)
    scores = Scores.load(opened.test_scores)
    Scores(scores.ids, np.roll(scores.scores, 1, axis=0), scores.labels).save(opened.test_scores)


def test_what_a_person_sees(own, aclnet, change_record):
    answer = aclnet("ensemble", "j", "b", terminal=True)
    assert answer.code == 0, answer.err
    words = " ".join(answer.out.split())
    for said in (
        "12 samples; the probabilities are summed; gain in top-1",
        "j (j)",
        "b (b)",
        "modalities j, b, 1:1",
    ):
        assert said in words
    assert max(map(len, answer.out.splitlines())) <= 80
    shutil.copytree("j", "again")
    change_seed(own / "again", 7, change_record)
    seen = aclnet("ensemble", "j", "again").out
    assert "2 seeds of j, 1:1" in seen
    assert "modalities" not in seen
    seen = " ".join(aclnet("ensemble", "j", "again", "b").out.replace("│", " ").split())
    assert "2 seeds of j, 1:1" in seen
    assert "2 seeds of j + b, 1:1:2" in seen


def test_fused_scores_are_a_member_of_others(own, aclnet, tmp_path):
    answer = aclnet("ensemble", "j", "b", "--weights", "3,1", "--out", "new/fused.npz", "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert [row["kind"] for row in found["ensembles"]] == ["standard", "given"]
    assert found["ensembles"][1]["weights"] == [3, 1]
    fused, j, b = (
        Scores.load(path)
        for path in (own / "new" / "fused.npz", *(Run(own / m).test_scores for m in ("j", "b")))
    )
    np.testing.assert_allclose(fused.scores, (3 * j.scores + b.scores) / 4, atol=1e-6)
    np.testing.assert_array_equal(fused.labels, j.labels)
    assert found["ensembles"][1]["top1"] == fused.top1
    table = pd.read_csv(own / "new" / "fused.per_class.csv")
    assert table["samples"].sum() == 12
    shown = [row["gain"] for row in found["classes"]]
    assert shown == table["gain"].tolist()
    best = max(j, b, key=lambda scores: scores.top1)
    per_class = (table["gain"] * table["samples"]).sum() / 12
    assert per_class == pytest.approx(fused.top1 - best.top1)
    again = aclnet("ensemble", "new/fused.npz", "b", "--json")
    assert json.loads(again.out)["streams"][0]["top1"] == fused.top1
    assert aclnet("compare", "new/fused.npz", "--with", "j").code == 0


@pytest.mark.slow
def test_weights_are_searched_on_what_was_held_out(own, aclnet, streams):
    answer = aclnet("ensemble", "j", "b", "--search")
    assert answer.code == 2
    assert "`aclnet evaluate" in answer.words
    for run in ("j", "b"):
        scored = aclnet("evaluate", run, "--split", "val", "--json")
        assert scored.code == 0, scored.err
        assert json.loads(scored.out)["split"] == "xsub-val"
    held_out, test = (
        Scores.load(Run(own / "j").scores(f"xsub-{side}")) for side in ("val", "test")
    )
    assert not set(held_out.ids) & set(test.ids)
    answer = aclnet("ensemble", "j", "b", "--search", "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert found["search"]["samples"] == len(held_out)
    assert found["search"]["log_loss"] <= found["search"]["log_loss_equal"] + 1e-4
    assert found["ensembles"][-1]["kind"] == "searched"
    assert found["ensembles"][-1]["weights"] == found["search"]["weights"]
    seen = aclnet("ensemble", "j", "b", "--search")
    weights = ",".join(f"{weight:g}" for weight in found["search"]["weights"])
    assert f"validation samples, in the order of the members: {weights}; log loss" in seen.words
    assert "searched" in seen.out


def test_results_of_pyskl(own, aclnet):
    scores = [Scores.load(Run(own / m).test_scores) for m in ("j", "b")]
    order = np.random.default_rng(0).permutation(12)
    ids, labels = scores[0].ids[order].tolist(), scores[0].labels[order].tolist()
    entries = [{"frame_dir": i, "label": c} for i, c in zip(ids, labels, strict=True)]
    content = {"split": {"xsub_val": sorted(ids)}, "annotations": entries}
    (own / "ntu60.pkl").write_bytes(pickle.dumps(content))
    for name, one in zip(("j.pkl", "b.pkl"), scores, strict=True):
        (own / name).write_bytes(pickle.dumps(list(one.scores[order]), protocol=2))
    (own / "ids.txt").write_text("\n".join(ids))
    wanted = json.loads(aclnet("ensemble", "j", "b", "--json").out)["ensembles"]
    for arguments in (
        ["j=j.pkl", "b=b.pkl", "--order", "ntu60.pkl:xsub_val"],
        ["j", "b=b.pkl", "--order", "ids.txt"],
    ):
        answer = aclnet("ensemble", *arguments, "--json")
        assert answer.code == 0, answer.err
        assert json.loads(answer.out)["ensembles"] == wanted
    assert "1:1" in aclnet("ensemble", "j=j.pkl", "b=b.pkl", "--order", "ntu60.pkl:xsub_val").out


def test_mistakes_end_in_a_message(own, aclnet):
    changed = Scores.load(Run(own / "b").test_scores)
    changed.ids[4] = "stranger"
    changed.save(own / "other.npz")
    for arguments, message in (
        (["j"], "two or more members"),
        (["j", "other.npz"], "j and other.npz have different samples"),
        (["j", "gone"], "gone is neither a run nor a file of scores"),
        (["j", "b", "--weights", "1,2,3"], "3 weights for 2 members"),
        (["j", "b", "--weights", "two"], "write numbers, as 2,2,1,1"),
        (["j", "b", "--weights", "1,1", "--search"], "give one"),
        (["j", "b", "--out", "fused.pkl"], "scores are written as .npz"),
        (["j", "b", "--order", "gone.txt"], "gone.txt cannot be read"),
    ):
        answer = aclnet("ensemble", *arguments)
        assert answer.code == 2, arguments
        assert message in answer.words
        assert "Traceback" not in answer.err


@pytest.fixture
def published(made_up_store, tmp_path):
    """Logits of two streams by id, as CTR-GCN writes them, for half of a store's samples."""
    store = aclnet_package.open_store(made_up_store)
    ids = store.column("id")[::2].tolist()
    labels = store.column("label")[::2]
    rng = np.random.default_rng(0)
    logits = {}
    for name in ("j", "b"):
        logits[name] = rng.normal(0, 3, (len(ids), len(store.class_names))).astype(np.float32)
        content = dict(zip(ids, logits[name], strict=True))
        (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps(content))
    return logits, labels


def test_logits_of_published_code_give_the_sum_that_it_makes(
    published, made_up_store, aclnet, tmp_path
):
    logits, labels = published
    files = [f"{name}={tmp_path / name}.pkl" for name in ("j", "b")]
    missing = aclnet("ensemble", *files)
    assert missing.code == 2
    assert "no member has the true classes: give --labels STORE" in missing.words
    arguments = ("ensemble", *files, "--labels", made_up_store, "--weights", "0.6,0.4")
    found = json.loads(aclnet(*arguments, "--json").out)
    assert (found["summed"], found["samples"]) == ("logits", len(labels))
    summed = 0.6 * logits["j"].astype(np.float64) + 0.4 * logits["b"]
    assert found["ensembles"][-1]["top1"] == np.mean(summed.argmax(axis=1) == labels)
    assert "logits are summed" in " ".join(aclnet(*arguments).out.split())
    found = json.loads(aclnet(*arguments, "--sum", "probabilities", "--json").out)
    soft = {
        name: np.exp(rows.astype(np.float64)) / np.exp(rows.astype(np.float64)).sum(1)[:, None]
        for name, rows in logits.items()
    }
    expected = (0.6 * soft["j"] + 0.4 * soft["b"]).argmax(axis=1) == labels
    assert found["summed"] == "probabilities"
    assert found["ensembles"][-1]["top1"] == expected.mean()


def test_logits_and_probabilities_are_not_summed_with_each_other(
    published, made_up_store, aclnet, tmp_path
):
    logits, labels = published
    ids = aclnet_package.open_store(made_up_store).column("id")[::2]
    soft = np.full(logits["j"].shape, 1 / logits["j"].shape[1], np.float32)
    np.savez(tmp_path / "soft.npz", ids=ids, scores=soft, labels=labels)
    files = (tmp_path / "j.pkl", tmp_path / "soft.npz")
    answer = aclnet("ensemble", *files)
    assert answer.code == 2
    assert "soft.npz has probabilities; j.pkl has logits: use --sum probabilities" in answer.words
    assert aclnet("ensemble", *files, "--sum", "probabilities").code == 0
