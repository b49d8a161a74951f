"""Scores against one clip of one sequence at a time."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.plan import Share
from aclnet.datasets.store.store import Store
from aclnet.datasets.store.stream import Stream
from aclnet.evaluation.scorer import Scorer, choose_device, score
from aclnet.pipelines.inputs.corruptions.joints import Drop
from aclnet.pipelines.inputs.features import make_features
from aclnet.pipelines.inputs.sampling import clip_frames
from aclnet.runs.inference import Pass
from aclnet.runs.network import load_model
from aclnet.runs.scores import Scores

if TYPE_CHECKING:
    from aclnet.runs.run import Run


def naive(run: Run, store: Store, rows: list[int], clips: int, modality: str) -> np.ndarray:
    """(N, classes) mean of the softmax over clips, each clip on its own through the network."""
    model = load_model(run)
    frames, found = run.config.data.frames, []
    for row in rows:
        keypoint = torch.from_numpy(store.sequence(row).keypoint.copy())
        n = keypoint.shape[1]
        table = clip_frames(np.array([n]), frames, clips).reshape(clips, frames)
        total = torch.zeros(len(store.class_names))
        for chosen in table:
            following = keypoint[:, np.minimum(chosen + 1, n - 1)]
            x = make_features(keypoint[:, chosen], following, store.layout, modality)
            owner = torch.zeros(len(x), dtype=torch.int64)
            with torch.no_grad():
                total += model(x, owner, 1).logits[0].softmax(0)
        found.append((total / clips).numpy())
    return np.stack(found)


@pytest.mark.parametrize(
    ("settings", "modality"),
    [
        pytest.param((), "j", marks=pytest.mark.slow),
        (("data.modality=bm", "model.persons=padded"), "bm"),
    ],
)
def test_scores_equal_those_of_single_clips(settings, modality, train_quickly, store, tmp_path):
    run = train_quickly(tmp_path / "run", *settings, "optim.epochs=1")
    scores = Scorer(run, store, clips=10).score()
    ids = store.column("id")
    rows = sorted(np.flatnonzero(store.mask("xsub/test")).tolist(), key=lambda r: ids[r])
    assert scores.ids.tolist() == [ids[r] for r in rows]
    np.testing.assert_array_equal(scores.labels, store.column("label")[rows])
    some = slice(1, None, 3)
    assert len(set(store.column("n_persons")[rows[some]])) == 2
    found, wanted = scores.scores[some], naive(run, store, rows[some], 10, modality)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_training_ends_with_the_scores_of_evaluation(quick_run, store, assert_alike):
    kept = Scores.load(quick_run.scores("xsub-test"))
    again = Scorer(quick_run, store).score()
    assert_alike(kept.scores, again.scores)
    result = quick_run.result
    assert result == {"select": "last", "clips": 2, **again.result()}
    np.testing.assert_array_equal(quick_run.history.read("confusion/eval", -1), again.confusion())


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3, 5])
def test_processes_share_the_samples(world, quick_run, store, assert_alike):
    model, data = load_model(quick_run), quick_run.config.data
    mask = store.mask("xsub/test")
    parts = [
        score(model, store, mask, data, torch.device("cpu"), how=Pass(share=Share(r, world)))
        for r in range(world)
    ]
    ids = np.concatenate([part.ids for part in parts])
    assert sorted(ids) == sorted(store.column("id")[mask])
    whole = score(model, store, mask, data, torch.device("cpu"))
    joined = Scores.sorted(
        ids,
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )
    assert_alike(joined.scores, whole.scores)


@pytest.mark.slow
def test_progress_counts_samples(quick_run, store):
    told = []
    Scorer(quick_run, store).score(Pass(progress=lambda *a: told.append(a), stage="t"))
    assert told[-1] == ("t", 12, 12)


@pytest.mark.slow
def test_scores_that_are_not_finite_name_the_samples(quick_run, store, monkeypatch):
    victim = int(np.flatnonzero(store.mask("xsub/test"))[4])
    gather = Stream._gather

    def spoil(self, rows, *arguments):
        batch = gather(self, rows, *arguments)
        batch.keypoint[batch.sample[batch.owner] == victim] = np.nan
        return batch

    monkeypatch.setattr(Stream, "_gather", spoil)
    ids = store.column("id")
    with pytest.raises(AclnetError, match="scores of 1 samples are not finite") as error:
        Scorer(quick_run, store).score()
    assert ids[victim] in str(error.value)


@pytest.mark.slow
def test_names_of_what_was_scored(quick_run, store, tmp_path):
    assert Scorer(quick_run, store).name == "xsub-test"
    assert Scorer(quick_run, store, "xview/test").name == "xview-test"
    assert Scorer(quick_run, store, clips=3).name == "xsub-test-3clips"
    other = changed_store(store, tmp_path, "normal", lambda attributes: None)
    assert Scorer(quick_run, other).name == "normal-xsub-test"


def test_an_empty_split_lists_those_with_samples(quick_run, store):
    filled = "xsub/test, xsub/train, xview/test"
    with pytest.raises(AclnetError, match=rf"xview/train has no sample; --split can be {filled}$"):
        Scorer(quick_run, store, "xview/train")
    with pytest.raises(AclnetError, match=r"no split 'xsub/dev' .*; it has xsub/test"):
        Scorer(quick_run, store, "xsub/dev")


class changed_store(Store):  # noqa: N801 - used as a function
    """The store under another path and digest, with other attributes."""

    def __init__(self, store: Store, folder, name: str, change) -> None:
        copy = folder / f"{name}.zarr"
        shutil.copytree(store.path, copy)
        manifest = copy / "manifest.json"
        manifest.write_text(manifest.read_text() + "\n")
        super().__init__(copy)
        change(self)


def test_stores_that_do_not_fit_are_refused(quick_run, store, tmp_path):
    def rename_a_joint(other):
        joints = ("Bum", *other.layout.joints[1:])
        other.layout = other.layout.model_copy(update={"joints": joints, "name": "mine"})

    def rename_a_class(other):
        other.class_names = ["drink tea", *other.class_names[1:]]

    def turn(other):
        changed = {"normalisation": "centre-first-frame-aligned/1"}
        other.attributes = other.attributes.model_copy(update=changed)

    for change, message in (
        (rename_a_joint, r"trained on layout nturgb\+d with 25 joints .* has layout mine with 25"),
        (rename_a_class, r"has other classes \(60: drink tea, .*trained on \(60: drink water"),
        (turn, r"normalised by centre-first-frame/1, .*centre-first-frame-aligned/1"),
    ):
        other = changed_store(store, tmp_path, change.__name__, change)
        with pytest.raises(AclnetError, match=message):
            Scorer(quick_run, other)


@pytest.mark.slow
def test_a_store_may_have_further_classes_that_the_split_has_not(
    quick_run, store, assert_alike, tmp_path
):
    """As an NTU-120 store, to a network of NTU 60."""

    def add(other):
        other.class_names = [*other.class_names, "put on headphone"]

    more = changed_store(store, tmp_path, "more", add)
    scores = Scorer(quick_run, more).score()
    assert_alike(scores.scores, Scorer(quick_run, store).score().scores)
    assert scores.scores.shape == (12, 60)

    class Beyond(changed_store):
        def column(self, name):
            values = super().column(name)
            return np.where(self.mask("xsub/test"), 60, values) if name == "label" else values

    beyond = Beyond(store, tmp_path, "beyond", add)
    with pytest.raises(AclnetError, match=r"12 samples of xsub/test have classes .* first 60"):
        Scorer(quick_run, beyond)


@pytest.mark.slow
def test_a_run_of_a_file_is_tested_on_its_own_copy_of_it(train_quickly, store, tmp_path):
    ids = store.column("id")
    train, test = ids[store.mask("xsub/train")], ids[store.mask("xsub/test")][:5]
    lines = [*(f"{i},train" for i in train), *(f"{i},test" for i in test)]
    file = tmp_path / "mine.csv"
    file.write_text("\n".join(["id,split", *lines]))
    run = train_quickly(tmp_path / "run", "optim.epochs=1", split_file=file)
    file.write_text("id,split\nnobody,train\n")
    scorer = Scorer(run, store)
    assert scorer.name == "mine-test"
    assert scorer.score().ids.tolist() == sorted(test)
    assert Scores.load(run.scores("mine-test")).ids.tolist() == sorted(test)


@pytest.mark.slow
def test_what_a_run_held_out(train_quickly, store, tmp_path):
    """By a seed, by a file; not where nothing was held out, and not in another store."""
    run = train_quickly(tmp_path / "val", "optim.epochs=1", select="val", seed=3)
    scorer = Scorer(run, store, "val")
    assert (scorer.split, scorer.name) == ("xsub/val", "xsub-val")
    found = scorer.score()
    subjects = {int(name[9:12]) for name in found.ids}
    named = ", ".join(map(str, sorted(subjects)))
    assert run.record.split.held_out == f"subjects {named}"
    chosen = store.mask("xsub/train") & np.isin(store.column("subject"), list(subjects))
    assert found.ids.tolist() == sorted(store.column("id")[chosen])
    other = changed_store(store, tmp_path, "other", lambda attributes: None)
    with pytest.raises(AclnetError, match=r"of its own store, not of .*other\.zarr"):
        Scorer(run, other, "val")


@pytest.mark.slow
def test_what_a_file_held_out(train_quickly, store, tmp_path):
    ids = store.column("id")[store.mask("xsub/train")].tolist()
    sides = ["train"] * 20 + ["val"] * 4
    lines = [f"{sample},{side}" for sample, side in zip(ids, sides, strict=True)]
    file = tmp_path / "mine.csv"
    file.write_text("\n".join(["id,split", *lines]))
    run = train_quickly(tmp_path / "run", "optim.epochs=1", split_file=file)
    scorer = Scorer(run, store, "val")
    assert scorer.name == "mine-val"
    assert scorer.score().ids.tolist() == sorted(ids[20:])


def test_nothing_held_out(quick_run, store):
    with pytest.raises(AclnetError, match=r"quick held no samples out .* train with --select val"):
        Scorer(quick_run, store, "val")


def test_devices():
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(AclnetError, match="--accelerator abacus: "):
        choose_device("abacus")
    with pytest.raises(AclnetError, match=r"--accelerator mps: .*float64.*--accelerator cpu"):
        choose_device("mps")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_gpu_is_another_name_of_cuda():
    with pytest.raises(AclnetError, match="--accelerator cuda: "):
        choose_device("gpu")


@pytest.mark.slow
def test_scores_in_bfloat16_are_those_of_float32_to_rounding(quick_run, store):
    scorer = Scorer(quick_run, store)
    exact, rounded = (scorer.score(Pass(bf16=bf16)).scores for bf16 in (False, True))
    assert not np.array_equal(exact, rounded)
    np.testing.assert_allclose(rounded, exact, atol=0.02)


@pytest.mark.slow
def test_a_corruption_changes_the_input_and_nothing_else(quick_run, store, assert_alike):
    scorer = Scorer(quick_run, store)
    clean = scorer.score().scores
    dropped = scorer.score(Pass(Drop.of("arms", store.layout))).scores
    assert not np.allclose(clean, dropped)
    assert_alike(scorer.score().scores, clean)
