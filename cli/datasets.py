"""`aclnet datasets`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from aclnet.cli import options
from aclnet.cli.console import print_json, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aclnet.datasets.spec import DatasetSpec


@click.command()
@click.argument("name", required=False)
@options.as_json
def command(name: str | None, as_json: bool) -> None:
    """List the datasets that `aclnet prepare` knows, or tell all about dataset NAME."""
    from aclnet.datasets.registry import all_datasets, get_dataset
    from aclnet.datasets.synth import all_forms

    forms = all_forms()
    specs = [get_dataset(name)] if name else list(all_datasets().values())
    if as_json:
        found = [_facts(spec, forms.get(spec.name, {})) for spec in specs]
        print_json(found[0] if name else found)
    elif name:
        _show(_facts(specs[0], forms.get(specs[0].name, {})))
    else:
        table(
            "Datasets; `aclnet datasets NAME` tells all about one",
            ["name", "task", "layout", "protocols", "classes"],
            [
                [
                    spec.name,
                    spec.task,
                    spec.layout or "of its files",
                    _protocols(spec),
                    len(spec.class_names) or "",
                ]
                for spec in specs
            ],
            left=4,
        )


def _protocols(spec: DatasetSpec) -> str:
    return ", ".join(protocol.name for protocol in spec.protocols) or "of its files"


def _facts(spec: DatasetSpec, made_up: Mapping[str, object]) -> dict[str, Any]:
    from aclnet.datasets.spec.layouts import get_layout

    return {
        "name": spec.name,
        "title": spec.title,
        "task": spec.task,
        "home": spec.about.home,
        "terms": spec.about.terms,
        "size": spec.about.size,
        "raw": list(spec.about.forms),
        "looked for": list(spec.places),
        "made up": list(made_up),
        "layout": spec.layout,
        "joints": get_layout(spec.layout).num_joints if spec.layout else 0,
        "units": {"m": "metres", "px": "pixels"}[spec.units],
        "cleaning": spec.clean or "none",
        "remarks": spec.about.remarks,
        "protocols": {protocol.name: protocol.published for protocol in spec.protocols},
        "class names": list(spec.class_names),
    }


def _show(facts: dict[str, Any]) -> None:
    counts = facts.pop("protocols")
    names = facts.pop("class names")
    title = f"{facts.pop('name')}: {facts.pop('title')}"
    facts |= {what: ", ".join(facts[what]) for what in ("made up", "looked for")}
    facts["raw"] = "; or ".join(facts["raw"])
    told = [[what, value] for what, value in facts.items() if value]
    table(title, ["", "what"], [*told, ["classes", len(names)]], left=2)
    rows = [
        [f"{protocol}/{side}", f"{count:,}"]
        for protocol, published in counts.items()
        for side, count in published.items()
    ]
    if rows:
        table("Published samples", ["side", "samples"], rows)
    if names:
        table("Classes", ["label", "name"], list(enumerate(names)), left=2)
