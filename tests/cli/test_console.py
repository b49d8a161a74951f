"""What leaves for the terminal: control characters out of files are shown, never sent."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.cli import console
from aclnet.cli.console import echo, print_json, progress_bars, screen, table, visible
from aclnet.cli.main import cli, main
from aclnet.cli.monitors import JobsScreen
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


def test_tables(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    table(HOSTILE, [HOSTILE, "value"], [[HOSTILE, 1], ["other", HOSTILE]])
    out = capsys.readouterr().out
    assert is_harmless(out)
    assert out.count(SHOWN) == 4
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
    print_json({"name": HOSTILE})
    out = capsys.readouterr().out
    assert is_harmless(out)
    assert out.isascii()
    assert json.loads(out) == {"name": HOSTILE}
    assert console.visible(out) == out
