"""Rows of a sweep: the settings to train with every seed, from grids of values or from a file."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

from pydantic import Field

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.spec.records import Record, parse_record
from aclnet.pipelines.choices import Missing, Suite

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NAMED_GRIDS = {"components": "loss.terms=ce,ce+inter,ce+intra,acl"}
"""Grids with a name."""

_VALUE = r"\[[^\[\]]*\]|[^,\[\]{}\"']+"
"""A list of plain values, or a plain value."""
_REMEDY = "docs/evidence.md describes the file"

Row = tuple[str, ...]
"""Name of a row: a value for each key of the grid, or its name in the file."""


class Occlusion(Record):
    """The occlusion bench for every run of a sweep."""

    suite: Suite = "standard"
    missing: Missing = "centre"
    clips: int | None = Field(default=None, ge=1)
    """Clips per sequence; None: the clips of the run's own test."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Settings to train, and the pairs of them to compare."""

    keys: list[str]
    """Names of the columns that identify the rows."""
    settings: dict[Row, list[str]]
    """`KEY=VALUE` settings of each row."""
    pairs: list[tuple[Row, Row]]
    title: str | None = None
    recipe: str | None = None
    common: list[str] = field(default_factory=list)
    """Settings of all rows."""
    occlusion: Occlusion | None = None

    @classmethod
    def of_grids(cls, grids: Iterable[str]) -> Rows:
        """All combinations of grids, as `parse_grid` takes them, compared with the first one."""
        parsed = [parse_grid(text) for text in grids]
        keys = [key for key, _ in parsed]
        _check_keys(keys)
        rows = list(product(*(values for _, values in parsed)))
        settings = {
            row: [f"{key}={value}" for key, value in zip(keys, row, strict=True)] for row in rows
        }
        return cls(keys, settings, [(rows[0], row) for row in rows[1:]])

    @classmethod
    def load(cls, path: Path) -> Rows:
        """Rows of a TOML file; raises AclnetError with the problem if the file is wrong."""
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise AclnetError(f"{path} cannot be read as TOML: {error}; {_REMEDY}") from None
        read = parse_record(_File, values, str(path), _REMEDY)
        names = list(read.rows)
        pairs = read.compare or [(names[0], other) for other in names[1:]]
        unknown = [name for pair in pairs for name in pair if name not in read.rows]
        if unknown:
            raise AclnetError(
                f"{path}: `compare` names {unknown[0]!r}, but there is no such row; {_REMEDY}"
            )
        return cls(
            ["row"],
            {(name,): settings for name, settings in read.rows.items()},
            [((first,), (second,)) for first, second in pairs],
            read.title,
            read.recipe,
            read.settings,
            read.occlusion,
        )


class _File(Record):
    title: str
    recipe: str | None = None
    settings: list[str] = Field(default_factory=list)
    rows: dict[str, list[str]] = Field(min_length=1)
    compare: list[tuple[str, str]] = Field(default_factory=list)
    occlusion: Occlusion | None = None


def parse_grid(text: str) -> tuple[str, list[str]]:
    """Key and values of `KEY=V1,V2,...`, or of a named grid.

    A value has the form that `--set` takes, including a list in square brackets. Raises
    AclnetError for other values with commas, brackets or quotes.
    """
    key, separator, values = NAMED_GRIDS.get(text, text).partition("=")
    if not (separator and re.fullmatch(f"(?:{_VALUE})(?:,(?:{_VALUE}))*", values)):
        raise AclnetError(
            f"--grid {text!r}: write KEY=V1,V2, for example loss.weight=0,0.1. A value has no "
            f"commas, brackets or quotes, except one list [a,b]. Or write {', '.join(NAMED_GRIDS)}"
        )
    found = [value.strip() for value in re.findall(_VALUE, values)]
    if len(set(found)) < len(found):
        raise AclnetError(f"--grid {text!r} gives a value twice")
    return key.strip(), found


def _check_keys(keys: list[str]) -> None:
    if "seed" in keys:
        raise AclnetError("--grid seed: give the seeds with --seeds")
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise AclnetError(f"--grid has {min(twice)} twice: give all its values in one --grid")
