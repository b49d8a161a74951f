"""A view as HTML: a fragment for any page, or a whole page. It loads nothing from a network."""

from __future__ import annotations

import base64
import json
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.runs.writing import writing
from aclnet.viewing.camera import AZIMUTH, ELEVATION, seen
from aclnet.viewing.groups import groups_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.spec.layouts import Layout
    from aclnet.viewing.forms import Form, View

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ margin: 0 auto; max-width: 90rem; padding: 1rem; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #0f1215; }} }}
</style>
</head>
<body>
{assets}
{fragment}
</body>
</html>
"""
_MARKUP = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
"""Characters that could end a script element, in the form that JSON reads as the same."""
_MOST_STEPS = 32767


def write_page(view: View, path: Path) -> None:
    """Writes a whole page; raises AclnetError if the file cannot be written."""
    text = _PAGE.format(title=escape(view.title), assets=assets(), fragment=fragment(view))
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def assets() -> str:
    """Style and script of the fragments; a page with any number of fragments needs them once."""
    folder = files("aclnet.viewing")
    style, script = ((folder / f"viewer.{end}").read_text("utf-8") for end in ("css", "js"))
    return f"<style>\n{style}</style>\n<script>\n{script}</script>"


def fragment(view: View) -> str:
    """The view as one HTML element, drawn by the script of `assets`.

    All text of files is inside JSON, which the script writes as text and never as HTML.
    """
    data = json.dumps(as_data(view), allow_nan=False).translate(_MARKUP)
    return (
        f'<section class="skeleton-view" aria-label="{escape(view.title)}">'
        f'<script type="application/json">{data}</script></section>'
    )


def as_data(view: View) -> dict[str, Any]:
    """Data for the script, as plain values."""
    layouts: list[Layout] = []
    forms = [form_data(form, layouts) for form in view.forms]
    return {
        "title": view.title,
        "facts": view.facts,
        "remarks": view.remarks,
        "fps": view.fps,
        "timed": view.timed,
        "azimuth": AZIMUTH,
        "elevation": ELEVATION,
        "layouts": [layout_data(layout) for layout in layouts],
        "forms": forms,
    }


def layout_data(layout: Layout) -> dict[str, Any]:
    """Joints, bones and colours of a layout, as plain values for the script."""
    groups = groups_of(layout)
    return {
        "joints": layout.joints,
        "bones": layout.inward,
        "colour": groups.colour,
        "groups": [{"name": n, "colour": c} for n, c in groups.names.items()],
    }


def form_data(form: Form, layouts: list[Layout], *, compact: bool = False) -> dict[str, Any]:
    """A form for the script, as plain values.

    Args:
        form: the form.
        layouts: layouts of the page, to which the form's is added; the form has its number.
        compact: write the joints as base64 of little-endian int16, in steps of 1/32767 of their
            largest coordinate, instead of float32. No coordinate changes by more than a step.
    """
    if form.layout not in layouts:
        layouts.append(form.layout)
    camera = form.camera
    values, step = _steps(form.joints) if compact else (form.joints.astype("<f4"), None)
    return {
        "title": form.title,
        "note": form.note,
        "layout": layouts.index(form.layout),
        "persons": len(form.joints),
        "coordinates": form.joints.shape[-1],
        "frame": form.frame.tolist(),
        "values": base64.b64encode(values.tobytes()).decode(),
        "step": step,
        "base": camera.base.tolist(),
        "centre": camera.centre.tolist(),
        "radius": camera.radius,
        "floor": camera.floor,
        "behind": form.behind,
    }


def _steps(joints: NDArray[np.float32]) -> tuple[NDArray[np.int16], float]:
    """Joints (..., C) as whole steps, and the size of a step."""
    step = float(np.abs(joints).max(initial=0)) / _MOST_STEPS or 1.0
    values = np.rint(joints / step).astype("<i2")
    lost = seen(joints) & ~(values != 0).any(axis=-1)
    values[lost, 0] = 1  # zero in all coordinates means that the joint is missing
    return values, step
