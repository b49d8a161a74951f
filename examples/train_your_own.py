"""Trains a ten-line model on any store: `python examples/train_your_own.py STORE [SPLIT]`."""

import sys

import torch
from torch import nn

import aclnet

store = aclnet.open_store(sys.argv[1])
split = sys.argv[2] if len(sys.argv) > 2 else f"{store.protocols[0]}/train"
stream = store.stream(split, batch_size=32, sampling=aclnet.UniformSampling(32), seed=1)


class TenLines(nn.Module):
    """Frames as channels of a small convolution over time, mean over time and persons."""

    def __init__(self, joints: int, classes: int) -> None:
        super().__init__()
        self.convolve = nn.Sequential(
            nn.Conv1d(3 * joints, 128, 5, padding=2), nn.BatchNorm1d(128), nn.ReLU()
        )
        self.classify = nn.Linear(128, classes)

    def forward(self, x: torch.Tensor, owner: torch.Tensor, samples: int) -> torch.Tensor:
        tracks = self.convolve(x.flatten(2).mT).mean(2)
        total = tracks.new_zeros(samples, 128).index_add(0, owner, tracks)
        return self.classify(total / owner.bincount(minlength=samples)[:, None])


torch.manual_seed(0)
model = TenLines(store.layout.num_joints, len(store.class_names))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for epoch in range(10):
    hits = seen = 0
    for batch in aclnet.StreamDataset(stream):
        logits = model(batch["keypoint"], batch["owner"], len(batch["label"]))
        loss = nn.functional.cross_entropy(logits, batch["label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        hits += (logits.argmax(1) == batch["label"]).sum().item()
        seen += len(batch["label"])
    print(f"epoch {epoch + 1}: loss {loss.item():.3f}, training accuracy {hits / seen:.1%}")
