"""Cost of the method: losses, families, training step, inference."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from measure import Row, alternate
from official import as_released
from peers import family_lists, inter_loss, intra_loss
from plain_networks import as_plain
from torch.nn import functional

from aclnet.datasets.spec.layouts import get_layout
from aclnet.losses.contrast import AffinityContrast
from aclnet.losses.families import ConfusionCounter, Families, FamilySettings
from aclnet.models.aclnet import ACLNet
from aclnet.models.choices import preset_widths
from aclnet.models.folding import fold_batch_norms
from aclnet.models.registry import BASELINES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aclnet.models.classifier import Classifier

_BATCH, _CLASSES, _MEMORY = 64, 120, 1024
_FAMILY = 10


def rows(rounds: int) -> Iterator[Row]:
    """All rows, with as many threads as torch is given."""
    yield _losses(rounds)
    yield _families(rounds)
    yield from _network(rounds)
    yield from _baselines(rounds)


def _losses(rounds: int) -> Row:
    """Both terms forward and backward, from features to their gradient, families in force."""
    torch.manual_seed(0)
    width = 625
    contrast = AffinityContrast(width, _CLASSES, _MEMORY)
    contrast.begin_epoch(50, 100)
    feature = torch.randn(_BATCH, width)
    labels = torch.randint(_CLASSES, (_BATCH,))
    predicted = torch.where(torch.rand(_BATCH) < 0.5, labels, (labels + 1) % _CLASSES)
    logits = functional.one_hot(predicted, _CLASSES).float()
    keys = torch.arange(_BATCH)
    for turn in range(-(-_MEMORY // _BATCH) + 40):
        contrast.observe(feature.roll(turn, 0), logits, labels, keys + turn * _BATCH)
    contrast.end_epoch()
    contrast.begin_epoch(51, 100)

    def ours() -> None:
        x = feature.clone().requires_grad_()
        contrast.observe(x.detach(), logits, labels, keys)
        contrast(x).total.backward()

    families = [[(c + n) % _CLASSES for n in range(1, _FAMILY + 1)] for c in range(_CLASSES)]
    memory_labels = torch.randint(_CLASSES, (_MEMORY,))
    memory_labels[-_BATCH:] = labels

    def peer() -> None:
        x = feature.clone().requires_grad_()
        z = contrast.inter_projection(x)
        u = functional.normalize(contrast.intra_projection(x), dim=1)
        memory = torch.cat([contrast.memory[_BATCH:], u])
        inter = inter_loss(z, labels, contrast.prototypes, families, [0.1] * _CLASSES)
        (inter + intra_loss(u, labels, memory, memory_labels, 0.1)).backward()

    theirs, own = (1000 * t for t in alternate([peer, ours], rounds))
    what = f"both losses, forward and backward, B {_BATCH}, C {_CLASSES}, memory {_MEMORY}, ms"
    return Row(what, f"{theirs:.0f}", f"{own:.1f}", theirs / own, "6")


def _families(rounds: int) -> Row:
    C = 400
    torch.manual_seed(0)
    counts = torch.poisson(torch.full((C, C), 0.1)).fill_diagonal_(0)
    settings = FamilySettings()
    counter, families = ConfusionCounter(C, settings), Families(C, settings)
    labels, predicted = counts.nonzero().T
    counter.add(functional.one_hot(predicted, C).float(), labels)
    theirs, own = (
        1000 * t
        for t in alternate(
            [lambda: family_lists(counts[:40, :40]), lambda: families.rebuild(counter)], rounds
        )
    )
    # cost grows with the pairs of classes, each with ten neighbours: 40 classes are 1/100 of 400
    theirs *= (C / 40) ** 2
    what = f"rebuilding the families, C = {C}, ms (peer: from 40 classes, in proportion to pairs)"
    return Row(what, f"{theirs:,.0f}", f"{own:.1f}", theirs / own, "10")


def _network(rounds: int) -> Iterator[Row]:
    for title, size, joints, classes, batch, two in (
        ("paper size, NTU's mix", "paper", 25, 60, 10, 2),
        ("small, one person", "small", 20, 27, 16, 0),
    ):
        torch.manual_seed(0)
        ours = ACLNet(
            num_joints=joints, num_classes=classes, base_channels=preset_widths("aclnet")[size]
        )
        released = as_released(copy.deepcopy(ours))
        persons = torch.tensor([2] * two + [1] * (batch - two))
        owner = torch.arange(batch).repeat_interleave(persons)
        tracks = torch.randn(len(owner), 100, joints, 3)
        labels = torch.arange(batch) % classes
        steps = [_step(m.train(), tracks, owner, labels) for m in (released, ours)]
        theirs, own = alternate(steps, rounds)
        what = f"training step, {title}, batch {batch}, 100 frames, s"
        yield Row(what, f"{theirs:.2f}", f"{own:.2f}", theirs / own, "2x")
        passes = [_inference(released.eval(), tracks, owner, batch, pad=True)]
        folded = fold_batch_norms(ours)
        passes.append(_inference(folded, tracks, owner, batch, pad=False))
        theirs, own = alternate(passes, rounds)
        what = f"inference, {title}, batch {batch}, s"
        yield Row(what, f"{theirs:.2f}", f"{own:.2f}", theirs / own, "2.5x")


def _baselines(rounds: int) -> Iterator[Row]:
    """Small networks, NTU's mix; the plain way pads every sample to two persons, as published."""
    classes, batch, two = 60, 10, 2
    owner = torch.arange(batch).repeat_interleave(torch.tensor([2] * two + [1] * (batch - two)))
    tracks, labels = torch.randn(len(owner), 100, 25, 3), torch.arange(batch)
    for name, network in BASELINES.items():
        torch.manual_seed(0)
        plain, ours = (
            network(
                get_layout("nturgb+d"),
                num_classes=classes,
                base_channels=preset_widths(name)["small"],
                persons=persons,
            )
            for persons in ("padded", "present")
        )
        as_plain(plain)
        steps = [_step(m.train(), tracks, owner, labels) for m in (plain, ours)]
        theirs, own = alternate(steps, rounds)
        what = f"training step, {name}, small, NTU's mix, batch {batch}, 100 frames, s"
        yield Row(what, f"{theirs:.2f}", f"{own:.2f}", theirs / own, "measured")
        passes = [
            _inference(plain.eval(), tracks, owner, batch, pad=True),
            _inference(fold_batch_norms(ours), tracks, owner, batch, pad=False),
        ]
        theirs, own = alternate(passes, rounds)
        what = f"inference, {name}, small, NTU's mix, batch {batch}, s"
        yield Row(what, f"{theirs:.2f}", f"{own:.2f}", theirs / own, "measured")


def _step(
    model: Classifier, tracks: torch.Tensor, owner: torch.Tensor, labels: torch.Tensor
) -> Callable[[], None]:
    def run() -> None:
        output = model(tracks, owner, len(labels))
        loss = functional.cross_entropy(output.logits, labels) + output.feature.square().mean()
        loss.backward()
        model.zero_grad()

    return run


def _inference(
    model: Classifier, tracks: torch.Tensor, owner: torch.Tensor, batch: int, *, pad: bool
) -> Callable[[], None]:
    """A forward pass; with `pad` every sample goes through the network as two tracks."""
    if pad:
        second = torch.arange(len(owner)) - torch.searchsorted(owner, owner)
        pairs = tracks.new_zeros(batch, 2, *tracks.shape[1:])
        pairs[owner, second] = tracks
        tracks, owner = pairs.flatten(0, 1), torch.arange(batch).repeat_interleave(2)

    @torch.inference_mode()
    def run() -> None:
        model(tracks, owner, batch)

    return run
