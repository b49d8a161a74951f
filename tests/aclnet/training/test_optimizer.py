"""The optimizers, against their formulas."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from aclnet.runs.config import OptimConfig
from aclnet.training.optimizer import make_optimizer

LR, MOMENTUM, DECAY = 0.02, 0.8, 0.1


@pytest.fixture
def network():
    contrast = SimpleNamespace(inter_projection=nn.Linear(3, 2), intra_projection=nn.Linear(3, 2))
    return SimpleNamespace(model=nn.Linear(4, 3), contrast=contrast, loss=None)


def sgd(weight, gradients):
    """Nesterov momentum with an L2 penalty: Sutskever et al. (ICML 2013), as torch documents it."""
    velocity = 0
    for gradient in gradients:
        gradient = gradient + DECAY * weight
        velocity = MOMENTUM * velocity + gradient
        weight = weight - LR * (gradient + MOMENTUM * velocity)
    return weight


def adamw(weight, gradients):
    """Algorithm 2 of Loshchilov and Hutter, "Decoupled weight decay regularization" (ICLR 2019)."""
    first = second = 0
    for step, gradient in enumerate(gradients, start=1):
        first = MOMENTUM * first + (1 - MOMENTUM) * gradient
        second = 0.999 * second + 0.001 * gradient**2
        mean, square = first / (1 - MOMENTUM**step), second / (1 - 0.999**step)
        weight = weight - LR * (mean / (np.sqrt(square) + 1e-8) + DECAY * weight)
    return weight


@pytest.mark.parametrize("formula", [sgd, adamw], ids=lambda f: f.__name__)
def test_steps_follow_the_formula(formula, network):
    settings = {"lr": 4 * LR, "batch_size": 16, "momentum": MOMENTUM}
    optimizer = make_optimizer(network, OptimConfig(name=formula.__name__, **settings))
    assert [group["name"] for group in optimizer.param_groups] == ["model", "inter", "intra"]
    weight = network.model.weight
    gradients = torch.randn(5, *weight.shape)
    wanted = formula(weight.detach().numpy().astype(np.float64), gradients.double().numpy())
    for gradient in gradients:
        weight.grad = gradient.clone()
        for group in optimizer.param_groups:
            group["weight_decay"] = DECAY
        optimizer.step()
    np.testing.assert_allclose(weight.detach(), wanted, rtol=1e-5, atol=1e-6)


def test_without_momentum_sgd_follows_the_gradient(network):
    optimizer = make_optimizer(network, OptimConfig(lr=1, batch_size=64, momentum=0))
    before = network.model.bias.detach().clone()
    network.model.bias.grad = torch.ones(3)
    optimizer.step()
    torch.testing.assert_close(network.model.bias.detach(), before - 1)
