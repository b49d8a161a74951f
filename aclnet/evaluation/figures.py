"""Figures that go with a run's tables, as PNG files; no window or global state of matplotlib."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from aclnet.evaluation.family_table import FamilyTable

_NAMED = 120
"""More classes than this are not named on the axes."""
_COUNTED = 30
"""Up to so many classes there is room for a number in every cell."""
_LONG = 28
"""Characters of a name beyond which it is cut."""
_INCHES = {"class": 0.3, "letter": 0.075, "bar": 0.55}


def draw_confusion(confusion: NDArray[np.int64], names: list[str], path: Path) -> Path:
    """Confusion matrix (C, C), true by predicted class, coloured by the share of the true class.

    Classes that occur on neither side are left out.
    """
    occurs = np.flatnonzero(confusion.any(axis=0) | confusion.any(axis=1))
    counts = confusion[np.ix_(occurs, occurs)]
    sizes = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, sizes, out=np.zeros(counts.shape), where=sizes > 0)
    figure, axes = _matrix(shares, [names[c] for c in occurs], "share of the true class", 1.0)
    axes.set(xlabel="predicted", ylabel="true")
    if len(occurs) <= _COUNTED:
        _write_cells(axes, shares, counts.astype(str))
    return _save(figure, path)


def draw_affinity(table: FamilyTable, path: Path) -> Path:
    """Affinity heat map of the classes that occur, ordered so that families stand together."""
    affinity = table.affinity[np.ix_(table.order, table.order)]
    names = [family.name for family in table.occurring]
    top = max(1.0, float(affinity.max(initial=0)))
    figure, axes = _matrix(affinity, names, "affinity (0: not confused)", top)
    axes.set_title(f"Affinity {table.origin}", loc="left")
    if len(names) <= _COUNTED:
        text = np.char.mod("%.1f", affinity)
        _write_cells(axes, affinity / top, np.where(affinity > 0, text, ""))
    return _save(figure, path)


def draw_bench(rows: pd.DataFrame, title: str, path: Path, measure: str = "top-1 accuracy") -> Path:
    """The measure with its interval for each row of the table of an occlusion bench."""
    figure = Figure(figsize=(7, 1.3 + _INCHES["bar"] * len(rows)), layout="constrained")
    axes = figure.subplots()
    top1, low, high = (100 * rows[name].to_numpy() for name in ("top1", "low", "high"))
    colours = ["tab:gray"] + ["tab:blue"] * (len(rows) - 1)
    axes.barh(rows["corruption"], top1, color=colours, height=0.6)
    axes.errorbar(
        top1, np.arange(len(rows)), xerr=[top1 - low, high - top1], fmt="none", color="k", capsize=3
    )
    for place, (share, end) in enumerate(zip(top1, high, strict=True)):
        axes.text(end + 1, place, f"{share:.1f}", va="center")
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(xlim=(0, 108), xticks=range(0, 101, 20), xlabel=f"{measure}, % (95 % interval)")
    axes.set_title(title, loc="left")
    return _save(figure, path)


def draw_sensitivity(results: pd.DataFrame, keys: list[str], title: str, path: Path) -> Path:
    """Top-1 by each key of a grid: a point a result, and the mean at each value.

    `results` has a row a setting and seed: a column of text a key, and `top1`. A panel shows one
    key, whatever the others are. Numbers stand in order, evenly, their means joined by a line;
    other values stand as they were given.
    """
    values = {key: _in_order(results[key]) for key in keys}
    widths = [1.5 + max(len(v) for v in values[key]) * len(values[key]) * 0.1 for key in keys]
    size = (max(5.0, sum(widths) + 2 * len(keys)), 4)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(keys), sharey=True, squeeze=False, width_ratios=widths)[0]
    for axes, key in zip(panels, keys, strict=True):
        places = results[key].map(values[key].index)
        means = 100 * results.groupby(places)["top1"].mean()
        axes.plot(places, 100 * results["top1"], "o", color="tab:blue", alpha=0.4)
        axes.plot(means, "k_", markersize=16, linestyle="-" if _numeric(values[key]) else "")
        axes.set_xticks(range(len(values[key])), values[key])
        axes.set(xlabel=key, xlim=(-0.5, len(values[key]) - 0.5))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("top-1 accuracy, %")
    figure.suptitle(title, x=0.01, ha="left")
    return _save(figure, path)


def _in_order(values: pd.Series[str]) -> list[str]:
    """Those that occur: numbers by size, others as they come."""
    occurring = list(dict.fromkeys(values))
    return sorted(occurring, key=float) if _numeric(occurring) else occurring


def _numeric(values: list[str]) -> bool:
    try:
        return all(isfinite(float(value)) for value in values)
    except ValueError:
        return False


def _matrix(values: NDArray[Any], names: list[str], label: str, top: float) -> tuple[Figure, Axes]:
    """A square heat map from 0 to `top`, a row and a column a class."""
    short = [name if len(name) <= _LONG else f"{name[: _LONG - 3].rstrip()}..." for name in names]
    margin = 1.5 + _INCHES["letter"] * max(map(len, short), default=0)
    size = float(np.clip(_INCHES["class"] * len(names), 2, 24))
    figure = Figure(figsize=(size + margin + 0.8, size + margin), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(values, cmap="Blues", vmin=0, vmax=top, interpolation="nearest")
    figure.colorbar(image, label=label, shrink=0.6)
    if len(names) <= _NAMED:
        axes.set_xticks(range(len(names)), short, rotation=90)
        axes.set_yticks(range(len(names)), short)
    return figure, axes


def _write_cells(axes: Axes, shares: NDArray[Any], text: NDArray[np.str_]) -> None:
    """Writes into the cells that are not empty, light on dark ones."""
    for row, column in np.argwhere(shares > 0):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, text[row, column], ha="center", va="center", color=colour, size=7)


def _save(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path
