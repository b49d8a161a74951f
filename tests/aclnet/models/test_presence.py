"""Networks that are told which joints are missing."""

from __future__ import annotations

import pytest
import torch

from aclnet.datasets.spec.layouts import get_layout
from aclnet.models.blocks import InputNorm
from aclnet.models.folding import fold_batch_norms
from aclnet.models.registry import BASELINES, make_model

LAYOUT = get_layout("utd_mhad")
OWNER = torch.tensor([0, 0, 1])


def network(name, persons="present"):
    torch.manual_seed(0)
    model = make_model(
        name,
        LAYOUT,
        num_classes=5,
        in_channels=4,
        base_channels=12,
        persons=persons,
        feature="pooled",
        presence=True,
        window_scales=2,
    )
    model.train()(tracks(), OWNER, 2)  # statistics of some data
    return model.eval()


def tracks(fill=0.0, there=None):
    """(3, 8, V, 4) with `fill` in place of the joints that are missing."""
    x = torch.randn(3, 8, LAYOUT.num_joints, 4, generator=torch.Generator().manual_seed(1))
    x[..., 3] = 1 if there is None else there
    x[..., :3] = torch.where(x[..., 3:] == 1, x[..., :3], torch.tensor(fill))
    return x


def without_hands():
    there = torch.ones(LAYOUT.num_joints)
    there[list(LAYOUT.parts["hands"])] = 0
    return there


@pytest.mark.parametrize("persons", ["present", "padded"])
@pytest.mark.parametrize("name", ["aclnet", *BASELINES])
def test_it_does_not_matter_what_stands_for_a_missing_joint(name, persons, assert_alike):
    model, there = network(name, persons), without_hands()
    with torch.inference_mode():
        none, some, whole = (
            model(x, OWNER, 2).pooled for x in (tracks(0.0, there), tracks(-3.0, there), tracks())
        )
        folded = fold_batch_norms(model)(tracks(0.0, there), OWNER, 2).pooled
    assert_alike(some, none)
    assert (none - whole).abs().max() > 1e-4
    torch.testing.assert_close(folded, none, rtol=1e-4, atol=1e-5)


def test_training_without_a_missing_joint_does_not_make_one_explode():
    """A batch norm of the channel itself would divide by a variance of nearly 0."""
    norm, plain = InputNorm(LAYOUT.num_joints, 4, presence=True), InputNorm(LAYOUT.num_joints, 4)
    for _ in range(200):
        norm(tracks()), plain(tracks())
    missing = tracks(there=without_hands())
    found = norm.eval()(missing)
    assert torch.equal(found[:, 3], 1 - missing[..., 3])
    assert found.abs().max() < 10
    assert plain.eval()(missing).abs().max() > 100
