"""Every shipped network before everything that follows a training. The widths are the smallest."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aclnet.datasets.spec.layouts import get_layout
from aclnet.evaluation.ensemble import fuse, open_members
from aclnet.evaluation.family_table import counted_confusions, family_table
from aclnet.evaluation.scorer import Scorer
from aclnet.exchange.export_run import export_embeddings
from aclnet.models.choices import PAPER_WIDTH
from aclnet.models.registry import make_model
from aclnet.pipelines.inputs.corruptions.joints import Drop
from aclnet.runs.inference import Pass
from aclnet.runs.scores import Scores

pytestmark = pytest.mark.slow
SMALLEST = ("model.size=8", "optim.epochs=2", "optim.lr=0.1", "loss.families.start=0")


@pytest.fixture(scope="module", params=PAPER_WIDTH)
def run(request, train_once):
    """A short training with all terms of the loss, persons as published."""
    name = request.param
    settings = (f"model.name={name}", "model.persons=padded", *SMALLEST)
    return train_once(f"every-{name}", *settings)


def test_families_are_of_the_confusions_that_the_training_counted(run, store):
    found = family_table(run)
    assert [family.name for family in found.families] == store.class_names
    first, second = run.history.read_all("confusion/train").astype(float)
    assert first.sum() == second.sum() == 24
    for confusions in (first, second):
        np.fill_diagonal(confusions, 0)
    np.testing.assert_allclose(counted_confusions(run, 2), 0.9 * first + second, rtol=1e-6)


def test_occlusion_changes_the_scores_and_nothing_else(run, store, assert_alike):
    scorer = Scorer(run, store, accelerator="cpu")
    clean = scorer.score()
    assert_alike(clean.scores, Scores.load(run.test_scores).scores)
    dropped = scorer.score(Pass(corruption=Drop.of("hands", store.layout)))
    assert dropped.ids.tolist() == clean.ids.tolist()
    assert np.isfinite(dropped.scores).all()
    assert not np.array_equal(dropped.scores, clean.scores)


def test_a_network_is_fused_with_another(run, quick_run):
    scores = fuse(open_members([str(run.path), str(quick_run.path)]), (1, 3))
    each = [Scores.load(r.test_scores).scores for r in (run, quick_run)]
    np.testing.assert_allclose(scores.scores, (each[0] + 3 * each[1]) / 4, atol=1e-6)


@pytest.mark.parametrize("task", ["gait", "reid"])
@pytest.mark.parametrize("name", PAPER_WIDTH)
def test_people_are_recognised(name, task, train_quickly, gait_store, reid_store, tmp_path):
    store = {"gait": gait_store, "reid": reid_store}[task]
    settings = ("data.sampling=consecutive", "augment.rotate=0", "data.frames=8")
    run = train_quickly(
        tmp_path / "run", f"model.name={name}", f"task={task}", *settings, *SMALLEST, store=store
    )
    found = Scorer(run, store, accelerator="cpu").recognise().result()
    assert found["rank1"] == pytest.approx(run.result["rank1"])
    count = export_embeddings(run, store, tmp_path / "e.npz", accelerator="cpu")
    assert np.load(tmp_path / "e.npz")["vector"].shape == (count, 32)


@pytest.mark.parametrize("name", PAPER_WIDTH)
def test_torch_exports_a_network_for_any_number_of_frames(name, assert_alike):
    model = make_model(
        name,
        get_layout("sbu"),
        num_classes=4,
        in_channels=3,
        base_channels=8,
        persons="padded",
    ).eval()
    owner = torch.tensor([0, 1, 1])
    frames = {"tracks": {1: torch.export.Dim.AUTO}, "owner": None, "num_samples": None}
    exported = torch.export.export(
        model, (torch.randn(3, 16, 15, 3), owner, 2), dynamic_shapes=frames
    ).module()
    for length in (16, 37):
        tracks = torch.randn(3, length, 15, 3)
        assert_alike(
            exported(tracks, owner, 2).logits.detach(), model(tracks, owner, 2).logits.detach()
        )
