"""Batch normalisations folded into convolutions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from aclnet.models.aclnet import ACLNet
from aclnet.models.folding import _MaxOverTime, fold_batch_norms


@pytest.mark.parametrize("name", ["ntu25", "coco20"])
def test_a_folded_network_gives_the_released_numbers(goldens, name):
    stored = torch.load(goldens / f"model_{name}.pth", weights_only=True)
    arrays = np.load(goldens / f"model_{name}.npz")
    x = torch.from_numpy(arrays["input"])
    model = ACLNet(
        num_joints=x.shape[3],
        num_classes=stored["meta"]["num_classes"],
        base_channels=stored["meta"]["base_channels"],
        persons="padded",
    )
    weights = {key.split(".", 1)[1]: value for key, value in stored["state_dict"].items()}
    model.load_state_dict({k: v for k, v in weights.items() if "_loss." not in k})
    before = {key: value.clone() for key, value in model.state_dict().items()}
    folded = fold_batch_norms(model.train())
    with torch.inference_mode():
        output = folded(x.flatten(0, 1), torch.arange(len(x)).repeat_interleave(2), len(x))
    for found, key in ((output.logits, "eval_logits"), (output.feature, "eval_graph")):
        expected = torch.from_numpy(arrays[key])
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item())
    assert model.training
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


def test_all_but_those_without_a_convolution_before_them_are_folded():
    model = ACLNet(num_joints=20, num_classes=5, base_channels=8)
    norms = (nn.BatchNorm1d, nn.BatchNorm2d)
    left = [n for n, m in fold_batch_norms(model).named_modules() if isinstance(m, norms)]
    behind_mixing = [f"gcn.{block}.tcn.transform.0" for block in range(10)]
    assert sorted(n for n in left if ".branches." not in n) == sorted(["data_bn", *behind_mixing])
    assert not [n for n in left if ".branches." in n]


@pytest.mark.parametrize("frames", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("stride", [1, 2])
def test_pooling_over_time_is_what_it_was(frames, stride):
    x = torch.randn(2, 3, frames, 5)
    wanted = nn.MaxPool2d((3, 1), stride=(stride, 1), padding=(1, 0))(x)
    torch.testing.assert_close(_MaxOverTime(stride)(x), wanted, rtol=0, atol=0)
