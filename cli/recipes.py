"""`aclnet recipes`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aclnet.cli import options
from aclnet.cli.console import echo, print_json, screen, table

if TYPE_CHECKING:
    from aclnet.runs.recipes import RecipeEntry

_TABLES = {
    "official": "Hyper-parameters of ACLNet's released code (published: best epoch on test)",
    "ours": "Ours; what is not reproduced yet was never run",
}


@click.command()
@click.argument("name", required=False)
@click.option("--modality", type=options.MODALITY)
@options.as_json
def command(name: str | None, modality: str | None, as_json: bool) -> None:
    """List the recipes, or print all settings that recipe NAME comes to, for one modality."""
    if name:
        _show_settings(name, modality, as_json=as_json)
        return
    if modality:
        raise click.UsageError("--modality needs the NAME of a recipe")
    _list(as_json=as_json)


def _show_settings(name: str, modality: str | None, *, as_json: bool) -> None:
    from aclnet.runs.config import build_config

    config = build_config(name, [f"data.modality={modality}"] if modality else [])
    if as_json:
        print_json(config.model_dump(mode="json"))
    else:
        echo(config.to_toml(), nl=False)


def _list(*, as_json: bool) -> None:
    from dataclasses import asdict

    from aclnet.runs.recipes import catalogue, recipe_names

    found = catalogue()
    if as_json:
        print_json([asdict(about) for about in found])
        return
    for whose, title in _TABLES.items():
        rows = [_row(about) for about in found if about.whose == whose]
        table(title, ["recipe", "for", "published, %", "reproduced"], rows)
    others = set(recipe_names()) - {about.name for about in found}
    screen.print(f"for no dataset in particular: {', '.join(sorted(others))}")


def _row(about: RecipeEntry) -> list[str]:
    published = ", ".join(f"{what} {value:g}" for what, value in about.published.items())
    reproduced = f"yes ({about.record})" if about.record else "not yet"
    return [about.name, about.title, published, reproduced]
