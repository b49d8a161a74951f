"""`aclnet datasets`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from aclnet.cli import completion, options
from aclnet.cli.results import Table, emit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aclnet.cli.results import Form
    from aclnet.datasets.spec import DatasetSpec


@click.command()
@click.argument("name", required=False, shell_complete=completion.dataset)
@options.output_form
def command(name: str | None, output: Form) -> None:
    """List the datasets that `aclnet prepare` knows, or describe dataset NAME."""
    from aclnet.datasets.registry import all_datasets, get_dataset
    from aclnet.datasets.synth import all_forms

    forms = all_forms()
    if name:
        spec = get_dataset(name)
        facts = _facts(spec, forms.get(spec.name, {}))
        emit(output, "dataset/1", facts, _tables(facts))
        return
    specs = list(all_datasets().values())
    rows = [
        [
            spec.name,
            spec.task,
            spec.layout or "of its files",
            _protocols(spec),
            len(spec.class_names) or "",
        ]
        for spec in specs
    ]
    title = "Datasets; `aclnet datasets NAME` describes one"
    table = Table(title, ["name", "task", "layout", "protocols", "classes"], rows, left=4)
    found = [_facts(spec, forms.get(spec.name, {})) for spec in specs]
    emit(output, "datasets/1", {"datasets": found}, [table])


def _protocols(spec: DatasetSpec) -> str:
    return ", ".join(protocol.name for protocol in spec.protocols) or "of its files"


def _facts(spec: DatasetSpec, made_up: Mapping[str, object]) -> dict[str, Any]:
    from aclnet.datasets.spec.layouts import get_layout

    return {
        "name": spec.name,
        "title": spec.title,
        "task": spec.task,
        "publication": spec.about.publication,
        "home": spec.about.home,
        "terms": spec.about.terms,
        "size": spec.about.size,
        "raw_forms": list(spec.about.forms),
        "looked_for": list(spec.places),
        "synthetic_forms": list(made_up),
        "layout": spec.layout or None,
        "joints": get_layout(spec.layout).num_joints if spec.layout else None,
        "units": {"m": "metres", "px": "pixels"}[spec.units],
        "cleaning": spec.clean or None,
        "remarks": spec.about.remarks,
        "protocols": [protocol.name for protocol in spec.protocols],
        "published": [
            {"protocol": protocol.name, "side": side, "samples": count}
            for protocol in spec.protocols
            for side, count in protocol.published.items()
        ],
        "class_names": list(spec.class_names),
    }


def _tables(facts: dict[str, Any]) -> list[Table]:
    told = {
        "task": facts["task"],
        "home": facts["home"],
        "terms": facts["terms"],
        "size": facts["size"],
        "raw": "; or ".join(facts["raw_forms"]),
        "looked for": ", ".join(facts["looked_for"]),
        "synthetic": ", ".join(facts["synthetic_forms"]),
        "layout": facts["layout"],
        "joints": facts["joints"],
        "units": facts["units"],
        "cleaning": facts["cleaning"] or "none",
        "remarks": facts["remarks"],
    }
    names = facts["class_names"]
    rows = [[what, value] for what, value in told.items() if value]
    title = f"{facts['name']}: {facts['title']}"
    found = [Table(title, ["", "what"], [*rows, ["classes", len(names)]], left=2)]
    counts = [
        [f"{side['protocol']}/{side['side']}", f"{side['samples']:,}"]
        for side in facts["published"]
    ]
    if counts:
        found.append(Table("Published samples", ["side", "samples"], counts))
    if names:
        found.append(Table("Classes", ["label", "name"], list(enumerate(names)), left=2))
    return found
