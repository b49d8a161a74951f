"""Agreement of motion families: between epochs, between runs, and with a user's own groups."""

from __future__ import annotations

import csv
from itertools import combinations
from math import nan
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from aclnet.datasets.spec import AclnetError, did_you_mean, first_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.evaluation.family_table import FamilyTable
    from aclnet.runs.run import Run

    Pairs = NDArray[np.bool_]
    """(C, C) bool, symmetric: pairs of related classes; the diagonal has no meaning."""


def adjusted_rand(first: Pairs, second: Pairs) -> float:
    """Adjusted Rand index of two relations between the same classes.

    The index counts the pairs of classes that are related in both relations, in one of them, or in
    none. For two partitions, this is the index of Hubert and Arabie, "Comparing partitions",
    Journal of Classification 2 (1985); this form also accepts families that overlap. 1 means equal,
    0 means agreement by chance. NaN if both relate no pair, or every pair.
    """
    upper = np.triu_indices(len(first), 1)
    a, b = first[upper], second[upper]
    both, only_a, only_b = (float(x.sum()) for x in (a & b, a & ~b, b & ~a))
    neither = len(a) - both - only_a - only_b
    chance = (both + only_a) * (only_a + neither) + (both + only_b) * (only_b + neither)
    return 2 * (both * neither - only_a * only_b) / chance if chance else nan


def stability(run: Run) -> pd.DataFrame:
    """A row per trained epoch, from 1: agreement of its families with other epochs.

    Columns: `epoch`, `pairs` of related classes, and the adjusted Rand index `with_previous` epoch
    and `with_last` epoch; NaN before the first families. Classes that never occur do not count.
    """
    member = run.history.read_all("family")[: run.history.trained]
    related = member | member.swapaxes(1, 2)
    counted = run.history.read_all("confusion/train")[: run.history.trained]
    occurs = np.flatnonzero(counted.any(axis=(0, 2)))
    related = related[:, occurs][:, :, occurs]
    rows = [
        {
            "epoch": epoch + 1,
            "pairs": int(np.triu(one, 1).sum()),
            "with_previous": adjusted_rand(related[epoch - 1], one) if epoch else nan,
            "with_last": adjusted_rand(one, related[-1]),
        }
        for epoch, one in enumerate(related)
    ]
    return pd.DataFrame(rows, columns=["epoch", "pairs", "with_previous", "with_last"])


def related_classes(table: FamilyTable, names: Sequence[str]) -> Pairs:
    """The relation between some classes of a table: one is in the other's family."""
    place = {name: n for n, name in enumerate(names)}
    related = np.zeros((len(names), len(names)), np.bool_)
    for family in table.families:
        for member in family.members:
            if family.name in place and member.name in place:
                related[place[family.name], place[member.name]] = True
    return related | related.T


def between(tables: Mapping[str, FamilyTable]) -> pd.DataFrame:
    """A row per pair of runs: `first`, `second`, `adjusted_rand`; the classes that occur in all.

    Raises AclnetError if runs do not have the same classes.
    """
    names = common_classes(tables)
    related = {run: related_classes(table, names) for run, table in tables.items()}
    rows = [(a, b, adjusted_rand(related[a], related[b])) for a, b in combinations(tables, 2)]
    return pd.DataFrame(rows, columns=["first", "second", "adjusted_rand"])


def shared_pairs(tables: Mapping[str, FamilyTable]) -> pd.DataFrame:
    """A row per pair of classes that a run relates: `class`, `other`, `runs` and `share` of runs.

    The pairs of most runs come first. Raises AclnetError like in `between`.
    """
    names = common_classes(tables)
    counts = np.sum([related_classes(table, names) for table in tables.values()], axis=0)
    upper = np.argwhere(np.triu(counts, 1))
    found = [(names[a], names[b], int(counts[a, b])) for a, b in upper]
    found.sort(key=lambda row: -row[2])
    rows = [(*row, row[2] / len(tables)) for row in found]
    return pd.DataFrame(rows, columns=["class", "other", "runs", "share"])


def common_classes(tables: Mapping[str, FamilyTable]) -> list[str]:
    """Names of the classes that occur in every table, in the order of the first one."""
    (first, one), *others = tables.items()
    names = [family.name for family in one.families]
    for run, table in others:
        differing = {*names} ^ {family.name for family in table.families}
        if differing:
            raise AclnetError(
                f"{first} and {run} do not have the same classes: only one of the runs has "
                f"{first_of(sorted(differing), 3)}; compare runs on the same classes"
            )
    occurring = [{family.name for family in table.occurring} for table in tables.values()]
    return [name for name in names if all(name in found for found in occurring)]


def read_grouping(path: Path, names: Sequence[str]) -> dict[str, set[str]]:
    """Groups of each class from a CSV file with the columns `class` and `group`.

    A class in several lines is in several groups; a class without a line is left out. Raises
    AclnetError for an unknown class or an empty cell, with the line, and if the file is not such a
    table.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not {"class", "group"} <= {*(reader.fieldnames or ())}:
                raise AclnetError(f"{path}: the columns `class` and `group` are needed")
            groups: dict[str, set[str]] = {}
            for row in reader:
                name, group = ((row[key] or "").strip() for key in ("class", "group"))
                place = f"{path}:{reader.line_num}"
                if name not in names:
                    raise AclnetError(
                        f"{place}: there is no class {name!r}{did_you_mean(name, names)}"
                    )
                if not group:
                    raise AclnetError(f"{place}: class {name!r} has no group")
                groups.setdefault(name, set()).add(group)
    except OSError as error:
        raise AclnetError(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise AclnetError(f"{path} is not a CSV file in UTF-8: {error}") from None
    if len(groups) < 2:
        raise AclnetError(f"{path}: groups of at least two classes are needed")
    return groups


def with_grouping(table: FamilyTable, groups: Mapping[str, set[str]]) -> dict[str, float]:
    """Agreement of families with groups, over the classes that occur and have a group.

    Keys: `classes`, `adjusted_rand`, and `related_in_group`, the share of related pairs that are in
    one group.
    """
    names = [family.name for family in table.occurring if family.name in groups]
    ours = related_classes(table, names)
    theirs = np.array([[bool(groups[a] & groups[b]) for b in names] for a in names], np.bool_)
    theirs = theirs.reshape(len(names), len(names))
    upper = np.triu(ours, 1)
    return {
        "classes": len(names),
        "adjusted_rand": adjusted_rand(ours, theirs),
        "related_in_group": float(theirs[upper].mean()) if upper.any() else nan,
    }


def family_rows(table: FamilyTable) -> pd.DataFrame:
    """A row per class and member of its family: `class`, `temperature`, `member`, `confusions`.

    A class without a family has one row without a member.
    """
    rows = [
        (family.name, family.temperature, member, confusions)
        for family in table.occurring
        for member, confusions in [(m.name, m.confusions) for m in family.members] or [("", nan)]
    ]
    return pd.DataFrame(rows, columns=["class", "temperature", "member", "confusions"])
