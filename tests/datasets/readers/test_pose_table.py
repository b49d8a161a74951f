"""Tables of joints: what is a header, which columns count, and a line a joint."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.datasets.readers import pose_table
from aclnet.datasets.readers.pose_table import UnknownJointsError
from aclnet.datasets.spec import DamageError
from aclnet.datasets.spec.layouts import get_layout

LAYOUT = get_layout("kinect_v1")
JOINTS = LAYOUT.joints
VALUES = np.random.default_rng(0).uniform(0.1, 2, (5, 20, 3)).round(4)


def parse(text: str, layout=LAYOUT, dimensions: int = 3, columns: slice | None = None):
    return pose_table.parse(text.encode(), columns, layout, dimensions)


def write(header: list[str] | None, rows: np.ndarray | list[list[object]]) -> str:
    lines = ([header] if header else []) + [
        [str(v) for v in row] for row in np.array(rows).tolist()
    ]
    return "".join(",".join(line) + "\n" for line in lines)


def damage(text: str, **arguments) -> str:
    with pytest.raises(DamageError) as caught:
        parse(text, **arguments)
    return f"{caught.value.line}: {caught.value.reason}"


FLAT = VALUES.reshape(5, 60)


@pytest.mark.parametrize("column", [0, 7, 59])
@pytest.mark.parametrize("cell", ["O.123", "", "1.2.3", "-"])
def test_a_damaged_first_row_is_no_header(column, cell):
    rows = FLAT.astype(object)
    rows[0, column] = cell
    if cell == "":
        assert np.isnan(parse(write(None, rows)).values[0, 0].ravel()[column])
    else:
        assert damage(write(None, rows)) == (
            f"1: {cell!r} is not a number, but a header has no numbers"
        )


def test_a_first_row_with_a_text_beside_the_columns_that_count_is_no_header():
    rows = np.column_stack([["sensor 1"] * 5, FLAT.astype(object)])
    found = parse(write(None, rows), columns=slice(1, 61))
    np.testing.assert_array_equal(found.values[0], VALUES)
    assert found.first_line == 1


@pytest.mark.parametrize(
    "name", ["{}_x", "{} X", "{}.x", "x_{n}", "X{n}", "{n}x", "joint_{n}_x", "{}X"]
)
def test_named_columns_count_in_whatever_order(name):
    """Beside a text, a time and an orientation, axis by axis instead of joint by joint."""
    header = ["class", "time"]
    blocks = [["walk"] * 5, [0.0, 0.03, 0.07, 0.1, 0.14]]
    for axis in "zyx":
        new = name.replace("x", axis).replace("X", axis.upper())
        header += [new.format(joint, n=n) for n, joint in enumerate(JOINTS)]
        blocks += [*VALUES[..., "xyz".index(axis)].T]
    header += ["note"]
    blocks += [["9"] * 5]
    found = parse(write(header, np.array(blocks, object).T))
    np.testing.assert_array_equal(found.values[0], VALUES)
    assert found.frames.tolist() == [0, 1, 2, 3, 4]


def test_joints_of_the_layout_are_taken_by_name_out_of_more():
    order = np.random.default_rng(1).permutation(20)
    header, blocks = [], []
    for j in order:
        for k, axis in enumerate("xyz"):
            header.append(f"{JOINTS[j]}_{axis}")
            blocks.append(VALUES[:, j, k])
        header += [f"{JOINTS[j]}_q{axis}" for axis in "xyz"]
        blocks += [np.zeros(5)] * 3
    found = parse(write(header, np.array(blocks).T))
    np.testing.assert_array_equal(found.values[0], VALUES)


def test_z_is_left_out_of_pixels_and_confidence_stays():
    header = [f"{axis}{n}" for n in range(20) for axis in ("x", "y", "z", "visibility")]
    rows = np.concatenate([VALUES, np.full((5, 20, 1), 0.5)], axis=-1).reshape(5, 80)
    found = parse(write(header, rows), dimensions=2)
    np.testing.assert_array_equal(found.values[0, ..., :2], VALUES[..., :2])
    assert (found.values[0, ..., 2] == 0.5).all()


def test_times_are_counted_and_frames_are_kept():
    header = [f"{axis}{n}" for n in range(20) for axis in "xyz"]
    times = np.array([0.0, 0.033, 0.066, 0.1, 0.2])
    for name in ("time", "Timestamp", "seconds", "time_ms"):
        found = parse(write([name, *header], np.column_stack([times, FLAT])))
        assert found.frames.tolist() == [0, 1, 2, 3, 4]
        np.testing.assert_array_equal(found.values[0], VALUES)
    for name in ("frame", "Frame_No", "", "index"):
        found = parse(write([name, *header], np.column_stack([[3, 4, 7, 8, 9], FLAT])))
        assert found.frames.tolist() == [3, 4, 7, 8, 9]
    times[3] = 0.05
    said = damage(write(["time", *header], np.column_stack([times, FLAT])))
    assert said.startswith("5: the first column is not an increasing frame number")
    assert "`columns` in dataset.toml" in said


def test_lines_that_end_with_a_comma():
    header = [f"{axis}{n}" for n in range(20) for axis in "xyz"]
    for first in (None, header):
        text = write(first, FLAT).replace("\n", ",\n")
        np.testing.assert_array_equal(parse(text).values[0], VALUES)


@pytest.mark.parametrize(
    ("separator", "word"), [(" ", "blanks"), (";", "semicolons"), ("\t", "tabs")]
)
def test_other_separators_are_named(separator, word):
    text = write(None, FLAT).replace(",", separator)
    said = f"1: the cells are separated by {word}; commas are expected"
    assert damage(text) == said
    if separator == ";":
        assert damage(text.replace(".", ",")) == said


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("start", [0, 1])
def test_a_line_a_joint(by_name, start):
    lines = [
        [f"{t * 0.04:.2f}", JOINTS[v] if by_name else v + start, *VALUES[t, v], 0.5, 7]
        for t in range(5)
        for v in range(20)
        if (t, v) != (2, 3)
    ]
    lines = [lines[k] for k in np.random.default_rng(0).permutation(len(lines))]
    header = ["timestamp", "landmark", "x", "y", "z", "visibility", "presence"]
    found = parse(write(header, np.array(lines, object)))
    assert found.frames.tolist() == [0, 1, 2, 3, 4]
    expected = VALUES.copy()
    expected[2, 3] = np.nan
    np.testing.assert_array_equal(found.values[0, ..., :3], expected)


def test_a_line_a_joint_of_several_persons():
    lines = [
        [t, who, v, *(VALUES[t % 3, v] + who)]
        for t in (3, 5)
        for who in (4, 9)
        for v in range(20)
        if not (t == 3 and who == 9)
    ]
    header = ["frame", "body_id", "joint", "x", "y", "z"]
    found = parse(write(header, np.array(lines, object)))
    assert (found.frames.tolist(), found.identities) == ([3, 5], ("4", "9"))
    np.testing.assert_allclose(found.values[:, 1], [VALUES[2] + 4, VALUES[2] + 9])
    np.testing.assert_allclose(found.values[0, 0], VALUES[0] + 4)
    assert np.isnan(found.values[1, 0]).all()
    twice = write(header, np.array([*lines, lines[7]], object))
    assert "the joint of a person occurs twice in a frame" in damage(twice)
    assert ("there is no column with the frame") in damage(
        write(["joint", "x", "y", "z"], [[0, 1, 2, 3]])
    )


def test_without_a_layout_the_number_of_joints_is_told():
    with pytest.raises(UnknownJointsError) as caught:
        parse(write(None, FLAT), layout=None)
    assert caught.value.joints == [15, 20, 30]
    named = [f"{axis}{n}" for n in range(20) for axis in "xyz"]
    assert parse(write(named, FLAT), layout=None).values.shape == (1, 5, 20, 3)


CELLS = st.sampled_from(
    ["", "1", "0.5", "nan", "x", "frame", "time", "y", "z", "x1", "y1", "joint", "a"]
)


@pytest.mark.slow
@given(
    rows=st.lists(st.lists(CELLS, min_size=1, max_size=8), max_size=5),
    known=st.booleans(),
    dimensions=st.sampled_from([2, 3]),
)
def test_any_table_is_joints_or_damage(rows, known, dimensions):
    text = "\n".join(",".join(row) for row in rows)
    layout = LAYOUT if known else None
    with contextlib.suppress(DamageError):
        found = parse(text, layout, dimensions)
        assert found.values.ndim == 4
        assert found.values.shape[1] == len(found.frames)
