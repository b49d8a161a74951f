"""A baseline is worth its figures only if it computes what the released code computes."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from aclnet.model import ACLNet


@pytest.fixture(scope="module")
def official():
    path = Path(__file__).parent.parent / "benchmarks" / "official.py"
    spec = importlib.util.spec_from_file_location("official", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["ntu25", "coco20"])
def test_the_released_way_of_computing_gives_the_released_numbers(official, goldens, name):
    stored = torch.load(goldens / f"model_{name}.pth", weights_only=True)
    arrays = np.load(goldens / f"model_{name}.npz")
    x = torch.from_numpy(arrays["input"])
    model = ACLNet(
        num_joints=x.shape[3],
        num_classes=stored["meta"]["num_classes"],
        base_channels=stored["meta"]["base_channels"],
    )
    weights = {key.split(".", 1)[1]: value for key, value in stored["state_dict"].items()}
    model.load_state_dict({k: v for k, v in weights.items() if "_loss." not in k})
    model = official.as_released(model).train()
    output = model(x.flatten(0, 1), torch.arange(len(x)).repeat_interleave(2), len(x))
    for found, key in ((output.logits, "train_logits"), (output.feature, "train_graph")):
        expected = torch.from_numpy(arrays[key])
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * expected.abs().max().item())
