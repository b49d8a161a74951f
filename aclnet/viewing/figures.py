"""A view as a figure: a strip of frames (png), or an animation (gif, mp4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aclnet.datasets.spec import AclnetError
from aclnet.runs.writing import writing
from aclnet.viewing.camera import AZIMUTH, ELEVATION, seen
from aclnet.viewing.groups import COLOURS, groups_of

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from aclnet.viewing.forms import Form, View

_STRIP = 6
"""Frames of a strip."""
_INCHES = 2.0
"""Width and height of a picture of a strip; those of an animation are twice as large."""
_BEHIND, _FLOOR = "#c3c8cf", "#e6e9ed"


def write_strip(view: View, path: Path) -> None:
    """Writes frames at equal distances side by side, a row for each form, as PNG.

    Raises AclnetError if the file cannot be written.
    """
    frames = _with_somebody(view)
    chosen = frames[np.unique(np.linspace(0, len(frames) - 1, _STRIP).round().astype(int))]
    columns = max(len(chosen), 2)  # a title needs some width
    size = (columns * _INCHES, len(view.forms) * (_INCHES + 0.3) + 0.8)
    figure, grid = _figure(view, size, len(view.forms), columns)
    for row, (form, pictures) in enumerate(zip(view.forms, grid, strict=True)):
        for picture, number in zip(pictures, chosen.tolist(), strict=False):
            _Picture(picture, view, form).show(number)
            if row == 0:
                picture.set_title(f"frame {number}", fontsize=8)
        pictures[0].text(
            0, 1.1 if row == 0 else 1.0, _text(form.title), fontsize=8, weight="bold",
            transform=pictures[0].transAxes, va="bottom",
        )  # fmt: skip
    with writing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


def write_animation(view: View, path: Path) -> None:
    """Writes all frames, the forms side by side, as .gif or .mp4 by the suffix of `path`.

    Raises AclnetError if the file cannot be written, and for .mp4 if there is no ffmpeg.
    """
    from matplotlib.animation import FFMpegWriter, PillowWriter

    movie = path.suffix.lower() == ".mp4"
    if movie and not FFMpegWriter.isAvailable():
        raise AclnetError(
            f"{path}: mp4 needs the program ffmpeg, which is not installed; install it (for "
            "example `apt install ffmpeg`, `conda install ffmpeg`), or write .gif or .html"
        )
    side = 2 * _INCHES
    size = (len(view.forms) * side, side + 0.8)
    figure, grid = _figure(view, size, 1, len(view.forms))
    pictures = [_Picture(axes, view, form) for axes, form in zip(grid[0], view.forms, strict=True)]
    for picture in pictures:
        picture.axes.set_title(_text(picture.form.title), fontsize=9)
    place = figure.text(0.99, 0.01, "", ha="right", va="bottom", fontsize=8)
    # frames of a movie have an even number of pixels: 4 inches at 100 pixels
    writer = (FFMpegWriter if movie else PillowWriter)(fps=view.fps)  # type: ignore[arg-type]
    with writing(path) as temporary:
        named = temporary.with_name(f"{temporary.name}{path.suffix.lower()}")
        try:
            with writer.saving(figure, str(named), dpi=100):
                for number in view.frames.tolist():
                    for picture in pictures:
                        picture.show(number)
                    place.set_text(f"frame {number}")
                    writer.grab_frame()
            named.replace(temporary)
        finally:
            named.unlink(missing_ok=True)


def _figure(
    view: View, size: tuple[float, float], rows: int, columns: int
) -> tuple[Figure, NDArray[Any]]:
    """An empty figure with title and legend, and its axes (rows, columns)."""
    figure = Figure(figsize=size)
    grid = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(
        left=0.02, right=0.98, bottom=0.4 / size[1], top=1 - 0.55 / size[1], wspace=0.02, hspace=0.1
    )
    figure.text(0.02, 1 - 0.08 / size[1], _text(view.title), va="top", fontsize=10, weight="bold")
    names = {name: c for form in view.forms for name, c in groups_of(form.layout).names.items()}
    marks = [Line2D([], [], color=COLOURS[c], marker="o", markersize=4) for c in names.values()]
    labels = [_text(name) for name in names]
    if any(form.behind is not None for form in view.forms):
        marks.append(Line2D([], [], color=_BEHIND))
        labels.append("before the change")
    if marks:
        figure.legend(
            marks, labels, loc="lower left", ncols=len(marks), fontsize=8, frameon=False,
            borderaxespad=0.6,
        )  # fmt: skip
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color(_FLOOR)
    return figure, grid


def _with_somebody(view: View) -> NDArray[np.int64]:
    """Numbers of the frames in which any form shows a joint; all frames if there are none."""
    shown = [form.frame[seen(form.joints).any(axis=(0, 2))] for form in view.forms]
    found = np.unique(np.concatenate(shown))
    return found if len(found) else view.frames


def _text(name: str) -> str:
    """A name as plain text: matplotlib reads what is between dollar signs as a formula."""
    return name.replace("$", r"\$")


class _Picture:
    """One form, drawn at one place of a figure."""

    def __init__(self, axes: Axes, view: View, form: Form) -> None:
        self.axes, self.form = axes, form
        self.behind = None if form.behind is None else view.forms[form.behind]
        axes.set(xlim=(-1, 1), ylim=(-1, 1), aspect="equal")
        self.bones = np.array(form.layout.inward, int).reshape(-1, 2)
        colour = np.array(COLOURS)[groups_of(form.layout).colour]
        if form.camera.floor is not None:
            self._draw_floor(form.camera.floor / form.camera.radius)
        self.shadow = [self._lines(_BEHIND, 1.0) for _ in self._persons(self.behind)]
        self.lines = [
            self._lines(colour[self.bones[:, 0]].tolist(), 1.8 if m == 0 else 1.1)
            for m in self._persons(form)
        ]
        self.points = [
            axes.scatter([], [], s=9 if len(colour) <= 60 else 2, zorder=3)
            for _ in self._persons(form)
        ]
        self.numbers = [axes.text(0, 0, "", fontsize=7, ha="center") for _ in self._persons(form)]
        self.colour = colour

    def show(self, number: int) -> None:
        """Draws the frame with this number; draws nothing if the form does not have it."""
        if self.behind is not None:
            for lines, joints in zip(self.shadow, self._joints(self.behind, number), strict=True):
                lines.set_segments(self._segments(joints))
        for m, joints in enumerate(self._joints(self.form, number)):
            there = ~np.isnan(joints[:, 0])
            shown = there[self.bones].all(axis=1)
            self.lines[m].set_segments(self._segments(joints))
            self.lines[m].set_color(self.colour[self.bones[shown, 0]].tolist())
            self.points[m].set_offsets(joints[there])
            self.points[m].set_edgecolor(self.colour[there].tolist())
            self.points[m].set_facecolor("white" if m else self.colour[there].tolist())
            several = len(self.form.joints) > 1 and there.any()
            self.numbers[m].set_text(str(m + 1) if several else "")
            if several:
                x, y = joints[there][joints[there, 1].argmax()]
                self.numbers[m].set_position((x, y + 0.04))

    def _lines(self, colour: Any, width: float) -> LineCollection:  # noqa: ANN401 - one or a list
        lines = LineCollection([], colors=colour, linewidths=width, capstyle="round")
        self.axes.add_collection(lines)
        return lines

    @staticmethod
    def _persons(form: Form | None) -> range:
        return range(0 if form is None else len(form.joints))

    def _joints(self, form: Form, number: int) -> NDArray[np.float64]:
        """(M, V, 2) places in this picture, NaN for a missing joint or frame."""
        found = np.flatnonzero(form.frame == number)
        places = np.full((*form.joints.shape[::2], 2), np.nan)
        if len(found):
            joints = form.joints[:, found[0]]
            there = seen(joints)
            placed = self.form.camera.project(joints[there], AZIMUTH, ELEVATION)
            places[there] = placed
        return places

    def _segments(self, joints: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        ends = joints[self.bones]
        return [*ends[~np.isnan(ends).any(axis=(1, 2))]]

    def _draw_floor(self, height: float) -> None:
        camera = self.form.camera
        line = np.linspace(-0.8, 0.8, 9)
        across = np.stack(np.broadcast_arrays(line[:, None], height, [-0.8, 0.8]), axis=-1)
        grid = np.concatenate([across, across[..., ::-1]])
        points = camera.radius * grid @ camera.base + camera.centre
        places = camera.project(points, AZIMUTH, ELEVATION)
        self.axes.add_collection(LineCollection(list(places), colors=_FLOOR, linewidths=0.6))
