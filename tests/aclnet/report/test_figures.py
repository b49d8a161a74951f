"""Figures of a report: each chart of the page."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from matplotlib import rc_context

from aclnet.report.figures import SETTINGS, curves_figure
from aclnet.report.parts import Curves


def panels_of_the_page() -> list[set[str]]:
    script = (files("aclnet.report") / "page.js").read_text(encoding="utf-8")
    lists = re.findall(r'panel\("[^"]+", (\[[^\]]+\])', script)
    assert len(lists) == 5
    return [set(re.findall(r'"(\w+)"', columns)) for columns in lists]


def test_the_curves_are_those_of_the_page():
    panels = panels_of_the_page()
    figures = {column: [0.25, 0.5] for column in set.union(*panels)}
    with rc_context(SETTINGS):
        drawn = curves_figure("run", Curves([1, 2], figures, {}))
    lines = [len(axes.lines) for axes in drawn.axes if axes.axison]
    assert sorted(lines) == sorted(map(len, panels))
    (families,) = [a for a in drawn.axes if a.get_title(loc="left").startswith("Samples")]
    assert families.lines[0].get_ydata().tolist() == pytest.approx([25, 50])
    words = [
        text.get_text() for axes in drawn.axes if (own := axes.get_legend()) for text in own.texts
    ]
    assert "validation rank-1" in words
