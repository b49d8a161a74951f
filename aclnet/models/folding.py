"""A trained network with its batch normalisations folded into the convolutions before them."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from aclnet.models.classifier import Classifier

if TYPE_CHECKING:
    from collections.abc import Iterator

Model = TypeVar("Model", bound=Classifier)


def fold_batch_norms(model: Model, *, fast_pooling: bool = True) -> Model:
    """A copy for inference that computes the same, to rounding, with fewer passes over its data.

    In evaluation mode, a batch normalisation is a fixed scale and shift, which the convolution
    before it can apply. The batch normalisations of the input and after the mixing of joints have
    no convolution before them and stay. `model` is not changed; the copy cannot be trained.

    With `fast_pooling`, pooling over time gets a faster form. It is off for `torch.export`, which
    can trace this form only for even numbers of frames.

    The folded pairs are neighbours in a `Sequential`, and the pairs that a module names in its
    `FOLDS`. A model that is not `foldable` is only copied.
    """
    folded = copy.deepcopy(model).eval()
    if not model.foldable:
        return folded
    for module in list(folded.modules()):
        for conv, norm in _pairs(module):
            _fold(module, conv, norm)
        if fast_pooling and isinstance(module, nn.Sequential):
            _speed_up_pooling(module)
    return folded


def _pairs(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of convolutions and modules that follow them directly."""
    yield from getattr(module, "FOLDS", ())
    if isinstance(module, nn.Sequential):
        yield from pairwise(name for name, _ in module.named_children())


def _fold(module: nn.Module, conv_name: str, norm_name: str) -> None:
    conv, norm = module.get_submodule(conv_name), module.get_submodule(norm_name)
    if isinstance(conv, nn.Conv2d | nn.Conv3d) and isinstance(norm, nn.BatchNorm2d):
        module.set_submodule(conv_name, fuse_conv_bn_eval(conv, norm))
        module.set_submodule(norm_name, nn.Identity())


def _speed_up_pooling(layers: nn.Sequential) -> None:
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.MaxPool2d):
            layers[index] = _MaxOverTime(cast("tuple[int, int]", layer.stride)[0])


class _MaxOverTime(nn.Module):
    """The greatest of three neighbouring frames, many times faster than `MaxPool2d`.

    `MaxPool2d` also stores the positions for the gradient.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x[:, :, :: self.stride].clone()
        before = x[:, :, self.stride - 1 :: self.stride][:, :, : y.shape[2] - 1]
        after = x[:, :, 1 :: self.stride]
        for part, other in ((y[:, :, 1:], before), (y[:, :, : after.shape[2]], after)):
            torch.maximum(part, other, out=part)
        return y
