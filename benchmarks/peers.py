"""The usual methods of the field in plain code, for comparison of cost.

Each function computes what the released code computes (`tests/test_benchmarks.py` compares it with
the goldens) in the style of research code: text line by line, one sample at a time, a loop over
persons and frames, pairs of samples or classes in Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Joints = NDArray[np.float32]


def read_skeleton(path: Path) -> dict[str, tuple[list[int], NDArray[np.float32]]]:
    """Frames and joints (n, 25, 3) of each body of a `.skeleton` file, line by line."""
    frames: dict[str, list[int]] = {}
    joints: dict[str, list[list[list[float]]]] = {}
    with path.open() as file:
        for frame in range(int(file.readline())):
            for _ in range(int(file.readline())):
                body = file.readline().split()[0]
                pose = []
                for _ in range(int(file.readline())):
                    values = [float(value) for value in file.readline().split()]
                    pose.append(values[:3])
                frames.setdefault(body, []).append(frame)
                joints.setdefault(body, []).append(pose)
    return {body: (frames[body], np.array(joints[body], np.float32)) for body in frames}


def normalise(keypoint: Joints) -> Joints:
    """PreNormalize3D without alignment, of (M, T, V, 3), M at most 2: frame by frame."""
    persons, total, num_joints, _ = keypoint.shape
    kept = [t for t in range(total) if not np.all(np.isclose(keypoint[0, t], 0))]
    if persons == 2:
        second = [t for t in range(total) if not np.all(np.isclose(keypoint[1, t], 0))]
        if len(second) > len(kept):
            kept, keypoint = second, keypoint[[1, 0]]
    result = keypoint[:, kept].copy()
    centre = result[0, 0, 1].copy()
    for m in range(persons):
        for t in range(len(kept)):
            for v in range(num_joints):
                if result[m, t, v].sum() != 0:
                    result[m, t, v] -= centre
    return result


def rotate(keypoint: Joints, limit: float, rng: np.random.RandomState) -> Joints:
    """One random rotation about the three axes."""
    cos, sin = (f(rng.uniform(-limit, limit, 3)) for f in (np.cos, np.sin))
    x = np.array([[1, 0, 0], [0, cos[0], sin[0]], [0, -sin[0], cos[0]]])
    y = np.array([[cos[1], 0, -sin[1]], [0, 1, 0], [sin[1], 0, cos[1]]])
    z = np.array([[cos[2], sin[2], 0], [-sin[2], cos[2], 0], [0, 0, 1]])
    return np.einsum("ab,mtvb->mtva", z @ y @ x, keypoint).astype(np.float32)


def feature(keypoint: Joints, name: str, parents: list[int], partners: list[int]) -> Joints:
    """One modality of the whole sequence, joint by joint."""
    inward = {"j": None, "b": parents, "k": partners}[name[0]]
    result = keypoint
    if inward is not None:
        result = np.zeros_like(keypoint)
        for v, parent in enumerate(inward):
            result[:, :, v] = keypoint[:, :, v] - keypoint[:, :, parent]
    if name.endswith("m"):
        motion = np.zeros_like(result)
        motion[:, :-1] = np.diff(result, axis=1)
        result = motion
    return result


def sample_frames(total: int, length: int, rng: np.random.RandomState) -> NDArray[np.int64]:
    """UniformSample's frame numbers of one clip."""
    rng.rand()
    if total < length:
        return (rng.randint(0, total) + np.arange(length)) % total
    if total < 2 * length:
        skipped = np.zeros(length + 1, np.int64)
        skipped[rng.choice(length + 1, total - length, replace=False)] = 1
        return np.arange(length) + np.cumsum(skipped)[:length]
    borders = np.array([i * total // length for i in range(length + 1)])
    return borders[:-1] + rng.randint(np.diff(borders))


def padded(keypoint: Joints, clips: int, length: int) -> Joints:
    """(clips, 2, T, V, 3) two persons, the second zero if there is none."""
    if len(keypoint) < 2:
        keypoint = np.concatenate([keypoint, np.zeros_like(keypoint)])
    keypoint = keypoint[:2].reshape(2, clips, length, *keypoint.shape[2:])
    return np.ascontiguousarray(keypoint.transpose(1, 0, 2, 3, 4))


def network_input(
    keypoint: Joints,
    name: str,
    parents: list[int],
    partners: list[int],
    *,
    clips: int = 1,
    length: int = 100,
    limit: float = 0.0,
    seed: int = 255,
) -> Joints:
    """(clips, 2, T, V, 3) input from one raw sample: the whole pipeline."""
    rng = np.random.RandomState(seed)
    joints = normalise(keypoint)
    if limit:
        joints = rotate(joints, limit, rng)
    joints = feature(joints, name, parents, partners)
    frames = [sample_frames(joints.shape[1], length, rng) for _ in range(clips)]
    return padded(joints[:, np.concatenate(frames)], clips, length)


def inter_loss(
    z: torch.Tensor,
    labels: torch.Tensor,
    prototypes: torch.Tensor,
    families: list[list[int]],
    temperatures: list[float],
) -> torch.Tensor:
    """The inter-class term, sample by sample: z (B, D), prototypes (C, D)."""
    total = z.sum() * 0
    for i in range(len(labels)):
        own = int(labels[i])
        if families[own]:
            rows = torch.stack([prototypes[own], *(prototypes[c] for c in families[own])])
            logits = functional.cosine_similarity(z[i : i + 1], rows) / temperatures[own]
            total = total - torch.log(torch.exp(logits[0]) / torch.exp(logits).sum())
    return total / len(labels)


def intra_loss(
    u: torch.Tensor, labels: torch.Tensor, memory: torch.Tensor, of: torch.Tensor, margin: float
) -> torch.Tensor:
    """The intra-class term against a memory whose last rows are `u`, all similarities computed."""
    similarity = memory @ memory.T / 0.1
    total = u.sum() * 0
    first, classes = len(memory) - len(u), of.tolist()
    for i, label in enumerate(labels.tolist()):
        s = similarity[first + i] - similarity[first + i].max().detach()
        negative = torch.exp(s[of != label]).sum()
        positives = [p for p, other in enumerate(classes) if other == label and p != first + i]
        if positives:
            pulled = s[positives]
            inside = np.exp(-margin) * torch.exp(pulled) + negative + 1e-6
            total = total + (torch.log(inside) - pulled).mean()
    return total / len(u)


def family_lists(counts: torch.Tensor) -> list[list[int]]:
    """Families of the released rule from (C, C) confusions: nearest ten, or five shared of them."""
    C = len(counts)
    nearest = [torch.topk(counts[c], 10).indices for c in range(C)]
    families = []
    for a in range(C):
        members = set()
        for b in range(C):
            if a == b:
                continue
            shared = sum(int((nearest[b] == n).sum()) for n in nearest[a])
            if (nearest[a] == b).sum() > 0 or shared >= 5:
                members.add(b)
        families.append(sorted(members))
    return families
