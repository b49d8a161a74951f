"""`aclnet settings`."""

from __future__ import annotations

import json

import click

from aclnet.cli import options
from aclnet.cli.results import Form, Table, emit


@click.command()
@click.argument("prefix", default="")
@options.output_form
def command(prefix: str, output: Form) -> None:
    """List the settings whose names begin with PREFIX: values, default and meaning.

    By default, all settings are listed. Recipes and the option --set change them. The defaults
    apply without a recipe; use `aclnet recipes NAME` to print the values of a recipe.
    """
    from dataclasses import asdict

    from aclnet.runs.config import find_settings

    found = find_settings(prefix)
    rows = [[s.name, s.values, json.dumps(s.default), " ".join(s.meaning.split())] for s in found]
    table = Table(
        "Settings",
        ["name", "values", "default", "meaning"],
        rows,
        left=4,
        text="\n\n".join(map(str, found)),
    )
    emit(output, "settings/1", {"settings": [asdict(setting) for setting in found]}, [table])
