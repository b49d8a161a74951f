"""The device that a network runs on: its choice, and its memory."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from aclnet.datasets.spec import AclnetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aclnet.runs.choices import Precision

_CPU = "DefaultCPUAllocator"
"""Name of the allocator in the RuntimeError that torch raises when CPU memory runs out."""


def resolve_accelerator(accelerator: str) -> str:
    """CUDA for `gpu`, and for `auto` if there is a device, else the CPU; others are unchanged.

    Raises AclnetError for `mps`, which lacks a type of number that is needed.
    """
    if accelerator == "mps":
        raise AclnetError(
            "--accelerator mps: Apple's GPUs have no float64, which the augmentation and the sums "
            "of an epoch need; use --accelerator cpu"
        )
    if accelerator == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return "cuda" if accelerator == "gpu" else accelerator


def default_precision(accelerator: str) -> Precision:
    """`bf16-mixed` if the device has instructions for bfloat16, else `32-true`.

    bfloat16 is not faster on the CPUs that were measured (docs/performance.md).
    """
    if resolve_accelerator(accelerator) != "cuda" or not torch.cuda.is_available():
        return "32-true"
    has = torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if has else "32-true"


def choose_device(accelerator: str) -> torch.device:
    """The device of an accelerator's name, or of `auto`.

    Raises AclnetError if it does not exist.
    """
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
    """Raises AclnetError with `remedy` if the device has too little memory in the block."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        known = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not known and _CPU not in str(error):
            raise
        raise AclnetError(f"the device does not have enough memory; {remedy}") from None
