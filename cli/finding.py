"""Defaults of commands: the newest store or run, and the dataset's recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aclnet.cli.console import screen

if TYPE_CHECKING:
    from aclnet.datasets.store.store import Store
    from aclnet.runs.run import Run


def find_store(path: Path | None) -> Store:
    """The store at `path`, or the newest below this folder. AclnetError where there is none."""
    from aclnet.datasets.discovery import newest_store
    from aclnet.datasets.store.store import Store

    return Store(path or newest_store(Path()))


def find_run(path: Path | None) -> Run:
    """The run at `path`, or the newest below this folder. AclnetError where there is none."""
    from aclnet.datasets.discovery import newest_run
    from aclnet.runs.run import Run

    return Run(path or newest_run(Path()))


def find_run_and_store(run: Path | None, store: Path | None) -> tuple[Run, Store]:
    """A run as of `find_run`, and the store to score it on.

    Says so where the run has not been trained to its end. AclnetError where one is not there.
    """
    from aclnet.datasets.store.store import Store

    opened = find_run(run)
    if not opened.finished:
        screen.print(
            f"run {opened.path} is not finished: its last checkpoint counts; `aclnet train` goes on"
        )
    return opened, Store(store) if store else opened.open_store()


def choose_recipe(recipe: str | None, store: Store, protocol: str | None = None) -> str:
    """`recipe`, in its form for the store's joints; or that of the store's dataset for a protocol,
    the store's first where None.
    """
    from aclnet.runs.recipes import default_recipe, fitting_recipe

    protocol = store.default_protocol if protocol is None else protocol
    if not recipe:
        return default_recipe(store.name, protocol, store.coordinates)
    fitting = fitting_recipe(recipe, store.coordinates)
    if fitting != recipe:
        screen.print(f"recipe {fitting} instead of {recipe}: joints of {store.path} are 2-D")
    return fitting


def with_protocol(settings: tuple[str, ...], protocol: str | None) -> list[str]:
    """Settings, those of `--protocol` among them; others win over it."""
    return [*([f"data.protocol={protocol}"] if protocol else []), *settings]
