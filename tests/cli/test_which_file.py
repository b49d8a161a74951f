"""docs/which-file.md: each row leads to files that are read as the row says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from aclnet.datasets.synth.custom import FORMS

TEXT = (Path(__file__).parents[2] / "docs" / "which-file.md").read_text()
ROWS = {
    cells[-2] if "prepare" in cells[-1] else cells[3]: cells
    for line in TEXT.splitlines()
    if line.startswith("|") and "`" in line.rsplit("|", 2)[0]
    for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
    if not cells[0].startswith(("tool", "where"))
}
FORM_OF = {name.strip("`"): cells for name, cells in ROWS.items()}


def test_every_form_has_a_row():
    assert FORM_OF.keys() == FORMS["custom"].keys()


@pytest.mark.parametrize("form", sorted(FORM_OF))
def test_a_row_leads_to_a_sound_check(aclnet, tmp_path, form):
    cells = FORM_OF[form]
    options = ("--form", form, "--sequences", 6, "--subjects", 3)
    assert aclnet("synth", "custom", tmp_path, *options).code == 0
    raw = tmp_path
    if "prepare" in cells[-1]:
        raw = tmp_path / re.search(r"--raw (\S+)", cells[-1])[1]
    else:
        facts = re.findall(r'`(\w+ = "[^`]+")`', cells[-1])
        if cells[-1].startswith("nothing"):
            facts = []
        if form == "bvh":
            drawn = aclnet("layouts", next(tmp_path.glob("*.bvh")), "--json")
            (tmp_path / "mine.json").write_text(drawn.out)
        (tmp_path / "dataset.toml").write_text("\n".join(facts))
        files = {row.split(",")[1] for row in (raw / "index.csv").read_text().splitlines()[1:]}
        assert all((raw / file).is_dir() == (cells[2] == "the folder") for file in files)
    answer = aclnet("prepare", "custom", "--raw", raw, "--check", "--json")
    found = json.loads(answer.out)
    assert found["usable"] == 6
    assert not [p for p in found["problems"] if p["kind"] in ("damaged", "nothing usable")]
