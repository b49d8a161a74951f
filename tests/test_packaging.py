"""One namespace over four folders: what is packaged, what shadows what, who may import whom."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("aclnet", "datasets", "pipelines", "cli")


def package_of(folder: Path) -> str:
    first, *rest = folder.relative_to(ROOT).parts
    return ".".join([*(["aclnet"] if first != "aclnet" else []), first, *rest])


@cache
def modules() -> dict[str, Path]:
    """Every module of the project by its name."""
    found = {}
    for top in FOLDERS:
        for file in (ROOT / top).rglob("*.py"):
            package = package_of(file.parent)
            found[package if file.stem == "__init__" else f"{package}.{file.stem}"] = file
    return found


def test_every_folder_with_modules_is_a_package():
    folders = {file.parent for file in modules().values()}
    assert not [str(folder) for folder in folders if not (folder / "__init__.py").is_file()]


@pytest.mark.parametrize("folder", ["datasets", "pipelines", "cli"])
def test_a_folder_imported_by_its_bare_name_says_so(folder):
    done = subprocess.run(
        [sys.executable, "-c", f"import {folder}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert f"this folder is the package aclnet.{folder}; import it by that name" in done.stderr


def run_elsewhere(folder: Path, program: str) -> list[str]:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{program}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_from_elsewhere_nothing_of_ours_is_a_top_level_module(tmp_path):
    imports = "\n".join(f"import {name}" for name in modules())
    loaded = run_elsewhere(tmp_path, imports)
    assert set(modules()) <= set(loaded)
    assert not {"datasets", "pipelines", "cli"} & set(loaded)


def test_the_data_side_comes_without_torch(tmp_path):
    names = [n for n in modules() if n.startswith("aclnet.datasets")] + [
        "aclnet",
        "aclnet.cli.main",
    ]
    loaded = run_elsewhere(tmp_path, "\n".join(f"import {name}" for name in names))
    assert "torch" not in loaded


def test_import_aclnet_is_light(tmp_path):
    loaded = run_elsewhere(tmp_path, "import aclnet, aclnet.cli.main")
    heavy = {"torch", "zarr", "numpy", "pandas", "dask", "distributed", "rich", "pydantic"}
    assert not heavy & set(loaded)


def imported(file: Path) -> set[str]:
    """Names of aclnet that a file imports, for type checking alone among them."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.partition(".")[0] == "aclnet"}


LAYERS = ("aclnet.datasets", "aclnet.pipelines", "aclnet", "aclnet.cli")
"""Each may import itself and what stands before it."""


def layer(name: str) -> int:
    sub = ".".join(name.split(".")[:2])
    return LAYERS.index(sub) if sub in LAYERS else LAYERS.index("aclnet")


@pytest.mark.parametrize("name", sorted(modules()))
def test_dependencies_point_one_way(name):
    wrong = {other for other in imported(modules()[name]) if layer(other) > layer(name)}
    assert not wrong


def test_zarr_and_dask_are_called_in_one_module_each():
    users = {"zarr": set(), "distributed": set(), "dask": set()}
    for name, file in modules().items():
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for top in {n.partition(".")[0] for n in names} & users.keys():
                users[top].add(name)
    assert users == {
        "zarr": {"aclnet.datasets.store.zarr_io"},
        "distributed": {"aclnet.pipelines.prepare.executor"},
        "dask": set(),
    }
