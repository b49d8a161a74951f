"""One row of the index of custom recordings: its values, and its part of a file."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from aclnet.datasets.spec import DamageError, shown

NUMBERS = ("subject", "camera", "setup", "replication", "width", "height")
"""Columns of whole numbers."""
SIDES = ("train", "val", "test", "gallery", "probe")
WHOLE = re.compile(r"\d{1,9}", re.ASCII)
"""A whole number of up to nine digits."""
_SECONDS = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)\s*s", re.ASCII)
_RATE = re.compile(r"\d{1,4}(?:\.\d{1,9})?", re.ASCII)
_ROUNDING = 1e-6
"""Tolerance in frames between a time and the nearest frame."""


class Part(NamedTuple):
    """Part of a recording; None means all of it."""

    start: int | None = None
    """Number of the first frame."""
    end: int | None = None
    """Number of the last frame, which belongs to the part."""
    person: int | None = None
    """Number of the person, from 0."""
    images: str = ""
    """Beginning of the image names of a recording, if its file holds several recordings."""


class Row(NamedTuple):
    """One recording in the index."""

    line: int
    sample_id: str
    file: str
    """Path relative to the raw root, or to the root's folder if the root is an archive."""
    label: int
    """Index of the class; negative if there is none."""
    numbers: dict[str, int]
    """Values of NUMBERS; -1 if empty."""
    condition: str
    split: str
    """One of `SIDES`, or several joined by +; may be empty."""
    part: Part = Part()
    fps: float = 0.0
    """Frames per second; 0 if empty."""


def parse_row(line: int, file: str, values: dict[str, str]) -> Row:
    """A row without its label; raises DamageError if a value is invalid for its column."""
    for name in ("id", "file"):
        if not values[name]:
            raise DamageError(f"`{name}` is empty")
    numbers = {}
    for name in NUMBERS:
        text = values.get(name, "")
        if text and not WHOLE.fullmatch(text):
            raise DamageError(f"`{name}` is {shown(text)!r}; a whole number is expected")
        numbers[name] = int(text) if text else -1
    split = values.get("split", "").lower()
    if split and not set(split.split("+")) <= set(SIDES):
        raise DamageError(
            f"`split` is {shown(split)!r}; it may be {', '.join(SIDES)}, two of these such as "
            "train+gallery, or empty"
        )
    if split and not values["label"]:
        raise DamageError(
            f"`label` is empty, but `split` is {split!r}; give a label, or leave `split` empty for "
            "a recording without a known class"
        )
    fps = values.get("fps", "")
    if fps and not (_RATE.fullmatch(fps) and float(fps) > 0):
        raise DamageError(f"`fps` is {fps!r}; frames per second such as 29.97 are expected")
    rate = float(fps or 0)
    condition = values.get("condition", "")
    return Row(line, values["id"], file, -1, numbers, condition, split, _part(values, rate), rate)


def _part(values: dict[str, str], fps: float) -> Part:
    """The part of a recording that a row describes; raises DamageError for an impossible part."""
    person = values.get("person", "")
    if person and not WHOLE.fullmatch(person):
        raise DamageError(f"`person` is {person!r}; a whole number from 0 is expected")
    start, end = (_frame(name, values.get(name, ""), fps) for name in ("start", "end"))
    first = None if start is None else math.ceil(start - _ROUNDING)
    last = None if end is None else math.floor(end + _ROUNDING)
    if first is not None and last is not None and last < first:
        raise DamageError(f"`end` is frame {last}, before `start`, which is frame {first}")
    images = values.get("images", "")
    return Part(first, last, int(person) if person else None, images)


def _frame(name: str, text: str, fps: float) -> float | None:
    """Number of a frame, from a number or from seconds such as `1.5s`."""
    if not text:
        return None
    seconds = _SECONDS.fullmatch(text)
    if seconds and fps:
        return float(seconds[1]) * fps
    if seconds:
        raise DamageError(f"`{name}` is {text!r}, but seconds need the column `fps`")
    if not WHOLE.fullmatch(text):
        raise DamageError(
            f"`{name}` is {text!r}; write a frame number such as 45, or seconds such as 1.5s"
        )
    return int(text)
