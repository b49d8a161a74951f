"""Figures that go with a run's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")

from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from aclnet.family_table import FamilyTable

_NAMED = 60
"""More classes than this are numbered, not named, on an axis."""


def draw_confusion(confusion: NDArray[np.int64], names: list[str], path: Path) -> Path:
    """Row-normalised confusion matrix (true by predicted class)."""
    sizes = confusion.sum(axis=1, keepdims=True)
    shares = np.divide(confusion, sizes, out=np.zeros(confusion.shape), where=sizes > 0)
    return _matrix(shares, names, "share of the true class", path, ("predicted", "true"))


def draw_affinity(table: FamilyTable, path: Path) -> Path:
    """Affinity heat map, classes ordered so that families stand together."""
    order = table.order
    names = [table.families[c].name for c in order]
    return _matrix(table.affinity[np.ix_(order, order)], names, "affinity", path, ("", ""))


def draw_bench(rows: pd.DataFrame, title: str, path: Path) -> Path:
    """Top-1 with its interval for clean input and each corruption."""
    figure, axes = plt.subplots(figsize=(7, 1.2 + 0.5 * len(rows)), layout="constrained")
    shares = 100 * rows[["top1", "low", "high"]].to_numpy()
    errors = np.abs(shares[:, 1:] - shares[:, :1]).T
    colours = ["tab:gray"] + ["tab:blue"] * (len(rows) - 1)
    bars = axes.barh(rows["corruption"], shares[:, 0], xerr=errors, color=colours, capsize=3)
    axes.bar_label(bars, [f"{s:.1f}" for s in shares[:, 0]], label_type="center", color="white")
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="top-1 accuracy, % (95 % interval)", title=title)
    return _save(figure, path)


def _matrix(
    values: NDArray[Any], names: list[str], label: str, path: Path, axes_names: tuple[str, str]
) -> Path:
    size = np.clip(0.28 * len(names) + 2.5, 5, 24)
    figure, axes = plt.subplots(figsize=(size, size), layout="constrained")
    image = axes.imshow(values, cmap="magma_r", vmin=0, interpolation="nearest")
    figure.colorbar(image, label=label, shrink=0.6)
    if len(names) <= _NAMED:
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
    axes.set(xlabel=axes_names[0], ylabel=axes_names[1])
    return _save(figure, path)


def _save(figure: Any, path: Path) -> Path:  # noqa: ANN401 - matplotlib's Figure
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
