"""Completion in the shell: datasets, recipes, layouts, stores with their ids, and runs.

These functions are the `shell_complete` of arguments and options. They run at each press of the tab
key, so they do not import torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from click import Context, Parameter


def dataset(_: Context, __: Parameter, typed: str) -> list[CompletionItem]:
    """Datasets by name."""
    from aclnet.datasets.registry import all_datasets

    return _beginning(typed, all_datasets())


def layout(_: Context, __: Parameter, typed: str) -> list[CompletionItem]:
    """Shipped layouts, or files."""
    from aclnet.datasets.spec.layouts import registry

    return _beginning(typed, registry()) or _files(typed)


def recipe(_: Context, __: Parameter, typed: str) -> list[CompletionItem]:
    """Shipped recipes, or files."""
    from aclnet.runs.recipes import recipe_names

    return _beginning(typed, recipe_names()) or _files(typed)


def tracker(_: Context, __: Parameter, typed: str) -> list[CompletionItem]:
    """Shipped trackers."""
    return _beginning(typed, ("tensorboard", "wandb", "mlflow"))


def store(_: Context, __: Parameter, typed: str) -> list[CompletionItem]:
    """Stores below this folder, or files."""
    from aclnet.datasets.discovery import stores

    return _beginning(typed, map(str, stores(Path()))) or _files(typed)


def sample(context: Context, _: Parameter, typed: str) -> list[CompletionItem]:
    """Ids of the store in the earlier argument; none of an object store, which may be slow."""
    from aclnet.datasets.opening import open_store
    from aclnet.datasets.spec import AclnetError
    from aclnet.datasets.store.paths import ObjectPath

    if isinstance(context.params["store"], ObjectPath):
        return []
    try:
        ids = open_store(context.params["store"]).column("id").tolist()
    except (AclnetError, OSError, TypeError):  # no store was named, or there is none
        return []
    return _beginning(typed, ids)


def run(_: Context, __: Parameter, typed: str) -> list[CompletionItem]:
    """Runs below this folder, or files."""
    from aclnet.datasets.discovery import runs

    return _beginning(typed, map(str, runs(Path()))) or _files(typed)


def store_or_run(context: Context, parameter: Parameter, typed: str) -> list[CompletionItem]:
    """Stores and runs below this folder, or files."""
    from aclnet.datasets.discovery import runs, stores

    found = [*stores(Path()), *runs(Path())]
    return _beginning(typed, map(str, found)) or _files(typed)


def _beginning(typed: str, names: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(name) for name in sorted(names) if name.startswith(typed)]


def _files(typed: str) -> list[CompletionItem]:
    """Lets the shell complete the name of a file or folder."""
    return [CompletionItem(typed, type="file")]
