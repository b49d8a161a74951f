"""Figures that go with a run's tables, as PNG files; no window or global state of matplotlib."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from aclnet.evaluation.family_table import FamilyTable

_NAMED = 120
"""Largest number of classes that have names on the axes."""
_COUNTED = 30
"""Largest number of classes that leaves room for a number in every cell."""
_LONG = 28
"""Largest number of characters of a name; longer names are cut."""
_INCHES = {"class": 0.3, "letter": 0.075, "bar": 0.55}


def draw_confusion(confusion: NDArray[np.int64], names: list[str], path: Path) -> Path:
    """Confusion matrix (C, C), true by predicted class, coloured by the share of the true class.

    Classes that occur on neither side are left out.
    """
    occurs = np.flatnonzero(confusion.any(axis=0) | confusion.any(axis=1))
    counts = confusion[np.ix_(occurs, occurs)]
    sizes = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, sizes, out=np.zeros(counts.shape), where=sizes > 0)
    figure, axes = matrix_figure(shares, [names[c] for c in occurs], "share of the true class", 1.0)
    axes.set(xlabel="predicted", ylabel="true")
    if len(occurs) <= _COUNTED:
        _write_cells(axes, shares, counts.astype(str))
    return _save(figure, path)


def draw_affinity(table: FamilyTable, path: Path) -> Path:
    """Affinity heat map of the classes that occur, ordered so that families stand together."""
    affinity = table.affinity[np.ix_(table.order, table.order)]
    names = [family.name for family in table.occurring]
    top = max(1.0, float(affinity.max(initial=0)))
    figure, axes = matrix_figure(affinity, names, "affinity (0: not confused)", top)
    axes.set_title(f"Affinity {table.origin}", loc="left")
    if len(names) <= _COUNTED:
        text = np.char.mod("%.1f", affinity)
        _write_cells(axes, affinity / top, np.where(affinity > 0, text, ""))
    return _save(figure, path)


def draw_bench(rows: pd.DataFrame, title: str, path: Path, measure: str = "top-1 accuracy") -> Path:
    """Writes `bench_figure`."""
    return _save(bench_figure(rows, title, measure), path)


def bench_figure(rows: pd.DataFrame, title: str, measure: str = "top-1 accuracy") -> Figure:
    """The measure with its interval under each protocol, for each run of an occlusion bench.

    `rows` are those of `aclnet.evaluation.robustness.table`.
    """
    protocols = list(dict.fromkeys(rows["protocol"]))
    runs = list(dict.fromkeys(rows["run"]))
    height = 1.3 + _INCHES["bar"] * len(protocols) * (0.4 + 0.2 * len(runs))
    figure = Figure(figsize=(7, min(height, 24)), layout="constrained")
    axes = figure.subplots()
    for number, run in enumerate(runs):
        own = rows[rows["run"] == run]
        middle, low, high = (
            100 * own[name].to_numpy() for name in ("accuracy", "accuracy_low", "accuracy_high")
        )
        shift = 0.6 * ((number + 0.5) / len(runs) - 0.5)
        places = own["protocol"].map(protocols.index).to_numpy() + shift
        ends = np.maximum([middle - low, high - middle], 0)
        axes.errorbar(middle, places, xerr=ends, fmt="o", markersize=4, capsize=2, label=run)
    axes.set_yticks(range(len(protocols)), protocols)
    axes.set_ylim(len(protocols) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(xlim=(0, 100), xticks=range(0, 101, 20), xlabel=f"{measure}, % (95 % interval)")
    axes.set_title(title, loc="left")
    if len(runs) > 1:
        figure.legend(loc="outside lower center")
    return figure


def draw_conditions(accuracies: pd.DataFrame, title: str, path: Path) -> Path:
    """Heat map of accuracies in %: one line per condition, one column per network.

    `accuracies` has the column `protocol`, then a column of shares for each network.
    """
    names = list(accuracies.columns[1:])
    shares = accuracies[names].to_numpy(dtype=np.float64)
    longest = max(map(len, accuracies["protocol"])) * _INCHES["letter"]
    size = (longest + 0.75 * len(names) + 1.5, 0.26 * len(shares) + 2.2)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.set_yticks(range(len(shares)), accuracies["protocol"])
    axes.set_title(f"Top-1 accuracy in %, {title}", loc="left")
    _write_cells(axes, shares, np.char.mod("%.0f", 100 * shares))
    return _save(figure, path)


def draw_sensitivity(results: pd.DataFrame, keys: list[str], title: str, path: Path) -> Path:
    """Top-1 by each key of a grid: one point per result, and the mean at each value.

    `results` has a row per setting and seed, with a column of text for each key, and `top1`. Each
    panel shows one key, for all values of the others. Numbers are in order with equal distances,
    and a line joins their means; other values stay in the given order.
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
    """The values that occur: numbers by size, other values in the order of occurrence."""
    occurring = list(dict.fromkeys(values))
    return sorted(occurring, key=float) if _numeric(occurring) else occurring


def _numeric(values: list[str]) -> bool:
    try:
        return all(isfinite(float(value)) for value in values)
    except ValueError:
        return False


def matrix_figure(
    values: NDArray[Any], names: list[str], label: str, top: float, power: float = 1.0
) -> tuple[Figure, Axes]:
    """A square heat map from 0 to `top`, with a row and a column for each class.

    Colours follow the values raised to `power`: a power below 1 makes small values visible.
    """
    short = [name if len(name) <= _LONG else f"{name[: _LONG - 3].rstrip()}..." for name in names]
    margin = 1.5 + _INCHES["letter"] * max(map(len, short), default=0)
    size = float(np.clip(_INCHES["class"] * len(names), 2, 24))
    figure = Figure(figsize=(size + margin + 0.8, size + margin), layout="constrained")
    axes = figure.subplots()
    norm = PowerNorm(power, vmin=0, vmax=top)
    image = axes.imshow(values, cmap="Blues", norm=norm, interpolation="nearest")
    figure.colorbar(image, label=label, shrink=0.6)
    if len(names) <= _NAMED:
        axes.set_xticks(range(len(names)), short, rotation=90)
        axes.set_yticks(range(len(names)), short)
    return figure, axes


def _write_cells(axes: Axes, shares: NDArray[Any], text: NDArray[np.str_]) -> None:
    """Writes numbers into the cells that are not empty, in light colour on dark cells."""
    for row, column in np.argwhere(shares > 0):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, text[row, column], ha="center", va="center", color=colour, size=7)


def _save(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path
