"""Lists the rooms of the project from the lowest to the highest, with their imports.

    python tools/imports.py

Each room may import itself and the rooms above it in the list; imports for type checking and inside
functions count too. The exit status is 1 if a room imports a later one, or if modules import each
other in a circle.
"""

from __future__ import annotations

import ast
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("datasets", "pipelines", "aclnet", "cli")
ROOMS = (
    "aclnet.datasets.spec",
    "aclnet.datasets.formats",
    "aclnet.datasets.store",
    "aclnet.datasets.readers",
    "aclnet.datasets.exports",
    "aclnet.datasets.tables",
    "aclnet.datasets.synth",
    "aclnet.datasets.catalogue",
    "aclnet.datasets",
    "aclnet.pipelines.choices",
    "aclnet.pipelines.steps",
    "aclnet.pipelines.inputs",
    "aclnet.pipelines.prepare",
    "aclnet.pipelines",
    "aclnet.losses",
    "aclnet.models",
    "aclnet.own",
    "aclnet.runs",
    "aclnet.retrieval",
    "aclnet.exchange",
    "aclnet.evaluation",
    "aclnet.viewing",
    "aclnet.prediction",
    "aclnet.tracking",
    "aclnet.training",
    "aclnet.sweeps",
    "aclnet.sharing",
    "aclnet.report",
    "aclnet",
    "aclnet.cli",
    "aclnet.__main__",
)
"""Rooms. A module belongs to the longest of these names that it begins with."""


@cache
def modules() -> dict[str, Path]:
    """Every module of the project by its name."""
    found = {}
    for top in FOLDERS:
        for file in sorted((ROOT / top).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            names = [*(["aclnet"] if parts[0] != "aclnet" else []), *parts]
            found[".".join(names).removesuffix(".__init__")] = file
    return found


def room(module: str) -> str:
    """The room that a module is in."""
    return max((r for r in ROOMS if f"{module}.".startswith(f"{r}.")), key=len)


@cache
def imported(module: str) -> frozenset[str]:
    """Modules of the project that a module imports; packages that lead to them are left out."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in modules() else node.module for name in whole}
    return frozenset(names & modules().keys() - {module})


def wrong_ways() -> list[str]:
    """Imports of a room further down the list."""
    return [
        f"{module} ({room(module)}) imports {other} ({room(other)})"
        for module in modules()
        for other in sorted(imported(module))
        if ROOMS.index(room(other)) > ROOMS.index(room(module))
    ]


def circle() -> list[str]:
    """Modules that import each other in a circle, the first repeated at the end; or none."""
    try:
        TopologicalSorter({module: imported(module) for module in modules()}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def main() -> int:
    for name in ROOMS:
        own = [module for module in modules() if room(module) == name]
        others = {room(other) for module in own for other in imported(module)} - {name}
        lines = sum(len(modules()[m].read_text(encoding="utf-8").splitlines()) for m in own)
        print(f"{name} ({len(own)} modules, {lines:,} lines)")
        for other in sorted(others, key=ROOMS.index):
            print(f"    {other}")
    problems = wrong_ways()
    if circle():
        problems.append(f"circle: {' -> '.join(circle())}")
    print("\n".join(problems) or "no import leads to a later room, and there is no circle")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
