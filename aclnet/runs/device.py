"""Choice of the device that a network runs on."""

from __future__ import annotations

import torch

from aclnet.datasets.spec import AclnetError


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
