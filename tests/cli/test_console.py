"""Output to the terminal: control characters from files are shown, never sent."""

from __future__ import annotations

import io
import json
import sys
from types import SimpleNamespace

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.cli import console
from aclnet.cli.console import echo, progress_bars, screen, visible
from aclnet.cli.main import cli, main
from aclnet.cli.monitors import JobsScreen
from aclnet.cli.results import Table, emit, print_json
from aclnet.datasets.spec import AclnetError
from aclnet.runs.config import build_config

HOSTILE = "walk\x1b]0;title\x07\x1b[2J\x9b31m\x7f\r\u202e\udcff[bold]"
SHOWN = r"walk\x1b]0;title\x07\x1b[2J\x9b31m\x7f\r\u202e\udcff[bold]"


def is_harmless(text: str) -> bool:
    return all(character.isprintable() or character in "\n\t" for character in text)


@pytest.mark.parametrize("text", ["", "Gehen, 行走, идти\u3000\xa0", "a\tb\nc", r"C:\x1b"])
def test_other_text_stays_as_it_is(text):
    assert visible(text) == text


@given(st.text(st.characters(categories=["Cc", "Cs", "Zl", "Zp", "L"])))
def test_no_control_character_is_left(text):
    assert is_harmless(visible(text))
    visible(text).encode()


@pytest.mark.parametrize("form", ["table", "csv", "markdown", "latex"])
@pytest.mark.parametrize("terminal", [False, True])
def test_results(capsys, monkeypatch, form, terminal):
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    rows = [[HOSTILE, 1], ["other", HOSTILE]]
    document = {"things": [{"name": HOSTILE}, {"name": HOSTILE}], HOSTILE: HOSTILE}
    emit(form, "thing/1", document, [Table(HOSTILE, [HOSTILE, "value"], rows)])
    out = capsys.readouterr().out
    assert is_harmless(out)
    assert terminal or form == "latex" or out.count(SHOWN) == 4
    if form == "table":
        assert len({len(line) for line in out.splitlines()[1:]}) == 1  # still in columns


def test_lines_on_stdout(capsys):
    echo(HOSTILE)
    assert capsys.readouterr().out == f"{SHOWN}\n"


def test_remarks_and_progress(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(screen, "_file", written)
    monkeypatch.setattr(screen, "_width", 400)
    screen.print(HOSTILE)
    with progress_bars() as update:
        update("read", 1, 2, HOSTILE)
    assert written.getvalue().count(SHOWN) == 2
    assert is_harmless(written.getvalue())


def test_the_rate_counts_the_time_before_the_first_advance(monkeypatch):
    written, clock = io.StringIO(), [0.0]
    monkeypatch.setattr(screen, "_file", written)
    monkeypatch.setattr(screen, "get_time", lambda: clock[0])
    with progress_bars() as update:
        update("read", 20, 120)
        clock[0] = 10
        update("read", 119, 120)
        update("read", 120, 120)
    assert " 10/s" in written.getvalue()


def test_bars_of_runs(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(screen, "_file", written)
    monkeypatch.setattr(screen, "_width", 400)
    job = SimpleNamespace(title=HOSTILE, config=build_config("demo"))
    with JobsScreen(2) as shown, shown("1/1", job) as progress:
        progress.remark("done")
    assert written.getvalue().count(SHOWN) == 2
    assert is_harmless(written.getvalue())


@pytest.mark.parametrize(
    "error",
    [
        AclnetError(HOSTILE),
        OSError(HOSTILE),
        click.UsageError(HOSTILE),
        click.BadParameter(HOSTILE),
    ],
)
def test_errors(monkeypatch, capsys, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(cli, "invoke", fail)
    with pytest.raises(SystemExit):
        main(["info"])
    said = capsys.readouterr().err
    assert SHOWN in said
    assert is_harmless(said)


def test_json_is_escaped_by_json(capsys):
    print_json("thing/1", {"name": HOSTILE})
    out = capsys.readouterr().out
    assert is_harmless(out)
    assert out.isascii()
    assert json.loads(out) == {"schema": "aclnet.thing/1", "name": HOSTILE}
    assert console.visible(out) == out
