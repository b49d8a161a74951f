"""Networks whose last layer gets the activations of each joint."""

from __future__ import annotations

import pytest
import torch

from aclnet.datasets.spec.layouts import get_layout
from aclnet.models.folding import fold_batch_norms
from aclnet.models.registry import BASELINES, make_model

LAYOUT = get_layout("utd_mhad")
V = LAYOUT.num_joints
OWNER = torch.tensor([0, 0, 1])
NETWORKS = ["aclnet", *BASELINES]


def network(name, pooling, feature="pooled"):
    torch.manual_seed(0)
    model = make_model(
        name,
        LAYOUT,
        num_classes=5,
        in_channels=3,
        base_channels=12,
        persons="present",
        feature=feature,
        pooling=pooling,
        window_scales=2,
    ).double()
    return model.eval()


def tracks():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, 8, V, 3, generator=generator, dtype=torch.float64)


@torch.inference_mode()
@pytest.mark.parametrize("name", NETWORKS)
def test_each_joint_has_the_mean_of_its_frames(name):
    model = network(name, "joint")
    seen = []
    model.gcn[-1].register_forward_hook(lambda _, __, output: seen.append(output))
    output = model(tracks(), OWNER, 2)
    first = torch.stack([seen[0][:2, c, :, v].mean() for c in range(48) for v in range(V)])
    torch.testing.assert_close(output.pooled[0], first)
    assert output.pooled.shape == (2, 48 * V)
    assert output.feature.shape == (2, model.feature_width) == output.pooled.shape
    assert model.pooled_width == 48 * V
    folded = fold_batch_norms(model)(tracks(), OWNER, 2)
    torch.testing.assert_close(folded.logits, output.logits)


@pytest.mark.parametrize("name", NETWORKS)
def test_equal_weights_of_all_joints_are_the_mean_over_joints(name):
    mean, joint = network(name, "all"), network(name, "joint")
    weights = mean.state_dict()
    torch.nn.init.normal_(weights["fc_cls.weight"])
    joint.load_state_dict(
        weights | {"fc_cls.weight": weights["fc_cls.weight"].repeat_interleave(V, 1) / V}
    )
    wanted = mean(tracks(), OWNER, 2)
    torch.testing.assert_close(joint(tracks(), OWNER, 2).logits, wanted.logits)
    assert wanted.logits.std() > 0.1


def test_the_topology_can_be_contrasted_too():
    model = network("aclnet", "joint", feature="topology")
    output = model(tracks(), OWNER, 2)
    assert output.feature.shape == (2, V * V)
    assert output.pooled.shape == (2, 48 * V)
