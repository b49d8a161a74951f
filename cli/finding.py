"""Defaults of commands: the newest store or run, and the dataset's recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aclnet.cli.console import screen
from aclnet.cli.options import NAMED_MODEL

if TYPE_CHECKING:
    from aclnet.datasets.store.paths import StorePath
    from aclnet.datasets.store.store import Store
    from aclnet.runs.run import Run


def find_store(*paths: StorePath | None) -> Store:
    """The store at a path, or several as one; None or no path: the newest below this folder.

    Raises AclnetError if there is none, or if several do not fit together.
    """
    from aclnet.datasets.discovery import newest_store
    from aclnet.datasets.opening import open_store

    return open_store(*([path for path in paths if path] or [newest_store(Path())]))


def find_run(path: Path | None) -> Run:
    """The run at `path`, or the newest below this folder; raises AclnetError if there is none."""
    from aclnet.datasets.discovery import newest_run
    from aclnet.runs.run import Run

    return with_own_model(Run(path or newest_run(Path())))


def with_own_model(run: Run) -> Run:
    """The run, with the network that the user named with `--model` (`options.own_model`).

    Prints a remark if the code has changed since the training.
    """
    from aclnet.runs.network import name_own_model

    named = click.get_current_context().meta.get(NAMED_MODEL)
    if named:
        remark = name_own_model(run, named)
        if remark:
            screen.print(remark)
    return run


def find_run_and_store(run: Path | None, store: StorePath | None) -> tuple[Run, Store]:
    """A run from `find_run`, and the store to score it on.

    Prints a remark if the run is not finished. Raises AclnetError if the run or the store does not
    exist.
    """
    from aclnet.datasets.opening import open_store

    opened = find_run(run)
    if not opened.finished:
        screen.print(
            f"run {opened.path} is not finished: its last checkpoint is used; `aclnet train` "
            "resumes it"
        )
    return opened, open_store(store) if store else opened.open_store()


def choose_recipe(recipe: str | None, store: Store, protocol: str | None = None) -> str:
    """`recipe` in its form for the store's joints, or the recipe of the store's dataset.

    The latter is for `protocol`; None: the store's first.
    """
    from aclnet.runs.recipes import recipe_for

    chosen = recipe_for(store, recipe, protocol)
    if recipe and chosen != recipe:
        screen.print(f"recipe {chosen} instead of {recipe}: joints of {store.path} are 2-D")
    return chosen


def with_protocol(settings: tuple[str, ...], protocol: str | None) -> list[str]:
    """The settings, including that of `--protocol`, which other settings override."""
    return [*([f"data.protocol={protocol}"] if protocol else []), *settings]
