"""`aclnet layouts`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aclnet.cli import options
from aclnet.cli.console import echo, print_json, screen, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from aclnet.datasets.spec.layouts import Layout


@click.command()
@click.argument("name", required=False)
@options.as_json
def command(name: str | None, as_json: bool) -> None:
    """List the joint layouts, or draw and check layout NAME.

    NAME is a shipped layout, a .json file, or a .bvh file, whose joints are one: with --json it
    becomes the file of a layout.
    """
    from aclnet.datasets.spec.layouts import registry

    if name:
        layout = _layout(name)
        if as_json:
            print_json(layout.model_dump(mode="json", exclude={"name"}))
        else:
            _show(layout)
    elif as_json:
        print_json({known: list(layout.joints) for known, layout in registry().items()})
    else:
        rows = [[known, len(layout.joints), _ends(layout)] for known, layout in registry().items()]
        table("Joint layouts", ["layout", "joints", "first and last joint"], rows)
        screen.print("`aclnet layouts NAME` draws one; docs/layouts.md shows how to write one")


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


def _show(layout: Layout) -> None:
    """Bones as a tree with the numbers of the joints, then what follows from names and bones."""
    echo(f"{layout.name}: {layout.num_joints} joints")
    for root, parent in enumerate(layout.bone_parent):
        if root == parent:
            for line in _tree(layout, root):
                echo(line)
    echo("")
    pairs = [(j, other) for j, other in enumerate(layout.mirror) if j < other]
    facts = {
        "centre of the graph": layout.joints[layout.centre],
        "origin": _named(layout, [layout.normalise_centre]),
        "spine, bottom and top": _named(layout, layout.spine or [None]),
        "shoulders, right and left": _named(layout, layout.shoulders or [None]),
        "left and right": ", ".join(_named(layout, pair, " - ") for pair in pairs) or "none",
    }
    facts |= {part: _named(layout, joints) for part, joints in layout.parts.items() if joints}
    for what, text in facts.items():
        echo(f"{what}: {text}")


def _named(layout: Layout, joints: Iterable[int | None], between: str = ", ") -> str:
    return between.join("none" if j is None else layout.joints[j] for j in joints)


def _tree(layout: Layout, joint: int, before: str = "", branch: str = "") -> Iterator[str]:
    """Lines of a joint and of all that hang from it."""
    yield f"{before}{branch}{joint} {layout.joints[joint]}"
    inner = before + {"": "", "├─ ": "│  ", "└─ ": "   "}[branch]
    children = [j for j, p in enumerate(layout.bone_parent) if p == joint != j]
    for child in children:
        yield from _tree(layout, child, inner, "└─ " if child == children[-1] else "├─ ")
