"""`aclnet layouts`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from aclnet.datasets.spec.layouts import get_layout, registry

DOCS = Path(__file__).parents[2] / "docs"


def test_all_layouts_are_listed(aclnet):
    answer = aclnet("layouts")
    assert answer.code == 0
    for name, layout in registry().items():
        assert re.search(rf"{re.escape(name)} .* {layout.num_joints} ", answer.out)
    listed = json.loads(aclnet("layouts", "--json").out)
    (joints,) = (known["joints"] for known in listed["layouts"] if known["name"] == "h36m")
    assert joints[:2] == ["Hip", "RHip"]


@pytest.mark.parametrize("name", sorted(registry()))
def test_a_layout_is_drawn_as_a_tree(aclnet, name):
    """Depth and order of the lines give every parent back."""
    layout = get_layout(name)
    lines = aclnet("layouts", name).out.split("\n\n")[0].splitlines()[1:]
    above: list[int] = []
    found = {}
    for line in lines:
        branches, joint, text = re.fullmatch(r"([ │├└─]*)(\d+) (.+)", line).groups()
        depth = len(branches) // 3
        above[depth:] = [int(joint)]
        found[int(joint)] = above[depth - 1] if depth else int(joint)
        assert layout.joints[int(joint)] == text
    assert [found[j] for j in range(layout.num_joints)] == list(layout.bone_parent)


def test_the_layout_of_the_documentation_is_one(aclnet, tmp_path):
    text = (DOCS / "layouts.md").read_text()
    (tmp_path / "mine.json").write_text(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1])
    answer = aclnet("layouts", tmp_path / "mine.json")
    assert "mine: 11 joints" in answer.out
    assert "shoulders, right and left: R_Shoulder, L_Shoulder" in answer.out
    assert "left_foot: L_Foot" in answer.out
    whole = tmp_path / "whole.json"
    whole.write_text(aclnet("layouts", tmp_path / "mine.json", "--json").out)
    first, second = (get_layout(str(tmp_path / name)) for name in ("mine.json", "whole.json"))
    assert first.model_dump(exclude={"name"}) == second.model_dump(exclude={"name"})
    described = set(re.findall(r"`([\w+]+)`", text.split("## A layout")[0]))
    assert set(registry()) <= described


def test_a_layout_that_is_wrong_is_refused(aclnet, tmp_path):
    (tmp_path / "mine.json").write_text('{"joints": ["A"]}')
    answer = aclnet("layouts", tmp_path / "mine.json")
    assert answer.code == 2
    assert "`parents` is missing" in answer.words
