"""Fixed graphs of the baseline networks, derived from a layout.

Rows are the joints that send and columns the joints that receive: y[w] = sum_v x[v] A[v, w].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from aclnet.datasets.spec.layouts import Layout


def spatial(layout: Layout) -> Tensor:
    """(3, V, V) float32: each joint itself, its parent, and the mean of its children."""
    parent_to_child = _links(layout)
    parts = (np.eye(layout.num_joints), parent_to_child, parent_to_child.T)
    return _tensor(np.stack([_normalised(part) for part in parts]))


def stgcn_spatial(layout: Layout) -> Tensor:
    """(3, V, V) float32: the partition of ST-GCN (Yan et al., AAAI 2018) as PYSKL computes it.

    The parts are each joint itself, neighbours that are not farther from the centre, and other
    neighbours. Only distances of 0 and 1 are measured; all farther joints count as equally far.
    """
    neighbours = _adjacency(layout)
    mean = _normalised(neighbours + np.eye(layout.num_joints))
    distance = np.where(neighbours[layout.centre] > 0, 1, np.inf)
    distance[layout.centre] = 0
    near = neighbours * (distance[:, None] >= distance)
    return _tensor(np.stack([mean * np.eye(len(mean)), mean * near, mean * (neighbours - near)]))


def disentangled(layout: Layout, scales: int, frames: int = 1) -> Tensor:
    """(scales, frames * V, frames * V) float32: for each k, the joints exactly k hops away.

    Every joint is among its own neighbours at each scale (Liu et al., "Disentangling and Unifying
    Graph Convolutions for Skeleton-Based Action Recognition", CVPR 2020, equation 4). In a window
    of several frames, a joint is also linked to itself and its neighbours in the other frames
    (equation 6).
    """
    adjacency = _adjacency(layout)
    if frames > 1:
        adjacency = np.tile(adjacency + np.eye(len(adjacency)), (frames, frames))
    identity = np.eye(len(adjacency))
    reached, parts = identity, [identity]
    for _ in range(scales - 1):
        further = (reached @ (adjacency + identity) > 0).astype(float)
        parts.append(further - reached + identity)
        reached = further
    return _tensor(np.stack([_normalised(part) for part in parts]))


def _links(layout: Layout) -> NDArray[np.float64]:
    """(V, V): 1 from each joint to its children."""
    links = np.zeros((layout.num_joints, layout.num_joints))
    for child, parent in layout.inward:
        links[parent, child] = 1
    return links


def _adjacency(layout: Layout) -> NDArray[np.float64]:
    """(V, V): 1 between joints that a bone connects."""
    links = _links(layout)
    return np.maximum(links, links.T)


def _normalised(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each column divided by its sum; columns of zeros stay."""
    total = matrix.sum(0)
    return matrix / np.where(total > 0, total, 1)


def _tensor(matrices: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(matrices.astype(np.float32))
