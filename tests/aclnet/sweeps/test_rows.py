"""Rows of a sweep from a file."""

from __future__ import annotations

import pytest

from aclnet.datasets.spec import AclnetError
from aclnet.sweeps.rows import Occlusion, Rows

FILE = """
title = "Two losses"
recipe = "default"
settings = ["optim.epochs=1"]

[rows]
"cross-entropy" = ["loss.terms=ce"]
"all terms" = ["loss.terms=acl"]

[occlusion]
suite = "quick"
clips = 1
"""


@pytest.fixture
def load(tmp_path):
    """Rows of a text."""

    def do(text: str) -> Rows:
        file = tmp_path / "rows.toml"
        file.write_text(text)
        return Rows.load(file)

    return do


def test_a_file_says_rows_pairs_and_suite(load):
    rows = load(FILE)
    assert rows.keys == ["row"]
    assert rows.settings == {
        ("cross-entropy",): ["loss.terms=ce"],
        ("all terms",): ["loss.terms=acl"],
    }
    assert rows.pairs == [(("cross-entropy",), ("all terms",))]
    assert (rows.title, rows.recipe, rows.common) == ("Two losses", "default", ["optim.epochs=1"])
    assert rows.occlusion == Occlusion(suite="quick", clips=1)
    pairs = load('compare = [["all terms", "cross-entropy"]]\n' + FILE).pairs
    assert pairs == [(("all terms",), ("cross-entropy",))]
    assert load('title = "One"\n[rows]\na = []\nb = []\nc = []').pairs == [
        (("a",), ("b",)),
        (("a",), ("c",)),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title =", r"rows\.toml cannot be read as TOML"),
        ('title = "x"', r"rows\.toml: rows: Field required; docs/evidence\.md"),
        ('title = "x"\n[rows]', r"rows\.toml: rows: .*at least 1"),
        ('title = "x"\nseed = 1\n[rows]\na = []', r"rows\.toml: seed: Extra inputs"),
        ('title = "x"\n[rows]\na = "b"', r"rows\.toml: rows\.a: Input should be a valid list"),
        (
            'title = "x"\ncompare = [["a", "c"]]\n[rows]\na = []',
            "`compare` names 'c', but there is no",
        ),
        ('title = "x"\n[rows]\na = []\n[occlusion]\nsuite = "all"', r"occlusion\.suite: Input"),
    ],
)
def test_a_bad_file_is_told(text, message, load):
    with pytest.raises(AclnetError, match=message):
        load(text)
