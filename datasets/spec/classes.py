"""Warnings about classes: names that are nearly alike, classes that are tested but not trained."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.spec.wording import first_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

_NEGATIVE = re.compile(r"-\d+(\.\d*)?", re.ASCII)
_ZEROS = re.compile(r"(?<!\d)0+(?=\d)|(?<=\d)\.0+(?!\d)", re.ASCII)
"""Zeros before a number and after its decimal point: 01 and 1.0 are both 1."""


_ONE_WAY = "if they are the same class, write its label in one way"


def doubtful_names(names: Sequence[str], remedy: str = _ONE_WAY) -> Iterator[str]:
    """Sentences about names that differ only by case, blanks or zeros, and negative numbers."""
    alike: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):  # FineGYM has one name twice
        alike.setdefault(_ZEROS.sub("", "".join(name.casefold().split())), []).append(name)
    for group in alike.values():
        if len(group) > 1:
            yield f"{' and '.join(map(repr, group))} are different classes; {remedy}"
    for name in names:
        if _NEGATIVE.fullmatch(name):
            yield (
                f"{name!r} is a class like any other label; leave the label of a recording without "
                "a class empty"
            )


def doubtful_sides(
    masks: Mapping[str, NDArray[np.bool_]], labels: NDArray[np.int64], names: Sequence[str]
) -> Iterator[str]:
    """Sentences about protocols that test classes without training, or train a single class.

    masks: (N,) samples on each `protocol/side`. Protocols with a gallery are left out, because the
    people in a gallery need not train.
    """
    for protocol in dict.fromkeys(side.rpartition("/")[0] for side in masks):
        train, test = (masks.get(f"{protocol}/{side}") for side in ("train", "test"))
        if train is None or not train.any() or f"{protocol}/gallery" in masks:
            continue
        trained = np.unique(labels[train])
        if len(trained) == 1:
            yield f"protocol {protocol} trains one class ({names[trained[0]]}); a network needs two"
        if test is not None:
            missed = np.setdiff1d(labels[test], trained).tolist()
            if missed:
                said = first_of([names[label] for label in missed])
                yield (
                    f"protocol {protocol} tests {_classes(len(missed))} without training "
                    f"recordings, which can never be recognised: {said}"
                )


def _classes(count: int) -> str:
    return "a class" if count == 1 else f"{count} classes"
