"""Cost of a training step, ours against the released code's way: `python benchmarks/train_step.py`.

Both are measured in turn in one process, with medians; only the ratio is comparable. NTU's mix has
80 % samples of one person and 20 % of two; UTD-MHAD has one person in every sample.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch
from official import as_released
from torch.nn import functional

from aclnet.models.aclnet import ACLNet
from aclnet.models.choices import preset_widths


def build(base: int, joints: int, classes: int, *, released: bool) -> ACLNet:
    torch.manual_seed(0)
    model = ACLNet(num_joints=joints, num_classes=classes, base_channels=base)
    return (as_released(model) if released else model).train()


def seconds(
    model: ACLNet, tracks: torch.Tensor, owner: torch.Tensor, labels: torch.Tensor
) -> float:
    start = time.perf_counter()
    output = model(tracks, owner, len(labels))
    loss = functional.cross_entropy(output.logits, labels) + output.feature.square().mean()
    loss.backward()
    model.zero_grad()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    rounds, batch = (getattr(parser.parse_args(), n) for n in ("rounds", "batch"))
    print(f"{torch.get_num_threads()} threads, batch {batch}, 100 frames, medians of {rounds}")
    for title, size, joints, classes, two in (
        ("paper, NTU's mix", "paper", 25, 60, batch // 5),
        ("small, UTD-MHAD", "small", 20, 27, 0),
        ("tiny, UTD-MHAD", "tiny", 20, 27, 0),
    ):
        persons = torch.tensor([2] * two + [1] * (batch - two))
        owner = torch.arange(batch).repeat_interleave(persons)
        tracks = torch.randn(len(owner), 100, joints, 3)
        labels = torch.arange(batch) % classes
        ours, theirs = (
            build(preset_widths("aclnet")[size], joints, classes, released=released)
            for released in (False, True)
        )
        times = [
            (seconds(theirs, tracks, owner, labels), seconds(ours, tracks, owner, labels))
            for _ in range(rounds + 1)
        ][1:]
        released, own = (median(column) for column in zip(*times, strict=True))
        ratio = median(a / b for a, b in times)
        print(f"{title:20s} released {released:6.2f} s, ours {own:6.2f} s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
