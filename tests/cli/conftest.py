"""Commands run in this process, on folders that they prepare, and one trained run to read."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

import aclnet as package
from aclnet.cli.main import main
from tests.cli.documents import check_json

if TYPE_CHECKING:
    from collections.abc import Callable
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
    """The result of a command."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """Remarks and errors, wherever lines were broken."""
        return " ".join(self.err.split())


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="session")
def aclnet():
    """Runs a command line, and checks all that it prints as JSON by its schema.

    With `terminal`, stdout is a terminal of 80 columns without colours.
    """

    def run(*arguments: object, terminal: bool = False) -> Answer:
        code, out, err = 0, _Terminal() if terminal else io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            if terminal:
                patch.setenv("TERM", "dumb")
            try:
                main([str(argument) for argument in arguments])
            except SystemExit as stop:
                code = int(stop.code or 0)
        answer = Answer(code, out.getvalue(), err.getvalue())
        if "--json" in arguments:
            check_json(answer.out)
        return answer

    return run


@pytest.fixture(scope="session")
def quick_arguments() -> list[str]:
    """Settings of a training of seconds."""
    return QUICK


@pytest.fixture(scope="session")
def trained_once(made_up_store, aclnet, tmp_path_factory, files_below):
    """A run that the command trained, and what it answered: `(Path, Answer)`.

    It is for fixtures that copy it, and for tests that only read it; `trained` is for all others.
    """
    folder = tmp_path_factory.mktemp("trained") / "run"
    answer = aclnet("train", made_up_store, "--out", folder, *QUICK, terminal=True)
    files = files_below(folder)
    yield folder, answer
    assert files_below(folder) == files, "a test wrote into the run"


@pytest.fixture
def trained(trained_once, tmp_path_factory) -> tuple[Path, Answer]:
    """A copy of the run that a test may change, and what the training answered."""
    folder, answer = trained_once
    return shutil.copytree(folder, tmp_path_factory.mktemp("copy") / "run"), answer


@pytest.fixture
def stored(aclnet, tmp_path_factory) -> Callable[..., Any]:
    """Prepares a folder and opens the store."""

    def prepare(raw: Path, *options: object):
        out = tmp_path_factory.mktemp("store") / "s.zarr"
        answer = aclnet("prepare", "custom", "--raw", raw, "--out", out, *options)
        assert answer.code == 0, answer.err
        return package.open_store(out)

    return prepare


@pytest.fixture
def problems(aclnet) -> Callable[..., dict[str, str]]:
    """The problems that --check reports for each file."""

    def check(raw: Path, *options: object) -> dict[str, str]:
        answer = aclnet("prepare", "custom", "--raw", raw, "--check", "--json", *options)
        assert answer.code in (1, 2)
        return {p["path"]: p["text"] for p in json.loads(answer.out)["problems"]}

    return check
