"""The network with one batch normalisation for the five branches of a block, for comparison.

It uses the same weights and gives, except for rounding, the same numbers as
`aclnet.models.aclnet.ACLNet`, with fewer kernels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from aclnet.models.aclnet import ACLNet, TemporalConv
from aclnet.models.blocks import pointwise

if TYPE_CHECKING:
    from collections.abc import Sequence


class _TemporalConv(TemporalConv):
    def _branches(self, x: Tensor) -> Tensor:
        branches: list[Any] = list(self.branches)
        *others, bare = branches
        convs, norms = ([branch[index] for branch in others] for index in range(2))
        widths = [norm.num_features for norm in norms]
        if self.stride == 1:
            both = _pointwise([*convs, bare], x)
            wide, last = torch.split(both, [sum(widths), bare.out_channels], 1)
        else:
            wide, last = _pointwise(convs, x), bare(x[:, :, :: self.stride])
        parts = _normalised(norms, wide.contiguous()).relu_().split(widths, 1)
        outs = [b[3:](part.contiguous()) for b, part in zip(others, parts, strict=True)]
        return torch.cat([*outs, last], 1)


def _pointwise(convs: Sequence[nn.Conv2d], x: Tensor) -> Tensor:
    biases = [cast("Tensor", conv.bias) for conv in convs]
    return pointwise(x, torch.cat([conv.weight for conv in convs]), torch.cat(biases))


def _normalised(norms: Sequence[nn.BatchNorm2d], x: Tensor) -> Tensor:
    """`x` after batch normalisations of neighbouring channels, whose statistics are kept."""
    first = norms[0]
    kept_means = cast("list[Tensor]", [norm.running_mean for norm in norms])
    kept_variances = cast("list[Tensor]", [norm.running_var for norm in norms])
    means, variances = torch.cat(kept_means), torch.cat(kept_variances)
    weight, bias = torch.cat([n.weight for n in norms]), torch.cat([n.bias for n in norms])
    training, momentum = first.training, cast("float", first.momentum)
    y = functional.batch_norm(x, means, variances, weight, bias, training, momentum, first.eps)
    if training:
        widths = [norm.num_features for norm in norms]
        torch._foreach_copy_(kept_means, means.split(widths))
        torch._foreach_copy_(kept_variances, variances.split(widths))
        torch._foreach_add_([norm.num_batches_tracked for norm in norms], 1)
    return y


def with_joined_norms(model: ACLNet) -> ACLNet:
    """Makes a network normalise its branches together, with the same weights."""
    for module in model.modules():
        if type(module) is TemporalConv:
            module.__class__ = _TemporalConv
    return model
