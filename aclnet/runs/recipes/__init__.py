"""Training recipes: TOML files, most of them some differences from one that they extend.

A recipe may also hold `[streams.b]` and the like: what differs when that modality is trained; and
`[about]`: what it is for, what was published with it, and our record of having reached it.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from aclnet.datasets.spec import AclnetError

_DEEPEST = 20
"""Levels of values, and recipes that extend one another in a row."""


@dataclass(frozen=True, slots=True)
class RecipeEntry:
    """What a shipped recipe is for, as its `[about]` says."""

    name: str
    title: str
    whose: Literal["official", "ours"]
    """Whose hyper-parameters: the released code's, or ours."""
    published: dict[str, float] = field(default_factory=dict)
    """Accuracies in percent as ACLNet's authors publish them."""
    source: str = ""
    """Where they stand."""
    record: str | None = None
    """Our own record of training with it."""


def catalogue() -> list[RecipeEntry]:
    """The shipped recipes that are for a dataset."""
    abouts = ((name, tomllib.loads(_text(name)).get("about")) for name in recipe_names())
    return [RecipeEntry(name=name, **about) for name, about in abouts if about]


def recipe_names() -> list[str]:
    """The shipped recipes."""
    entries = (entry.name for entry in files("aclnet.runs.recipes").iterdir())
    return sorted(recipe_name(entry) for entry in entries if entry.endswith(".toml"))


def recipe_name(name_or_file: str) -> str:
    """What runs of a recipe are called."""
    return Path(name_or_file).name.removesuffix(".toml")


def default_recipe(dataset: str, protocol: str, coordinates: int = 3) -> str:
    """The recipe of a protocol of a dataset, or of all its protocols.

    Where there is none: `default`, or with 2 `coordinates` a joint `default-2d`.

    A protocol may have the name of another dataset's recipe: an NTU-120 store has `ntu60-xsub`.
    """
    shipped = recipe_names()
    wanted = (f"{dataset}-{protocol}", protocol, dataset)
    general = "default-2d" if coordinates == 2 else "default"
    fitting = (name for name in wanted if name in shipped and _fits(name, coordinates))
    return next(fitting, general)


def _fits(name: str, coordinates: int) -> bool:
    """Does a recipe leave out what only joints in space can be augmented by, where they are not?"""
    augment = load_recipe(name).get("augment", {})
    return coordinates == 3 or not any(augment.get(key) for key in ("rotate", "scale", "jitter"))


def fitting_recipe(name_or_file: str, coordinates: int) -> str:
    """The recipe, or where joints are 2-D the one of its name for such, if there is one."""
    in_plane = f"{name_or_file}-2d"
    return in_plane if coordinates == 2 and in_plane in recipe_names() else name_or_file


def load_recipe(name_or_file: str) -> dict[str, Any]:
    """A shipped recipe by name, or one from a TOML file, with what it extends merged in.

    A recipe may say `extends = "other"`, a name or a file beside it; its own values win.
    AclnetError on an unknown recipe, on what is not TOML, and on recipes that extend one another.
    """
    return {**_load(name_or_file, ()), "recipe": recipe_name(name_or_file)}


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested values with others over them."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        nested = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = merge(old, value) if nested else value  # type: ignore[arg-type]
    return merged


def check_depth(values: dict[str, Any], what: str) -> None:
    """AclnetError where values are nested so deeply that no function can go through them."""
    level: list[Any] = [values]
    for _ in range(_DEEPEST):
        inner = [t.values() if isinstance(t, dict) else t for t in level]
        level = [v for entries in inner for v in entries if isinstance(v, dict | list)]
        if not level:
            return
    raise AclnetError(f"{what}: nested more than {_DEEPEST} levels deep, settings take fewer")


def _load(name_or_file: str, extended_by: tuple[str, ...]) -> dict[str, Any]:
    if name_or_file in extended_by or len(extended_by) == _DEEPEST:
        raise AclnetError(f"recipes extend one another: {' > '.join((*extended_by, name_or_file))}")
    try:
        values = tomllib.loads(_text(name_or_file))
    except (ValueError, RecursionError) as error:
        raise AclnetError(f"recipe {name_or_file} is not TOML: {error}") from None
    check_depth(values, f"recipe {name_or_file}")
    values.pop("about", None)
    parent = values.pop("extends", None)
    if parent is None:
        return values
    if not isinstance(parent, str):
        raise AclnetError(f"recipe {name_or_file}: extends must be one name or file")
    if parent.endswith(".toml"):
        parent = str(Path(name_or_file).parent / parent)
    return merge(_load(parent, (*extended_by, name_or_file)), values)


def _text(name_or_file: str) -> str:
    if name_or_file.endswith(".toml"):
        try:
            return Path(name_or_file).read_text(encoding="utf-8")
        except OSError as error:
            raise AclnetError(
                f"recipe file {name_or_file} cannot be read: {error.strerror}"
            ) from None
    if name_or_file not in recipe_names():
        raise AclnetError(
            f"unknown recipe {name_or_file!r}; known: {', '.join(recipe_names())}, or a .toml file"
        )
    return (files("aclnet.runs.recipes") / f"{name_or_file}.toml").read_text(encoding="utf-8")
