"""2-D joints in units of their image, as PYSKL's networks take them (its PreNormalize2D)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

LEAST_SCORE = 0.01
"""Joints of at most this confidence count as missing."""


def scale_to_image(x: Tensor, size: Tensor, *, scored: bool) -> Tensor:
    """Joints whose x and y run from -1 to 1 over the width and height of their image.

    Args:
        x: (P, N, V, C) pixels, with `scored` also the confidence. Left unchanged.
        size: (P, 2) width and height of the image of each track, pixels.
        scored: the last channel is the confidence, which is kept; joints with `LEAST_SCORE` or less
            are missing. Without it, joints with zero x and y are missing.

    Returns:
        (P, N, V, C) in the dtype of `x`; missing joints are zero in x and y.
    """
    half = (size.to(x.dtype) / 2)[:, None, None]
    xy = (x[..., :2] - half) / half
    there = x[..., 2:] > LEAST_SCORE if scored else (x[..., :2] != 0).any(-1, keepdim=True)
    return torch.cat([torch.where(there, xy, torch.zeros_like(xy)), x[..., 2:]], -1)
