"""docs/tutorial.md: its commands run in order, and print what the page quotes."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from aclnet.datasets.registry import get_dataset
from tests.cli.conftest import QUICK

CLASSES = get_dataset("utd-mhad").class_names
PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
STEP = re.compile(r"^```bash\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)


def beginnings(text: str) -> list[str]:
    """The first words of each line, up to a number: the rest depends on the data or the machine."""
    lines = [re.split(r"\d", line.strip("│┃ "))[0].rstrip("│┃ -") for line in text.splitlines()]
    return [" ".join(line.split()) for line in lines if line.strip("│┃ .")]


def accuracies(text: str) -> list[float]:
    """The top-1 accuracies of tables, in percent."""
    return [float(value) for value in re.findall(r"top-1[ │]+([\d.]+) %", text)]


def follow(run, *train: str) -> str:
    """Runs the commands of the page, `aclnet train` with further arguments; what they print."""
    steps = STEP.findall(PAGE.read_text("utf-8"))
    assert len(steps) >= 5
    everything = ""
    for commands, quoted in steps:
        printed = ""
        for command in commands.splitlines():
            program, *arguments = shlex.split(command, comments=True)
            assert program == "aclnet"
            answer = run(*arguments, *(train if arguments[0] == "train" else ()))
            assert answer.code == 0, answer.err
            printed += answer.err + answer.out
        said = "\n".join(beginnings(printed))
        for line in filter(None, beginnings(quoted)):
            assert line in said or line in CLASSES, f"{commands}{line!r} is not in\n{printed}"
        everything += printed
    return everything


@pytest.mark.slow
def test_its_commands_run_on_synthetic_recordings(aclnet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ("--sequences", 60, "--subjects", 4, "--seed", 1)  # with the recording to predict
    assert aclnet("synth", "utd-mhad", "utd_mhad", *options).code == 0
    follow(aclnet, *QUICK)


@pytest.mark.slow
@pytest.mark.skipif(
    "ACLNET_TUTORIAL" not in os.environ, reason="takes five minutes; ACLNET_TUTORIAL=1 runs it"
)
def test_its_accuracy_is_that_of_the_real_recordings(aclnet, real_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "utd_mhad").mkdir()
    (tmp_path / "utd_mhad" / "Skeleton").symlink_to(real_data / "utd_mhad")
    found = accuracies(follow(aclnet))
    quoted = accuracies(PAGE.read_text("utf-8"))
    assert found[0] == pytest.approx(quoted[0], abs=10)  # other threads round differently
