"""Training with torch.compile. Compiling itself takes minutes on a CPU, and is stood in for."""

from __future__ import annotations

from functools import partialmethod

import pytest
import torch
from torch import nn

from aclnet.datasets.errors import AclnetError


def test_only_training_is_compiled_and_checkpoints_keep_their_names(
    quick_run, train_quickly, assert_same_run, tmp_path, monkeypatch
):
    calls = []

    def compile_nothing(module: nn.Module) -> None:
        def call(*inputs):
            assert module.training
            calls.append(module)
            return module._call_impl(*inputs)

        module._compiled_call_impl = call

    monkeypatch.setattr(nn.Module, "compile", compile_nothing)
    run = train_quickly(tmp_path / "run", "optim.compile=true")
    assert calls
    assert_same_run(run, quick_run)


def test_a_compiler_that_fails_is_told_with_its_remedy(train_quickly, tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError("there is no compiler")

    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend=fail))
    torch.compiler.reset()
    with pytest.raises(AclnetError, match=r"there is no compiler.*optim\.compile=false"):
        train_quickly(tmp_path / "run", "optim.compile=true")
