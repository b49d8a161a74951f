"""The command `aclnet`: finds a subcommand's module only when it is called, to start quickly."""

from __future__ import annotations

import importlib
import signal
import sys
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import click

from aclnet.datasets.spec import AclnetError, AclnetWarning, Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, ModuleType

COMMANDS = {
    "demo": "Made-up people in the true raw format, through the whole chain.",
    "datasets": "What can be prepared, where to get it, which protocols it has.",
    "layouts": "Joint layouts: list them, draw one, check one of your own.",
    "prepare": "Raw recordings to a normalised, chunked Zarr store.",
    "info": "What a store holds.",
    "verify": "Read every byte of a store and say what is damaged.",
    "train": "Train a network on a store; goes on where it was stopped.",
    "sweep": "Train a grid of settings with several seeds and compare them.",
    "recipes": "Settings to train with, and what was published with them.",
    "evaluate": "Scores, accuracies and confusion of a trained run.",
    "identify": "Who of a gallery is it?",
    "families": "The motion families a run found, and the confusions behind them.",
    "occlusion-bench": "How a run breaks when body parts are missing.",
    "ensemble": "Fuse the scores of several runs, and say what it gains.",
    "compare": "Which of two runs is better, sample by sample.",
    "import-checkpoint": "A checkpoint of the released code, as a run.",
    "export": "A store for other training code, or a run's network.",
    "bench": "What this machine reads, feeds and trains of a store per second.",
    "synth": "Write made-up recordings in a dataset's raw format.",
}


_NO_THREAD = "can't start new thread"
"""Text of the RuntimeError of Python where a thread has no room."""


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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="aclnet")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Skeleton sequences: raw recordings to Zarr stores to trained, honestly tested networks."""
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
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt) as error:
        click.echo("stopped; the same command goes on where it stopped", err=True)
        stop = error.__cause__ if isinstance(error, click.Abort) else error
        sys.exit(128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT))
    except (MemoryError, RuntimeError) as error:
        if debug or not (isinstance(error, MemoryError) or str(error) == _NO_THREAD):
            raise
        click.echo("error: memory does not suffice; close other programs", err=True)
        sys.exit(2)
    except (AclnetError, OSError) as error:  # a full disk, a folder that may not be read
        if debug:
            raise
        _console().echo(f"error: {error}", err=True)
        sys.exit(2)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Inside, what ends a process ends the command as Ctrl-C does: nothing is left lying about.

    Batch systems send SIGTERM, or SIGUSR1 some time before; a terminal that closes sends SIGHUP.
    """
    names = ("SIGTERM", "SIGHUP", "SIGUSR1")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # Python lets no other thread answer signals
    # `nohup` has SIGHUP ignored, a program that calls this one may have answers of its own
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
    """Prints a warning: one of this project in a line, others as Python does."""
    if issubclass(category, AclnetWarning):
        click.echo(f"warning: {_console().visible(str(message))}", err=True)
    else:
        text = warnings.formatwarning(message, category, filename, lineno, line)
        click.echo(text, file=file, err=True, nl=False)


def _console() -> ModuleType:
    """The module, imported only where something is to be said: it takes rich."""
    return importlib.import_module("aclnet.cli.console")
