"""Agreement of families, against counting pair by pair and against scikit-learn."""

from __future__ import annotations

from itertools import combinations
from math import comb, isnan

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from aclnet.datasets.spec import AclnetError
from aclnet.evaluation.agreement import (
    adjusted_rand,
    between,
    family_rows,
    read_grouping,
    shared_pairs,
    stability,
    with_grouping,
)
from aclnet.evaluation.family_table import Family, FamilyMember, FamilyTable
from aclnet.runs.history import History

NAMES = ["sit", "stand", "walk", "run", "jump"]


def same(labels) -> np.ndarray:
    """The relation of a partition."""
    return np.equal.outer(labels, labels)


def counted(a: np.ndarray, b: np.ndarray) -> float:
    """The index by its definition: agreement less what is expected, over the most it can be."""
    pairs = [*combinations(range(len(a)), 2)]
    in_a, in_b = ([pair for pair in pairs if relation[pair]] for relation in (a, b))
    expected = len(in_a) * len(in_b) / comb(len(a), 2)
    return (len({*in_a} & {*in_b}) - expected) / ((len(in_a) + len(in_b)) / 2 - expected)


def test_the_index_of_partitions_and_of_overlapping_families():
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = rng.integers(4, size=(2, 12))
        found = adjusted_rand(same(a), same(b))
        assert found == pytest.approx(adjusted_rand_score(a, b))
        loose = rng.random((2, 12, 12)) < 0.3
        x, y = loose | loose.swapaxes(1, 2)
        assert adjusted_rand(x, y) == pytest.approx(counted(x, y)) == adjusted_rand(y, x)
    assert adjusted_rand(same(a), same(a)) == 1
    nothing = np.zeros((5, 5), bool)
    assert isnan(adjusted_rand(nothing, nothing))
    assert adjusted_rand(nothing, same(np.array([0, 0, 1, 2, 3]))) == 0


def table(*families: str) -> FamilyTable:
    """A table in which the classes of each word of initials are one family; all but jump occur."""
    initials = {"s": "sit", "t": "stand", "w": "walk", "r": "run", "j": "jump"}
    members: dict[str, set[str]] = {name: set() for name in NAMES}
    for word in families:
        for letter in word:
            members[initials[letter]] |= {initials[o] for o in word if o != letter}
    return FamilyTable(
        origin="of a test",
        epoch=1,
        families=[
            Family(name, [FamilyMember(m, 2.0) for m in sorted(found)], 0.1)
            for name, found in members.items()
        ],
        affinity=np.zeros((5, 5), np.float32),
        order=np.arange(4),
    )


def test_runs_are_compared_by_pairs_of_classes():
    tables = {"a": table("st", "wr"), "b": table("st", "wr"), "c": table("sw")}
    found = between(tables)
    assert found[["first", "second"]].values.tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]
    # 6 pairs of 4 classes; a relates 2, c relates 1 other: expected 2/6, most 1.5
    assert found["adjusted_rand"].tolist() == pytest.approx([1, -2 / 7, -2 / 7])
    assert shared_pairs(tables).values.tolist() == [
        ["sit", "stand", 2, 2 / 3],
        ["walk", "run", 2, 2 / 3],
        ["sit", "walk", 1, 1 / 3],
    ]


def test_other_classes_are_named():
    other = table("st")
    other.families[0] = Family("hop", [], 0.1)
    with pytest.raises(AclnetError, match=r"a and b do not have the same classes: .* hop, sit;"):
        between({"a": table("st"), "b": other})


def test_groups_of_the_user(tmp_path):
    file = tmp_path / "groups.csv"
    file.write_text("group,class\nlow,sit\nlow,stand\nfast,run\nfast,walk\nlow,walk\nfast,jump\n")
    groups = read_grouping(file, NAMES)
    assert groups["walk"] == {"fast", "low"}
    found = with_grouping(table("st", "wr", "sr"), groups)
    ours = np.array([[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 1], [1, 0, 1, 0]], bool)
    theirs = np.array([[0, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 1], [0, 0, 1, 0]], bool)
    assert found["classes"] == 4
    assert found["adjusted_rand"] == pytest.approx(counted(ours, theirs))
    assert found["related_in_group"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,group\nsit,low\n", "the columns `class` and `group` are needed"),
        ("class,group\nsit,low\nwalks,low\n", r":3: there is no class 'walks' \(did you mean walk"),
        ("class,group\nsit\n", ":2: class 'sit' has no group"),
        ("class,group\nsit,low\n", "groups of at least two classes"),
        ("class,group\nsit,\xe9\n", "is not a CSV file in UTF-8"),
    ],
)
def test_a_wrong_file_of_groups_is_named(text, message, tmp_path):
    file = tmp_path / "groups.csv"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(AclnetError, match=rf"groups\.csv.*{message}"):
        read_grouping(file, NAMES)


def test_stability_over_epochs(tmp_path):
    """Three of four epochs trained: no family, one pair, then two; the last class never occurs."""

    class Run:
        history = History(tmp_path / "history.zarr")

    Run.history.create(4, NAMES)
    for epoch, pairs in enumerate(([], [(1, 0)], [(1, 0), (2, 3)])):
        member = np.zeros((5, 5), bool)
        for a, b in pairs:
            member[a, b] = True  # one way only, as in the official mode
        confusion = np.ones((5, 5), int)
        confusion[4] = confusion[:, 4] = 0
        rows = {"confusion/train": confusion, "confusion/eval": confusion, "family": member}
        rows |= {"affinity": np.zeros((5, 5)), "temperature": np.zeros(5)}
        Run.history.write(epoch, rows)
    found = stability(Run)
    assert found["pairs"].tolist() == [0, 1, 2]
    one = np.zeros((4, 4), bool)
    one[0, 1] = True
    two = one.copy()
    two[2, 3] = True
    value = counted(one, two)
    np.testing.assert_allclose(found["with_previous"], [np.nan, 0, value])
    np.testing.assert_allclose(found["with_last"], [0, value, 1])


def test_rows_of_families():
    rows = family_rows(table("st"))
    assert rows["class"].tolist() == ["sit", "stand", "walk", "run"]
    assert rows["member"].tolist() == ["stand", "sit", "", ""]
    assert rows["confusions"].isna().tolist() == [False, False, True, True]
