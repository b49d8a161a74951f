"""The device that a network runs on: its choice, and its memory."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from aclnet.datasets.spec import AclnetError

if TYPE_CHECKING:
    from collections.abc import Iterator

_CPU = "DefaultCPUAllocator"
"""Names the allocator in the RuntimeError that torch raises where the CPU's memory ends."""


def resolve_accelerator(accelerator: str) -> str:
    """`auto` is CUDA where there is one, else the CPU; other names stay."""
    if accelerator != "auto":
        return accelerator
    return "cuda" if torch.cuda.is_available() else "cpu"


def choose_device(accelerator: str) -> torch.device:
    """The device of an accelerator's name, or of `auto`. AclnetError on one that is not there."""
    name = resolve_accelerator(accelerator)
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise AclnetError(f"--accelerator {name}: {reason}") from None
    return device


@contextmanager
def enough_memory(remedy: str) -> Iterator[None]:
    """Inside, too little memory of the device is an AclnetError that tells `remedy`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        known = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not known and _CPU not in str(error):
            raise
        raise AclnetError(f"the memory of the device does not suffice; {remedy}") from None
