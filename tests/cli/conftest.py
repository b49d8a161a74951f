"""Commands run in this process, and one trained run for those that read it."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from aclnet.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

QUICK = [
    f"--set={setting}"
    for setting in (
        "model.size=tiny",
        "data.frames=16",
        "data.clips=2",
        "optim.epochs=2",
        "optim.batch_size=8",
        "loss.memory_rows=16",
        "loss.families.start=0",
    )
]


@dataclass(frozen=True)
class Answer:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """Remarks and errors, wherever lines were broken."""
        return " ".join(self.err.split())


@pytest.fixture(scope="session")
def aclnet():
    """Runs a command line."""

    def run(*arguments: object) -> Answer:
        code, out, err = 0, io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main([str(argument) for argument in arguments])
            except SystemExit as stop:
                code = int(stop.code or 0)
        return Answer(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def quick_arguments() -> list[str]:
    """Settings of a training of seconds."""
    return QUICK


@pytest.fixture(scope="session")
def trained(made_up_store, aclnet, tmp_path_factory) -> tuple[Path, Answer]:
    """A run that the command trained, and what it answered. Tests leave the run as it is."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    return folder, aclnet("train", made_up_store, "--out", folder, *QUICK)
