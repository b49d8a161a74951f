"""`aclnet layouts`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aclnet.cli import completion, options
from aclnet.cli.console import screen
from aclnet.cli.results import Table, emit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from aclnet.cli.results import Form
    from aclnet.datasets.spec.layouts import Layout


@click.command()
@click.argument("name", required=False, shell_complete=completion.layout)
@options.output_form
def command(name: str | None, output: Form) -> None:
    """List the joint layouts, or draw and check layout NAME.

    NAME is a shipped layout, a .json file, or a .bvh file. Use --json to make a layout file from
    the joints of a .bvh file.
    """
    from aclnet.datasets.spec.layouts import registry

    if name:
        layout = _layout(name)
        emit(
            output, "layout/1", layout.model_dump(mode="json", exclude={"name"}), [_joints(layout)]
        )
        return
    known = registry().items()
    rows = [[name, len(layout.joints), _ends(layout)] for name, layout in known]
    table = Table("Joint layouts", ["layout", "joints", "first and last joint"], rows)
    found = [{"name": name, "joints": list(layout.joints)} for name, layout in known]
    emit(output, "layouts/1", {"layouts": found}, [table])
    screen.print(
        "`aclnet layouts NAME` draws a layout; docs/layouts.md shows how to write your own"
    )


def _layout(name: str) -> Layout:
    from aclnet.datasets.readers.bvh import read_hierarchy
    from aclnet.datasets.spec import AclnetError, DamageError
    from aclnet.datasets.spec.layouts import get_layout, layout_of

    path = Path(name)
    if path.suffix.lower() != ".bvh":
        return get_layout(name)
    try:
        found = read_hierarchy(path.read_bytes())
        return layout_of(path.stem, {"joints": found.joints, "parents": found.parents})
    except OSError as error:
        raise AclnetError(f"{path} cannot be read: {error.strerror}") from None
    except DamageError as damage:
        raise AclnetError(f"{damage.at(str(path))}") from None
    except AclnetError as error:
        raise AclnetError(f"{path}: {error}") from None


def _ends(layout: Layout) -> str:
    return f"{layout.joints[0]} ... {layout.joints[-1]}"


def _joints(layout: Layout) -> Table:
    rows = [
        [number, joint, layout.joints[layout.bone_parent[number]], layout.joints[mirror]]
        for number, (joint, mirror) in enumerate(zip(layout.joints, layout.mirror, strict=True))
    ]
    title = f"{layout.name}: {layout.num_joints} joints"
    columns = ["number", "joint", "parent", "mirror"]
    return Table(title, columns, rows, left=4, text=_drawn(layout))


def _drawn(layout: Layout) -> str:
    """Bones as a tree with joint numbers, then the facts derived from names and bones."""
    lines = [f"{layout.name}: {layout.num_joints} joints"]
    for root, parent in enumerate(layout.bone_parent):
        if root == parent:
            lines += _tree(layout, root)
    pairs = [(j, other) for j, other in enumerate(layout.mirror) if j < other]
    facts = {
        "centre of the graph": layout.joints[layout.centre],
        "origin": _named(layout, [layout.normalise_centre]),
        "spine, bottom and top": _named(layout, layout.spine or [None]),
        "shoulders, right and left": _named(layout, layout.shoulders or [None]),
        "left and right": ", ".join(_named(layout, pair, " - ") for pair in pairs) or "none",
    }
    facts |= {part: _named(layout, joints) for part, joints in layout.parts.items() if joints}
    return "\n".join([*lines, "", *(f"{what}: {text}" for what, text in facts.items())])


def _named(layout: Layout, joints: Iterable[int | None], between: str = ", ") -> str:
    return between.join("none" if j is None else layout.joints[j] for j in joints)


def _tree(layout: Layout, joint: int, before: str = "", branch: str = "") -> Iterator[str]:
    """Lines of a joint and of all joints below it."""
    yield f"{before}{branch}{joint} {layout.joints[joint]}"
    inner = before + {"": "", "├─ ": "│  ", "└─ ": "   "}[branch]
    children = [j for j, p in enumerate(layout.bone_parent) if p == joint != j]
    for child in children:
        yield from _tree(layout, child, inner, "└─ " if child == children[-1] else "├─ ")
