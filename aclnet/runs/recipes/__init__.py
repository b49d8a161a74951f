"""Training recipes: TOML files; most recipes extend another recipe with some changes.

A recipe may also have tables such as `[streams.b]`, with the changes for this modality; `[about]`,
with its purpose, its published accuracies and our record of training with it; and `rule = "small
set"`, which takes some settings from the store, see `aclnet.runs.small_sets`.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aclnet.datasets.spec import AclnetError, did_you_mean, shown

if TYPE_CHECKING:
    from aclnet.datasets.store.store import Store

_DEEPEST = 20
"""Levels of values, and recipes that extend one another in a row."""
_RULE = "small set"
_SMALL = 10_000
"""Number of training samples from which on a set is not small."""


@dataclass(frozen=True, slots=True)
class RecipeEntry:
    """Purpose of a shipped recipe, from its table `[about]`."""

    name: str
    title: str
    whose: Literal["official", "pyskl", "ours"]
    """Origin of the hyper-parameters: the released code, PYSKL, or aclnet."""
    published: dict[str, float] = field(default_factory=dict)
    """Accuracies in percent that the authors of these settings publish."""
    source: str = ""
    """Source of the published accuracies."""
    record: str | None = None
    """Our own record of training with it."""


def catalogue() -> list[RecipeEntry]:
    """The shipped recipes that are for a dataset or a published network."""
    abouts = ((name, tomllib.loads(_text(name)).get("about")) for name in recipe_names())
    return [RecipeEntry(name=name, **about) for name, about in abouts if about]


def recipe_names() -> list[str]:
    """The shipped recipes."""
    entries = (entry.name for entry in files("aclnet.runs.recipes").iterdir())
    return sorted(recipe_name(entry) for entry in entries if entry.endswith(".toml"))


def recipe_name(name_or_file: str) -> str:
    """Name that runs of a recipe begin with."""
    return Path(name_or_file).name.removesuffix(".toml")


def default_recipe(dataset: str, protocol: str, coordinates: int = 3) -> str:
    """The recipe of a protocol of a dataset, or of all its protocols.

    If there is none, it is `default`, or `default-2d` with 2 `coordinates` per joint.

    A protocol may have the name of another dataset's recipe: an NTU-120 store has `ntu60-xsub`.
    """
    shipped = recipe_names()
    wanted = (f"{dataset}-{protocol}", protocol, dataset)
    general = "default-2d" if coordinates == 2 else "default"
    fitting = (name for name in wanted if name in shipped and _fits(name, coordinates))
    return next(fitting, general)


def _fits(name: str, coordinates: int) -> bool:
    """True if all augmentation of a recipe is possible with this number of coordinates."""
    augment = load_recipe(name).get("augment", {})
    return coordinates == 3 or not any(augment.get(key) for key in ("rotate", "scale", "jitter"))


def fitting_recipe(name_or_file: str, coordinates: int) -> str:
    """The recipe, or for 2-D joints its 2-D form, if there is one."""
    in_plane = f"{name_or_file}-2d"
    return in_plane if coordinates == 2 and in_plane in recipe_names() else name_or_file


def recipe_for(store: Store, name_or_file: str | None, protocol: str | None = None) -> str:
    """A recipe in its form for a store's joints; None: the one for the store's dataset.

    A dataset without one gets `small` if fewer than 10,000 samples train, else `default`.

    protocol: protocol to train on; None: the store's first.
    """
    protocol = store.default_protocol if protocol is None else protocol
    if name_or_file:
        return fitting_recipe(name_or_file, store.coordinates)
    chosen = default_recipe(store.name, protocol, store.coordinates)
    if chosen not in ("default", "default-2d"):
        return chosen
    sides = store.attributes.protocols.get(protocol, {})
    samples = sides.get("train", len(store.column("id")))
    return chosen.replace("default", "small") if samples < _SMALL else chosen


def follows_rule(name_or_file: str) -> bool:
    """Returns whether a recipe, or a recipe that it extends, has `rule = "small set"`.

    Raises AclnetError for another rule.
    """
    rule = _load(name_or_file, ()).get("rule")
    if rule not in (None, _RULE):
        raise AclnetError(f"recipe {name_or_file}: rule is {shown(repr(rule))}, not {_RULE!r}")
    return rule == _RULE


def load_recipe(name_or_file: str, by_rule: dict[str, Any] | None = None) -> dict[str, Any]:
    """A shipped recipe by name, or one from a TOML file, with what it extends merged in.

    A recipe may have `extends = "other"`, a name or a file beside it; its own values override
    those of the other. `by_rule` are the values that a rule chooses; they override the values of
    the recipe that has the rule, but not those of a recipe that extends it.

    Raises AclnetError for an unknown recipe, for a file that is not TOML, and for recipes that
    extend each other in a circle.
    """
    values = _load(name_or_file, (), by_rule)
    values.pop("rule", None)
    return {**values, "recipe": recipe_name(name_or_file)}


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested values with others over them."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        nested = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = merge(old, value) if nested else value  # type: ignore[arg-type]
    return merged


def check_depth(values: dict[str, Any], what: str) -> None:
    """Raises AclnetError if values are nested too deeply for recursive functions."""
    level: list[Any] = [values]
    for _ in range(_DEEPEST):
        inner = [t.values() if isinstance(t, dict) else t for t in level]
        level = [v for entries in inner for v in entries if isinstance(v, dict | list)]
        if not level:
            return
    raise AclnetError(f"{what}: more than {_DEEPEST} nested levels, settings have fewer")


def _load(
    name_or_file: str, extended_by: tuple[str, ...], by_rule: dict[str, Any] | None = None
) -> dict[str, Any]:
    if name_or_file in extended_by or len(extended_by) == _DEEPEST:
        raise AclnetError(
            f"recipes extend each other in a circle: {' > '.join((*extended_by, name_or_file))}"
        )
    try:
        values = tomllib.loads(_text(name_or_file))
    except (ValueError, RecursionError) as error:
        raise AclnetError(f"recipe {name_or_file} is not TOML: {error}") from None
    check_depth(values, f"recipe {name_or_file}")
    values.pop("about", None)
    if "rule" in values:
        values = merge(values, by_rule or {})
    parent = values.pop("extends", None)
    if parent is None:
        return values
    if not isinstance(parent, str):
        raise AclnetError(f"recipe {name_or_file}: extends must be one name or file")
    if parent.endswith(".toml"):
        parent = str(Path(name_or_file).parent / parent)
    return merge(_load(parent, (*extended_by, name_or_file), by_rule), values)


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
            f"unknown recipe {name_or_file!r}{did_you_mean(name_or_file, recipe_names())}; "
            f"known: {', '.join(recipe_names())}, or a .toml file"
        )
    return (files("aclnet.runs.recipes") / f"{name_or_file}.toml").read_text(encoding="utf-8")
