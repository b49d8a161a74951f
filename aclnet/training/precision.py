"""Arithmetic of a training: mixed precision, TF32 and deterministic operations."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch
from lightning_fabric.plugins.precision import MixedPrecision

if TYPE_CHECKING:
    from aclnet.runs.config import OptimConfig


def precision_plugins(optim: OptimConfig, accelerator: str) -> tuple[Any, ...]:
    """Fabric's plugins for the precision; none for float32."""
    if optim.precision == "32-true":
        return ()
    return (MixedKeepingInputs(optim.precision, accelerator),)


class MixedKeepingInputs(MixedPrecision):
    """Mixed precision by autocast that does not change the inputs of the network.

    Fabric would round all inputs to the lower precision. The steps of bfloat16 are 4 mm between
    half a metre and a metre; only after their normalisation may coordinates be rounded.
    """

    def convert_input(self, data: Any) -> Any:  # noqa: ANN401 - whatever a module takes
        return data


def set_arithmetic(optim: OptimConfig, accelerator: str) -> None:
    """Sets how this process multiplies in float32, and whether its operations are deterministic.

    Both are settings of torch for the whole process. On a CPU they change nothing.
    """
    if accelerator != "cuda":
        return
    # Deterministic operations need it before the first product of the process.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cuda.matmul.allow_tf32 = optim.matmul == "tf32"
    if optim.deterministic:
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.use_deterministic_algorithms(mode=True)
        torch.backends.cudnn.benchmark = False


def arithmetic(optim: OptimConfig, accelerator: str) -> str:
    """The arithmetic of a training on a device, in words."""
    if optim.precision != "32-true":
        return optim.precision
    if accelerator != "cuda":
        return "float32"
    products = "TF32" if torch.backends.cuda.matmul.allow_tf32 else "float32"
    convolutions = "TF32" if torch.backends.cudnn.allow_tf32 else "float32"
    return f"float32 (matrix products in {products}, convolutions in {convolutions})"
