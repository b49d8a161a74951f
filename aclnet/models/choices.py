"""Names and base widths of the networks.

The module is separate and has no further imports, because the command line reads it at each start.
"""

from __future__ import annotations

from typing import Literal

ModelName = Literal["aclnet", "stgcn", "stgcnpp", "agcn", "aagcn", "ctrgcn", "msg3d"]
"""Networks of `aclnet.models.registry`."""
Feature = Literal["topology", "pooled"]
"""Input of the contrastive losses: the topology of the last block, or the pooled activations."""
Pooling = Literal["all", "joint"]
"""Activations that the last layer gets: the mean over frames and joints, or the means over the
frames of each joint."""
Persons = Literal["present", "padded"]
"""Persons of a sample: only present persons, or always two, with zeros for absent persons."""

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
_OWN_WIDTH = 64
"""Width of the size `paper` for a network of the user."""
WINDOW_SCALES, MAX_WINDOW_SCALES = 6, 13
"""Scales of MS-G3D's graph convolutions over windows: the published number, and the largest."""
_SMALLER_WIDTHS = {"small": 32, "tiny": 16}


def is_own(name: str) -> bool:
    """True if `name` is a network of the user, not a shipped one."""
    return name not in PAPER_WIDTH


def preset_widths(name: str) -> dict[str, int]:
    """Widths of the first block by the name of the size."""
    paper = {**PAPER_WIDTH}.get(name, _OWN_WIDTH)  # type: ignore[call-overload]
    return {"paper": paper, **_SMALLER_WIDTHS}
