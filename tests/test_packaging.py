"""One namespace over four folders: what is packaged, what shadows what, who may import whom."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import aclnet

ROOT = Path(__file__).parent.parent


def _load_tool():
    spec = importlib.util.spec_from_file_location("imports", ROOT / "tools" / "imports.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


imports = _load_tool()
modules = imports.modules


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


@pytest.mark.slow
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


def test_no_import_leads_to_a_later_room():
    """Those for type checking and inside functions among them."""
    assert imports.wrong_ways() == []


def test_there_is_no_circle_of_imports():
    assert imports.circle() == []


def test_every_import_is_absolute():
    for file in modules().values():
        for node in ast.walk(ast.parse(file.read_text())):
            assert not isinstance(node, ast.ImportFrom) or node.level == 0, file


def test_the_rooms_are_the_folders():
    folders = {name for name, file in modules().items() if file.name == "__init__.py"}
    assert set(imports.ROOMS) - folders == {"aclnet.pipelines.choices", "aclnet.__main__"}
    assert {".".join(name.split(".")[:3]) for name in folders} <= {
        *imports.ROOMS,
        "aclnet.runs.recipes",
    }


@pytest.mark.slow
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
        "dask": {"aclnet.pipelines.prepare.executor"},
    }


def test_the_citation_agrees_with_the_package():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= cited.keys()  # what the format demands
    assert (cited["title"], str(cited["version"])) == (project["name"], project["version"])
    assert cited["license"] == project["license"]
    assert cited["abstract"].rstrip(".") == project["description"]
    assert cited["keywords"] == project["keywords"]


def test_an_image_is_built_from_all_that_a_wheel_is_built_from():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    about = [project["project"]["readme"], *project["project"]["license-files"]]
    assert kept == {*wheel, *about, "pyproject.toml", "constraints.txt"}
    assert all((ROOT / name).exists() for name in kept)


def test_the_page_of_the_installation_lists_the_extras():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {*project["optional-dependencies"]} - {"dev", "docs", "stress"}
    page = (ROOT / "docs" / "install.md").read_text()
    (table,) = re.findall(r"\| extra \|.*?\n\n", page, re.DOTALL)
    first_cells = "".join(line.split("|")[1] for line in table.strip().splitlines())
    assert {*re.findall(r"`(\w+)`", first_cells)} == extras
    (everything,) = project["optional-dependencies"]["all"]
    assert extras - {"all", "distributed"} == {*everything[7:-1].split(",")}


def test_the_version_is_that_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert aclnet.__version__ == project["version"]
