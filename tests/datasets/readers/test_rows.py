"""Tables of numbers: parsed as Python's float does, and refused at the line that is wrong."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.datasets.readers.rows import parse_rows
from aclnet.datasets.spec import DamageError

numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(
    rows=st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=5),
    separator=st.sampled_from([None, ","]),
    line_end=st.sampled_from(["\n", "\r\n", " \n"]),
)
def test_numbers_are_those_of_python(rows, separator, line_end):
    between = "  \t" if separator is None else f" {separator} "
    text = "".join(between.join(map(repr, row)) + line_end for row in rows)
    np.testing.assert_array_equal(parse_rows(text.encode(), 3, separator), rows)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", None, "empty"),
        (" \r\n\n", None, "empty"),
        ("1 2\n3\n", 2, "1 values; 2 are expected"),
        ("1 2\n3 4 5\n", 2, "more than 2 values"),
        ("1\n2\n", 1, "1 values; 2 are expected"),
        ("1 2\n\n3 4\n", 2, "0 values"),
        ("1 2\n3 four\n5 six", 2, "'four' is not a number"),
        ("1 2\n# 4\n", 2, "'#' is not a number"),
        ("1 2\n3 nan\n", 2, "not finite"),
        ("1 2\n3 4\n-inf 6\n", 3, "not finite"),
        ("1 2\n3 1e39\n", 2, "not finite"),
        ("1 2\n3 1e999\n", 2, "not finite"),
        ("1 2\n3 1_0\n", None, "not a table of numbers"),
        ("1,2\n3,4\n", 1, "1 values; 2 are expected"),
    ],
)
def test_the_first_wrong_line_is_told(text, line, reason):
    with pytest.raises(DamageError) as caught:
        parse_rows(text.encode(), 2)
    assert caught.value.line == line
    assert reason in caught.value.reason


@given(
    data=st.binary(max_size=60) | st.text("0123456789.,-e \n\r\x1c\xa0\"'", max_size=40),
    separator=st.sampled_from([None, ","]),
)
def test_any_bytes_are_a_table_or_damage(data, separator):
    data = data.encode("latin-1") if isinstance(data, str) else data
    with suppress(DamageError):
        rows = parse_rows(data, 2, separator)
        assert rows.shape == (len(data.rstrip().split(b"\n")), 2)
        assert np.isfinite(rows.astype(np.float32)).all()
