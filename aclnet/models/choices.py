"""Names and base widths of the networks.

A module of its own without further imports: the command line reads it whenever it starts.
"""

from __future__ import annotations

from typing import Literal

ModelName = Literal["aclnet", "stgcn", "stgcnpp", "agcn", "aagcn", "ctrgcn", "msg3d"]
"""Networks of `aclnet.models.registry`."""
Feature = Literal["topology", "pooled"]
"""Input of the contrastive losses: the topology of the last block, or the pooled activations."""
Persons = Literal["present", "padded"]
"""Persons of a sample that count: those who are there, or always two, zeros if absent."""

PAPER_WIDTH: dict[ModelName, int] = {
    "aclnet": 96,
    "stgcn": 64,
    "stgcnpp": 64,
    "agcn": 64,
    "aagcn": 64,
    "ctrgcn": 64,
    "msg3d": 96,
}
"""Width of the first block in the publication of each network."""
WINDOW_SCALES, MAX_WINDOW_SCALES = 6, 13
"""Scales of MS-G3D's graph convolutions over windows: the published number, and the largest."""
_SMALLER_WIDTHS = {"small": 32, "tiny": 16}


def preset_widths(name: ModelName) -> dict[str, int]:
    """Widths of the first block by the name of the size."""
    return {"paper": PAPER_WIDTH[name], **_SMALLER_WIDTHS}
