"""Numbers of frames from the names of their images.

The meaning of digits is not clear from one name: `21.055272` is a time, `cam1_0007` has two
numbers. Therefore the names of all images of a recording are compared.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from aclnet.datasets.spec import DamageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_ENDING = re.compile(r"\.[A-Za-z]\w{0,4}$", re.ASCII)
_DIGITS = re.compile(r"(\d+)", re.ASCII)
_LONGEST = 9
"""Most digits of a frame number, without leading zeros; longer numbers are times."""
_LONGEST_NAME = 4096
_REMEDY = (
    "the names of a recording's images may differ only in the frame number, as in frame_000012.jpg"
)


class _Name(NamedTuple):
    """A name without its ending, split at its digits: there is one more text than numbers."""

    image: str
    texts: tuple[str, ...]
    digits: tuple[str, ...]

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(map(int, self.digits))

    @property
    def fractions(self) -> tuple[str | int, ...]:
        """The numbers, with digits after a point read as a fraction: .5 is more than .25."""
        between = ("", *self.texts[1:-1])
        return tuple(
            d if text == "." else int(d) for text, d in zip(between, self.digits, strict=True)
        )


def frame_numbers(images: Sequence[str]) -> dict[str, int]:
    """Frame number of each image; `images` in the order of their file, possibly repeated.

    The names must be alike except for numbers. The first number that differs between images and
    rises with the whole name counts the frames. Names that are times (`12_06_21.055272`, `0.5`, or
    more than nine digits) are numbered from 0 in their order.

    Raises DamageError that names two images if names do not give the order, or share a number.
    """
    names = [_parse(image) for image in dict.fromkeys(images)]
    if not names:
        return {}
    first = names[0]
    for name in names:
        if not name.digits:
            raise DamageError(f"{short(name.image)} has no frame number; {_REMEDY}")
        if name.texts != first.texts:
            raise DamageError(
                f"{short(first.image)} and {short(name.image)} are named differently; {_REMEDY}"
            )
    varying = [k for k, column in enumerate(_columns(names)) if len(set(column)) > 1]
    if _are_times(names, varying):
        ordered = _in_time(names)
        return {name.image: number for number, name in enumerate(ordered)}
    ordered = sorted(names, key=lambda name: name.numbers)
    for k in varying or [len(first.digits) - 1]:
        numbers = [name.numbers[k] for name in ordered]
        if all(a < b for a, b in pairwise(numbers)):
            return {name.image: name.numbers[k] for name in names}
    raise _ambiguous(names, varying[-1] if varying else len(first.digits) - 1)


def short(text: str) -> str:
    """A text from a file, cut to the length of a message."""
    return text if len(text) <= 60 else f"{text[:57]}..."


def _parse(image: str) -> _Name:
    if len(image) > _LONGEST_NAME:
        raise DamageError(f"{short(image)}: the name has {len(image):,} characters")
    pieces = _DIGITS.split(_ENDING.sub("", image))
    return _Name(image, tuple(pieces[::2]), tuple(pieces[1::2]))


def _columns(names: list[_Name]) -> list[tuple[int, ...]]:
    return list(zip(*(name.numbers for name in names), strict=True))


def _are_times(names: list[_Name], varying: list[int]) -> bool:
    """True if the differing number is a decimal number, a time of day, or too long for frames."""
    texts = names[0].texts
    for k in varying or range(len(names[0].digits)):
        if k and texts[k] == ".":
            return True
        if any(len(name.digits[k].lstrip("0")) > _LONGEST for name in names):
            return True
    return any(
        all(_is_clock(name, k) for name in names) and {k + 1, k + 2} & {*varying}
        for k in range(len(names[0].digits) - 2)
    )


def _is_clock(name: _Name, k: int) -> bool:
    """True if three numbers are hours, minutes and seconds, as in 12_06_21 or 12-06-21."""
    hours, minutes, seconds = name.digits[k : k + 3]
    return (
        name.texts[k + 1] == name.texts[k + 2]
        and name.texts[k + 1] in tuple("_-: ")
        and len(hours) == len(minutes) == len(seconds) == 2
        and int(hours) < 24
        and max(int(minutes), int(seconds)) < 60
    )


def _in_time(names: list[_Name]) -> list[_Name]:
    """Sorts names by their times. Digits after a point may be a fraction or a number.

    If the two readings differ, the order in the file decides.
    """
    by_fraction = sorted(names, key=lambda name: name.fractions)
    by_number = sorted(names, key=lambda name: name.numbers)
    if by_fraction in (by_number, names):
        return by_fraction
    if by_number == names:
        return by_number
    other = next(a for a, b in zip(by_fraction, by_number, strict=True) if a != b)
    raise DamageError(
        f"{short(other.image)}: the order of the images is not clear from the names; {_REMEDY}"
    )


def _ambiguous(names: list[_Name], k: int) -> DamageError:
    """An error that names two images with one number, or with numbers against their order."""
    seen: dict[int, _Name] = {}
    for name in names:
        other = seen.setdefault(name.numbers[k], name)
        if other is not name:
            return DamageError(
                f"{short(other.image)} and {short(name.image)} both have the frame number "
                f"{name.numbers[k]}. If the file has several recordings, select the images of each "
                "recording with the column `images` of index.csv"
            )
    return DamageError(
        f"{short(names[0].image)}: several numbers differ, so the order is not clear; {_REMEDY}"
    )
