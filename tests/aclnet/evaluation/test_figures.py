"""The content of figures, read from their axes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import aclnet.evaluation.figures
from aclnet.evaluation.figures import draw_sensitivity


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were drawn, in place of files."""
    figures = []
    monkeypatch.setattr(
        aclnet.evaluation.figures, "_save", lambda figure, _: figures.append(figure)
    )
    return figures


def test_sensitivity_shows_every_result_and_the_mean_at_each_value(drawn, tmp_path):
    results = pd.DataFrame(
        [
            ("0.2", "acl", 0.9),
            ("0.2", "ce", 0.8),
            ("0", "acl", 0.7),
            ("0", "ce", 0.5),
            ("1e-1", "ce", 0.4),
        ],
        columns=["loss.weight", "loss.terms", "top1"],
    )
    draw_sensitivity(results, ["loss.weight", "loss.terms"], "where", tmp_path / "x.png")
    numbers, words = drawn[0].axes
    assert [label.get_text() for label in numbers.get_xticklabels()] == ["0", "1e-1", "0.2"]
    assert [label.get_text() for label in words.get_xticklabels()] == ["acl", "ce"]
    points, means = numbers.lines
    np.testing.assert_array_equal(points.get_xdata(), [2, 2, 0, 0, 1])
    np.testing.assert_allclose(points.get_ydata(), [90, 80, 70, 50, 40])
    np.testing.assert_allclose(means.get_ydata(), [60, 40, 85])
    assert means.get_linestyle() == "-"
    _, means = words.lines
    np.testing.assert_allclose(means.get_ydata(), [80, (80 + 50 + 40) / 3])
    assert means.get_linestyle() == "None"
    assert numbers.get_xlabel() == "loss.weight"


def test_a_figure_is_a_file(tmp_path):
    results = pd.DataFrame({"optim.lr": ["0.1"], "top1": [0.5]})
    path = draw_sensitivity(results, ["optim.lr"], "where", tmp_path / "new" / "x.png")
    assert path.read_bytes().startswith(b"\x89PNG")
