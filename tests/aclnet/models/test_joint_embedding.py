"""Networks that are shown which joint they see."""

from __future__ import annotations

import pytest
import torch

from aclnet.datasets.spec.layouts import get_layout
from aclnet.models.blocks import JointEmbedding
from aclnet.models.folding import fold_batch_norms
from aclnet.models.registry import BASELINES, make_model

LAYOUT = get_layout("utd_mhad")
V = LAYOUT.num_joints
OWNER = torch.tensor([0, 0, 1])


def tracks(channels=3):
    return torch.randn(3, 8, V, channels, generator=torch.Generator().manual_seed(1))


def network(name, channels=3, **options):
    torch.manual_seed(0)
    model = make_model(
        name,
        LAYOUT,
        num_classes=5,
        in_channels=channels,
        base_channels=12,
        persons="present",
        joint_embedding=True,
        window_scales=2,
        **options,
    )
    model.train()(tracks(channels), OWNER, 2)  # statistics of some data
    return model.eval()


def test_a_joint_gets_its_own_vector_and_the_map_of_all_joints():
    embed = JointEmbedding(num_joints=2, in_channels=3, out_channels=4)
    x = torch.randn(5, 3, 6, 2)
    found, weight = embed(x), embed.project.weight[:, :, 0, 0]
    for p, t, v in [(0, 0, 0), (4, 5, 1), (2, 3, 0)]:
        wanted = weight @ x[p, :, t, v] + embed.vectors[:, 0, v]
        torch.testing.assert_close(found[p, :, t, v], wanted)


@pytest.mark.parametrize("name", ["aclnet", *BASELINES])
def test_all_vectors_learn_and_matter(name):
    model = network(name).train()
    model(tracks(), OWNER, 2).logits.square().sum().backward()
    assert (model.joints.vectors.grad.abs().sum((0, 1)) > 0).all()
    model.eval()
    with torch.inference_mode():
        before = model(tracks(), OWNER, 2)
        folded = fold_batch_norms(model)(tracks(), OWNER, 2)
        torch.testing.assert_close(folded.pooled, before.pooled, rtol=1e-3, atol=1e-5)
        model.joints.vectors.zero_()
        assert not torch.allclose(model(tracks(), OWNER, 2).pooled, before.pooled)


@pytest.mark.parametrize("name", ["aclnet", *BASELINES])
def test_missing_joints_are_told_as_before(name):
    model = network(name, channels=4, presence=True)
    x = tracks(4)
    x[..., 3] = 1
    x[:, :, 5, 3] = 0
    other = x.clone()
    other[:, :, 5, :3] = 7.0
    with torch.inference_mode():
        one, two = (model(t, OWNER, 2).pooled for t in (x, other))
    torch.testing.assert_close(one, two)
