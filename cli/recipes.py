"""`aclnet recipes`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from aclnet.cli import completion, options
from aclnet.cli.console import screen
from aclnet.cli.results import Table, emit, entries

if TYPE_CHECKING:
    from aclnet.cli.results import Form
    from aclnet.runs.recipes import RecipeEntry

_TABLES = {
    "official": "Hyper-parameters of ACLNet's released code (published: best epoch on test)",
    "pyskl": "PYSKL's networks and hyper-parameters (published: joints of NTU 60 and 120, X-Sub)",
    "ours": "Ours; not yet: the published figure was not reproduced",
}


@click.command()
@click.argument("name", required=False, shell_complete=completion.recipe)
@click.option("--modality", type=options.MODALITY, help="Input modality. [default: the recipe's]")
@options.output_form
def command(name: str | None, modality: str | None, output: Form) -> None:
    """List the recipes, or print all settings of recipe NAME for one modality.

    The settings are printed as a TOML file that --recipe takes, with their meanings as comments.
    """
    if name:
        _show_settings(name, modality, output)
        return
    if modality:
        raise click.UsageError("--modality needs NAME, the name of a recipe")
    _list(output)


def _show_settings(name: str, modality: str | None, output: Form) -> None:
    from aclnet.runs.config import build_config
    from aclnet.runs.settings import commented_toml

    config = build_config(name, [f"data.modality={modality}"] if modality else [])
    values = config.model_dump(mode="json")
    rows = [[key, json.dumps(value)] for key, value in entries(values)]
    text = commented_toml(config).removesuffix("\n")
    table = Table(f"Settings of {name}", ["setting", "value"], rows, left=2, text=text)
    emit(output, "recipe/1", {"settings": values}, [table])


def _list(output: Form) -> None:
    from dataclasses import asdict

    from aclnet.runs.recipes import catalogue, recipe_names

    found = catalogue()
    others = sorted(set(recipe_names()) - {about.name for about in found})
    published = [
        [{"on": on, "percent": percent} for on, percent in about.published.items()]
        for about in found
    ]
    recipes = [
        asdict(about) | {"source": about.source or None, "published": accuracies}
        for about, accuracies in zip(found, published, strict=True)
    ]
    columns = ["recipe", "for", "published, %", "reproduced"]
    tables = [
        Table(title, columns, [_row(about) for about in found if about.whose == whose])
        for whose, title in _TABLES.items()
    ]
    emit(output, "recipes/1", {"recipes": recipes, "others": others}, tables)
    screen.print(f"general recipes: {', '.join(others)}")


def _row(about: RecipeEntry) -> list[str]:
    published = ", ".join(f"{what} {value:g}" for what, value in about.published.items())
    reproduced = f"yes ({about.record})" if about.record else "not yet"
    return [about.name, about.title, published, reproduced]
