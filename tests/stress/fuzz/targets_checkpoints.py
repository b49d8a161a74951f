"""Targets: checkpoints in the form of the released code."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.stress.fuzz.cases import Case
from tests.stress.fuzz.files import HOSTILE, put, repaired_zip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def saved(state: object) -> bytes:
    """A file that torch writes."""
    import torch

    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def tensors() -> dict[str, Any]:
    """Some of a network's tensors."""
    import torch

    shapes = {
        "backbone.gcn.0.gcn.A": (1, 2, 2),
        "backbone.data_bn.weight": (6,),
        "cls_head.fc_cls.weight": (2, 8),
    }
    return {name: torch.ones(shape) for name, shape in shapes.items()}


def _official(folder: Path) -> Case:
    from aclnet.exchange.official import read_official

    file = folder / "model.pth"

    def parse(data: bytes) -> None:
        put(file, repaired_zip(data))
        read_official(file)

    whole = {"meta": {"a": np.float64(1)}, "state_dict": tensors()}
    return Case([saved(whole), saved({"state_dict": {}}), *HOSTILE], parse)


def _official_values(folder: Path) -> Case:
    """A checkpoint with one tensor replaced.

    The first two bytes of an input choose the tensor, the third its change; the others are its new
    name.
    """
    import torch

    from aclnet.exchange.official import read_official, write_official
    from aclnet.models.aclnet import ACLNet

    file = folder / "model.pth"
    network = ACLNet(num_joints=2, num_classes=2, in_channels=3, base_channels=8)
    values = {f"model.{name}": value for name, value in network.state_dict().items()}
    write_official(file, values, {"epoch": 1, "lr": 0.1})
    whole = torch.load(file, weights_only=True)["state_dict"]
    names = list(whole)
    changes: list[Callable[[Any], Any]] = [
        lambda tensor: tensor.bool(),
        lambda tensor: tensor.to(torch.complex64),
        lambda tensor: tensor.to(torch.float8_e4m3fn),
        lambda tensor: tensor.double().requires_grad_(),
        lambda tensor: tensor.reshape(-1),
        lambda tensor: tensor[None],
        lambda tensor: tensor[:0] if tensor.ndim else tensor,
        lambda tensor: tensor.to_sparse() if tensor.ndim else tensor,
        lambda tensor: tensor.expand(3, *tensor.shape),
        lambda tensor: torch.nn.Parameter(tensor.float()),
        lambda tensor: tensor.new_empty(0).expand(1000, 0),
        lambda _: None,
        lambda _: {"a": 1},
        lambda tensor: tensor.to("meta"),
        lambda tensor: torch.full_like(tensor, -1),
    ]

    def parse(data: bytes) -> None:
        state = dict(whole)
        if len(data) > 2:
            name = names[(data[0] * 256 + data[1]) % len(names)]
            changed = changes[data[2] % len(changes)](state[name])
            if len(data) > 3:
                del state[name]
                name = data[3:].decode("latin1")
            state[name] = changed
        put(file, saved({"state_dict": state}))
        read_official(file)

    texts = (b"", b"backbone.gcn.0.gcn.A", b"cls_head.fc_cls.weight", b"backbone.data_bn.weight")
    seeds = [bytes([0, n, n]) + texts[n % 4] for n in range(len(changes))]
    return Case([b"", *seeds], parse)


TARGETS: dict[str, Callable[[Path], Case]] = {
    "official": _official,
    "official-values": _official_values,
}
"""Functions that make the case of each target in an empty folder."""
