"""Figures of a report for papers: each chart of the page as SVG and PDF."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.path import Path as Curve

from aclnet.evaluation.figures import bench_figure, matrix_figure
from aclnet.evaluation.outcomes import words_of
from aclnet.report.parts import (
    Classes,
    Confusion,
    Curves,
    Embedding,
    Families,
    Improvement,
    Missing,
    People,
)
from aclnet.runs.writing import writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from aclnet.report.parts import Labels, Report, RunReport

SETTINGS: dict[Any, Any] = {
    "font.size": 9,
    "pdf.fonttype": 42,  # publishers refuse fonts of type 3
    "svg.hashsalt": "aclnet",  # the same report gives the same bytes
    "text.parse_math": False,  # a dollar in a class name is a dollar
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_FORMATS = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
_CONTRASTIVE = "Contrastive terms, without weights"
_FAMILY = "Samples whose class has a family"
_PANELS = {
    "Loss": {"loss": "loss", "cross_entropy": "cross-entropy"},
    _CONTRASTIVE: {
        "inter": "inter-class",
        "intra": "intra-class",
        "triplet": "triplet",
    },
    "Accuracy": {
        "accuracy": "training",
        "eval_accuracy": "validation",
        "eval_rank1": "validation rank-1",
        "eval_mAP": "validation mAP",
    },
    _FAMILY: {"in_family": "samples with a family"},
    "Learning rate": {"lr": "learning rate"},
}
_UNITS = {
    "Accuracy": "accuracy, %",
    _FAMILY: "share of samples, %",
    "Learning rate": "learning rate",
}
_SHARES = ("Accuracy", _FAMILY)
"""Panels of shares, in percent."""
_COLOURS = "tab10"
_LONG = 28


def write_figures(report: Report, folder: Path) -> list[Path]:
    """Writes each chart of a report as SVG and PDF; with several runs, a folder for each run.

    Returns the SVG files. Raises AclnetError if a file cannot be written.
    """
    written = []
    several = len(report.runs) > 1
    names = _folders(report) if several else [""]
    with rc_context(SETTINGS):
        for name, run in zip(names, report.runs, strict=True):
            for stem, figure in _of_run(run):
                written.append(_save(figure, folder / name / stem))
        if several:
            for stem, figure in _of_all(report, names):
                written.append(_save(figure, folder / stem))
    return written


def _folders(report: Report) -> list[str]:
    names = [words_of(run.name) or "run" for run in report.runs]
    return [
        name if names.count(name) == 1 else f"{number}-{name}"
        for number, name in enumerate(names, start=1)
    ]


def _save(figure: Figure, stem: Path) -> Path:
    for form, metadata in _FORMATS.items():
        with writing(stem.with_name(f"{stem.name}.{form}")) as temporary:
            figure.savefig(temporary, format=form, metadata=metadata)
        figure.set_layout_engine("none")  # the next file takes the same places
    return stem.with_name(f"{stem.name}.svg")


def _of_run(run: RunReport) -> Iterator[tuple[str, Figure]]:
    """Name and figure of each chart whose data is there."""
    if isinstance(run.curves, Curves):
        yield "curves", curves_figure(run.name, run.curves)
    if isinstance(run.confusion, Confusion):
        yield "confusion", confusion_figure(run.name, run.confusion, run.labels)
    if isinstance(run.classes, Classes):
        yield "classes", classes_figure(run.name, run.classes, run.labels)
    if isinstance(run.families, Families):
        yield "affinity", _affinity(run.name, run.families)
        yield "families", graph_figure(run.name, run.families)
    if not isinstance(run.occlusion, Missing):
        for number, bench in enumerate(run.occlusion, start=1):
            rows = pd.DataFrame(bench.rows).assign(protocol=[row["short"] for row in bench.rows])
            measure = "top-1 accuracy" if run.task == "action" else "rank-1"
            stem = "occlusion" if number == 1 else f"occlusion-{number}"
            title = f"{run.name}: {bench.title}"
            yield stem, bench_figure(rows, title, measure)
            yield from _severities(stem, rows, title, measure)
    if isinstance(run.embedding, Embedding):
        yield "embedding", _embedding(run.name, run.embedding, run.labels)
    if isinstance(run.people, People) and run.people.views:
        yield "views", _views(run.name, run.people)


def _of_all(report: Report, names: Sequence[str]) -> Iterator[tuple[str, Figure]]:
    first = report.runs[0]
    for found in report.improvements:
        if isinstance(found, Improvement):
            second = report.runs[found.run]
            title = f"{second.name} compared with {first.name}"
            yield f"improvement-{names[found.run]}", _improvement(title, found, first.labels)
    benches = [
        {bench.title: bench for bench in run.occlusion}
        for run in report.runs
        if not isinstance(run.occlusion, Missing)
    ]
    shared = [title for title in benches[0] if all(title in b for b in benches)] if benches else []
    if len(benches) == len(report.runs) and shared:
        rows = pd.concat(
            pd.DataFrame(of_run[shared[0]].rows).assign(
                run=run.name, protocol=[row["short"] for row in of_run[shared[0]].rows]
            )
            for run, of_run in zip(report.runs, benches, strict=True)
        )
        measure = "top-1 accuracy" if first.task == "action" else "rank-1"
        title = f"Runs compared: {shared[0]}"
        yield "occlusion", bench_figure(rows, title, measure)
        yield from _severities("occlusion", rows, title, measure)


def _severities(
    stem: str, rows: pd.DataFrame, title: str, measure: str
) -> Iterator[tuple[str, Figure]]:
    """Accuracy by severity, a panel for each kind of corruption with several severities."""
    kinds = [kind for kind, part in rows.groupby("curve") if part["severity"].nunique() > 1]
    if not kinds:
        return
    figure = Figure(figsize=(8, 2.5 * -(-len(kinds) // 3) + 0.6), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left")
    panels = figure.subplots(-(-len(kinds) // 3), 3, squeeze=False).ravel()
    for axes, kind in zip(panels, kinds, strict=False):
        for run, own in rows.groupby("run", sort=False):
            part = own[(own["curve"] == kind) | (own["severity"] == 0)].sort_values("severity")
            low, high = 100 * part["accuracy_low"], 100 * part["accuracy_high"]
            axes.plot(part["severity"], 100 * part["accuracy"], marker=".", label=run)
            axes.fill_between(part["severity"], low, high, alpha=0.2, linewidth=0)
        axes.set(xlabel="severity", ylabel=f"{measure}, %", ylim=(0, 100))
        axes.set_title(kind, loc="left")
    for axes in panels[len(kinds) :]:
        axes.set_axis_off()
    if rows["run"].nunique() > 1:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center")
    yield f"{stem}-severity", figure


def curves_figure(name: str, curves: Curves) -> Figure:
    """The panels of the page, as far as the training has their columns."""
    panels = {
        title: {c: words for c, words in columns.items() if _has(curves, c)}
        for title, columns in _PANELS.items()
    }
    panels = {title: columns for title, columns in panels.items() if columns}
    figure = Figure(figsize=(8, 2.7 * -(-len(panels) // 2)), layout="constrained")
    figure.suptitle(f"{name}: training", x=0.01, ha="left")
    all_axes = figure.subplots(-(-len(panels) // 2), 2, squeeze=False).ravel()
    for axes, (title, columns) in zip(all_axes, panels.items(), strict=False):
        for column, words in columns.items():
            scale = 100 if title in _SHARES else 1
            values = scale * np.array(curves.figures[column])
            axes.plot(curves.epochs, values, label=words, marker=".", markersize=3)
        for term, epoch in curves.starts.items():
            if epoch > curves.epochs[0]:
                axes.axvline(epoch, color="grey", linestyle="--", linewidth=0.8)
                late = epoch > (curves.epochs[0] + curves.epochs[-1]) / 2
                axes.annotate(
                    f" {_PANELS[_CONTRASTIVE][term]} term starts",
                    (epoch, 1),
                    xycoords=("data", "axes fraction"),
                    color="grey",
                    size=7,
                    va="bottom",
                    ha="right" if late else "left",
                    annotation_clip=False,
                )
        axes.set(xlabel="epoch", ylabel=_UNITS.get(title, "mean over samples"))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_title(title, loc="left", pad=12)
        axes.set_ylim(bottom=0, top=100 if title in _SHARES else None)
        if len(columns) > 1:
            axes.legend(frameon=False, fontsize=8)
    for axes in all_axes[len(panels) :]:
        axes.set_axis_off()
    return figure


def _has(curves: Curves, column: str) -> bool:
    values = np.array(curves.figures.get(column, [np.nan]))
    return bool((~np.isnan(values)).any())


def confusion_figure(name: str, confusion: Confusion, labels: Labels) -> Figure:
    """Errors only, coloured by the root of their share, so that single errors are visible."""
    C = len(labels.names)
    counts = np.zeros((C, C))
    for true, predicted, count in confusion.cells:
        counts[true, predicted] = count
    occurs = np.asarray(counts.any(axis=0) | counts.any(axis=1))
    order = [c for c in labels.order if occurs[c]]
    order += [c for c in np.flatnonzero(occurs).tolist() if c not in labels.order]
    sizes = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, sizes, out=np.zeros_like(counts), where=sizes > 0)
    np.fill_diagonal(shares, 0)
    shares = shares[np.ix_(order, order)]
    names = [labels.names[c] for c in order]
    top = float(shares.max(initial=0)) or 1.0
    figure, axes = matrix_figure(shares, names, "share of the true class", top, 0.5)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_title(f"{name}: errors by class, related classes side by side", loc="left")
    return figure


def _affinity(name: str, families: Families) -> Figure:
    C = len(families.labels.names)
    affinity = np.zeros((C, C))
    for a, b, value in families.affinity[-1]:
        affinity[a, b] = affinity[b, a] = value
    order = families.labels.order
    values = affinity[np.ix_(order, order)]
    names = [families.labels.names[c] for c in order]
    top = max(1.0, float(values.max(initial=0)))
    figure, axes = matrix_figure(values, names, "affinity (0: not related)", top)
    axes.set(xlabel="class", ylabel="class")
    axes.set_title(f"{name}: affinity {families.origin}", loc="left")
    return figure


def graph_figure(name: str, families: Families) -> Figure:
    """Classes on a circle; lines join classes of one family."""
    labels = families.labels
    n = max(len(labels.order), 1)
    radius = max(1.6, n * 0.15 / (2 * np.pi))  # inches; a line of text for each class
    figure = Figure(figsize=(2 * (radius + 1.9), 2 * (radius + 1.9) + 0.4))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    reach = radius + 1.9
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach + 0.4), aspect="equal")
    axes.text(-reach + 0.1, reach + 0.2, f"{name}: motion families {families.origin}", size=11)
    angle = {c: np.pi / 2 - 2 * np.pi * i / n for i, c in enumerate(labels.order)}
    top = max((value for *_, value in families.affinity[-1]), default=1.0)
    for a, b, value in families.affinity[-1]:
        if value > families.threshold and a in angle and b in angle:
            same = labels.groups[a] and labels.groups[a] == labels.groups[b]
            colour = _colour(labels.groups[a]) if same else "0.6"
            _join(
                axes,
                radius * _on_circle(angle[a]),
                radius * _on_circle(angle[b]),
                colour,
                value / top,
            )
    for c in labels.order:
        x, y = radius * _on_circle(angle[c])
        axes.plot(x, y, "o", color=_colour(labels.groups[c]), markersize=4)
        degrees = np.degrees(angle[c]) % 360
        flip = 90 < degrees < 270
        x, y = (radius + 0.1) * _on_circle(angle[c])
        axes.text(
            x, y, _short(labels.names[c]), size=7.5, rotation=degrees - 180 if flip else degrees,
            rotation_mode="anchor", ha="right" if flip else "left", va="center",
        )  # fmt: skip
    return figure


def _on_circle(angle: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([np.cos(angle), np.sin(angle)])


def _join(
    axes: Axes,
    start: np.ndarray[tuple[int], np.dtype[np.float64]],
    end: np.ndarray[tuple[int], np.dtype[np.float64]],
    colour: object,
    strength: float,
) -> None:
    """A line bent towards the middle, the more the farther its ends are apart."""
    from matplotlib.patches import PathPatch

    cosine = float(start @ end / np.linalg.norm(start) ** 2)
    middle = (start + end) / 2 * (1 - 0.8 * np.arccos(np.clip(cosine, -1, 1)) / np.pi)
    curve = Curve(np.array([start, middle, end]), [Curve.MOVETO, Curve.CURVE3, Curve.CURVE3])
    width, alpha = 0.4 + 1.6 * strength, 0.3 + 0.6 * strength
    axes.add_patch(PathPatch(curve, fill=False, edgecolor=colour, linewidth=width, alpha=alpha))


def classes_figure(name: str, classes: Classes, labels: Labels) -> Figure:
    rows = sorted(classes.rows, key=lambda row: row["accuracy"])
    figure, axes = _list_of_classes([labels.names[row["class"]] for row in rows])
    accuracy, low, high = (
        100 * np.array([row[key] for row in rows]) for key in ("accuracy", "low", "high")
    )
    ends = np.maximum([accuracy - low, high - accuracy], 0)
    axes.barh(range(len(rows)), accuracy, color="tab:blue", height=0.7, xerr=ends, ecolor="0.35",
              error_kw={"elinewidth": 0.8, "capsize": 1.5})  # fmt: skip
    axes.set(xlim=(0, 100), xlabel="accuracy, % (95 % interval)")
    axes.set_title(f"{name}: accuracy by class", loc="left")
    return figure


def _improvement(title: str, found: Improvement, labels: Labels) -> Figure:
    rows = found.classes
    marks = ["* " if row["q"] < 0.05 else "" for row in rows]
    names = [_short(labels.names[row["class"]]) for row in rows]
    figure, axes = _list_of_classes([m + n for m, n in zip(marks, names, strict=True)])
    gains = 100 * np.array([row["difference"] for row in rows])
    axes.barh(
        range(len(rows)), gains, color=np.where(gains > 0, "tab:green", "tab:red"), height=0.7
    )
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.set(xlabel="difference in accuracy, points (*: q < 0.05)")
    axes.set_title(title, loc="left")
    return figure


def _list_of_classes(names: list[str]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.5, 1 + 0.17 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.set_yticks(range(len(names)), [_short(name) for name in names], fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.3)
    return figure, axes


def _embedding(name: str, embedding: Embedding, labels: Labels) -> Figure:
    figure = Figure(figsize=(7, 6.4), layout="constrained")
    axes = figure.subplots()
    groups = np.array([labels.groups[label] for *_, label in embedding.points])
    x, y = (np.array([point[axis] for point in embedding.points]) for axis in (1, 2))
    for group in np.unique(groups).tolist():
        members = [labels.names[c] for c in labels.order if labels.groups[c] == group]
        words = _short(", ".join(members), 60) if group else "classes without relatives"
        own = groups == group
        axes.scatter(x[own], -y[own], s=9, color=_colour(group), label=words, linewidths=0)
    axes.set(xticks=[], yticks=[], xlabel="t-SNE 1", ylabel="t-SNE 2", aspect="equal")
    axes.set_title(f"{name}: {embedding.kind}, {len(x)} test sequences", loc="left")
    figure.legend(loc="outside lower left", fontsize=7, frameon=False, markerscale=2)
    return figure


def _views(name: str, people: People) -> Figure:
    count = len(people.views)
    figure = Figure(figsize=(3.8 * count + 0.6, 4), layout="constrained")
    figure.suptitle(f"{name}: rank-1 by view", x=0.01, ha="left")
    panels = figure.subplots(1, count, squeeze=False)[0]
    for axes, (condition, cells) in zip(panels, people.views.items(), strict=True):
        table = pd.DataFrame(cells, columns=["probe", "gallery", "rank1"])
        grid = 100 * table.pivot(index="probe", columns="gallery", values="rank1")
        image = axes.imshow(grid, cmap="Blues", vmin=0, vmax=100)
        axes.set_xticks(range(len(grid.columns)), grid.columns, rotation=90)
        axes.set_yticks(range(len(grid)), grid.index)
        axes.set(xlabel="view of the gallery", ylabel="view of the probe")
        axes.set_title(f"condition {condition or 'none'}", loc="left")
    figure.colorbar(image, ax=panels, label="rank-1, %", shrink=0.8)
    return figure


def _colour(group: int) -> object:
    from matplotlib import colormaps

    return colormaps[_COLOURS]((group - 1) % 10) if group else "0.65"


def _short(name: str, longest: int = _LONG) -> str:
    return name if len(name) <= longest else f"{name[: longest - 3].rstrip()}..."
