"""The notebook runs, and the page shows functions that are there."""

from __future__ import annotations

import inspect
import json
import re
import shutil
from pathlib import Path

import pytest

import aclnet

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.slow
def test_the_cells_of_the_notebook_run_in_order():
    cells = json.loads((DOCS / "python.ipynb").read_text())["cells"]
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec("".join(cell["source"]), names)
    folder = names["folder"]
    assert isinstance(folder, Path)
    shutil.rmtree(folder)


def test_the_page_names_what_the_package_has():
    page = (DOCS / "python.md").read_text()
    used = {name for name in re.findall(r"aclnet\.(\w+)", page) if name != "datasets"}
    assert used <= set(aclnet.__all__)
    assert {"load", "read", "prepare", "train", "evaluate"} <= used
    for name in re.findall(r"model\.(\w+)", page):
        assert hasattr(aclnet.Model, name) or name in ("classes", "layout")
    for function, arguments in re.findall(r"`(\w+)\(([^`]*)\)` \|", page):
        known = inspect.signature(getattr(aclnet, function)).parameters
        assert {*re.findall(r"(\w+)=", arguments)} <= {*known, "PrepareOptions"}
