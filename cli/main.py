"""The command `aclnet`: finds a subcommand's module only when it is called, to start quickly."""

from __future__ import annotations

import importlib
import signal
import sys
import threading
import warnings
from contextlib import contextmanager
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, NoReturn, TextIO

import click
from click.shell_completion import CompletionItem

from aclnet.datasets.spec import AclnetError, AclnetWarning, Stopped, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, ModuleType

GROUPS = {
    "Start": {
        "demo": "Run every step on synthetic recordings.",
    },
    "Data": {
        "datasets": "List the datasets, where to get them, and their protocols.",
        "layouts": "List the joint layouts; draw and check one.",
        "prepare": "Convert raw recordings to a normalised, chunked Zarr store.",
        "finalise": "Join stores, or the parts of a preparation, into one set.",
        "info": "Show what a store holds.",
        "verify": "Check every byte of a store.",
        "view": "Draw the skeletons of a recording.",
        "synth": "Write synthetic recordings in the raw format of a dataset.",
    },
    "Training": {
        "train": "Train a network on a store, or resume its training.",
        "sweep": "Train a grid of settings with several seeds and compare them.",
        "recipes": "List the training recipes and their published results.",
        "settings": "List the settings that recipes and --set change.",
        "bench": "Measure reading, input and training speed on this machine.",
    },
    "Testing": {
        "evaluate": "Test a trained run: scores, accuracy, confusion matrix.",
        "families": "Show the motion families of a run and the confusions behind them.",
        "occlusion-bench": "Test runs with joints or frames missing.",
        "ensemble": "Fuse the scores of several runs and show the gain.",
        "compare": "Compare runs on the same samples.",
        "report": "Write a page with the results of runs, and figures for papers.",
    },
    "Use": {
        "predict": "Predict the classes of new recordings, or segments of long ones.",
        "identify": "Identify people in a gallery.",
    },
    "Exchange": {
        "import-checkpoint": "Make a run from a published checkpoint.",
        "export": "Write a store or a network for other code.",
        "card": "Write the card of a store or a run.",
        "push": "Upload a store or a run to the Hugging Face Hub.",
        "pull": "Download a store or a run from the Hugging Face Hub.",
    },
}
"""Commands and their summaries, under the headings of `aclnet --help`."""
COMMANDS = {name: what for group in GROUPS.values() for name, what in group.items()}

_NO_THREAD = "can't start new thread"
"""Text of Python's RuntimeError if a thread has no memory."""
_NO_MEMORY = "not enough memory; close other programs"
_STOPPED = "stopped; run the same command again to resume"


class LazyGroup(click.Group):
    """Lists commands from a table and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"aclnet.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"there is no command {name!r}{did_you_mean(name, COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, COMMANDS))  # the summaries of all groups in one column
        for heading, group in GROUPS.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), what) for name, what in group.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands from the table, without importing them, and options."""
        names = [name for name in COMMANDS if name.startswith(incomplete)]
        found = [CompletionItem(name, help=COMMANDS[name]) for name in names]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "-V", "--version", package_name="aclnet")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Recognise actions and people from skeletons: prepare stores, train, test and use networks."""
    click.get_current_context().obj = {"debug": debug}


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line; a user's mistake ends in one message and exit status 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    try:
        with warnings.catch_warnings(), _stopped_by_signals():
            warnings.showwarning = _show_warning
            cli.main(arguments, prog_name="aclnet", standalone_mode=False)
    except click.ClickException as error:
        error.message = _console().visible(error.message)  # type: ignore[misc]  # final
        error.show()
        _end(arguments, "usage", error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt) as error:
        stop = error.__cause__ if isinstance(error, click.Abort) else error
        status = 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)
        click.echo(_STOPPED, err=True)
        _end(arguments, "stopped", _STOPPED, status)
    except (MemoryError, RuntimeError) as error:
        if debug or not (isinstance(error, MemoryError) or str(error) == _NO_THREAD):
            raise
        click.echo(f"error: {_NO_MEMORY}", err=True)
        _end(arguments, "memory", _NO_MEMORY, 2)
    except (AclnetError, OSError) as error:  # such as a full disk, or a folder without permission
        if debug:
            raise
        _console().echo(f"error: {error}", err=True)
        _end(arguments, "error", str(error), 2)


def _end(arguments: list[str], kind: str, message: str, status: int) -> NoReturn:
    """Ends the process after a message; with `--json`, stdout has the message too."""
    options = [*takewhile(lambda argument: argument != "--", arguments)]
    if {"--json", "--format=json"} & {*options} or ("--format", "json") in pairwise(options):
        results = importlib.import_module("aclnet.cli.results")
        error = {"kind": kind, "message": message, "exit_status": status}
        results.print_json("error/1", {"error": error})
    sys.exit(status)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Inside this block, signals that end a process end the command like Ctrl-C, without leftovers.

    Batch systems send SIGTERM, or SIGUSR1 some time before; a terminal that closes sends SIGHUP.
    """
    names = ("SIGTERM", "SIGHUP", "SIGUSR1")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # Python does not let other threads handle signals
    # `nohup` ignores SIGHUP, and a program that calls this one may have its own handlers
    answered = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in answered:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in answered:
            signal.signal(number, signal.SIG_DFL)


def _stop(number: int, _: FrameType | None) -> None:
    raise Stopped(number)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Prints a warning: aclnet's own warnings in one line, others as Python does."""
    if issubclass(category, AclnetWarning):
        click.echo(f"warning: {_console().visible(str(message))}", err=True)
    else:
        text = warnings.formatwarning(message, category, filename, lineno, line)
        click.echo(text, file=file, err=True, nl=False)


def _console() -> ModuleType:
    """The module, imported only for output, because it imports rich."""
    return importlib.import_module("aclnet.cli.console")
