"""The plan of the shards, the cutting of long sequences and fixed point, as properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from aclnet.datasets.spec import SkeletonSequence
from aclnet.datasets.store.codec import INT16_FILL, decode_int16, encode_int16
from aclnet.pipelines.prepare import samples, shards
from aclnet.pipelines.prepare.assemble import int16_scale


@st.composite
def plans(draw):
    """Rows of some samples, masks of some sides over them, and a seed."""
    rows = np.array(draw(st.lists(st.integers(1, 400), min_size=1, max_size=60)))
    count = draw(st.integers(0, 4))
    sides = [draw(arrays.arrays(bool, len(rows))) for _ in range(count)]
    return rows, sides, draw(st.integers(0, 2**32 - 1))


@given(plans())
def test_samples_lie_inside_one_shard_and_do_not_overlap(plan):
    rows, sides, seed = plan
    packing = shards.pack(rows, sides, shards.choose_shard_rows(rows, sides), seed)
    np.testing.assert_array_equal(packing.start // packing.shard_rows, packing.shard)
    last = packing.start + rows - 1
    np.testing.assert_array_equal(last // packing.shard_rows, packing.shard)
    order = np.argsort(packing.start)
    assert (packing.start[order][1:] > last[order][:-1]).all()
    assert sorted(set(packing.shard)) == list(range(packing.shards))


@given(plans())
def test_a_shard_takes_samples_in_order_until_one_does_not_fit(plan):
    rows, sides, seed = plan
    shard_rows = shards.choose_shard_rows(rows, sides)
    packing = shards.pack(rows, sides, shard_rows, seed)
    cell = [tuple(bool(side[n]) for side in sides) for n in range(len(rows))]
    shard, used = 0, 0
    order = np.argsort(packing.start)
    for before, sample in zip([None, *order], order, strict=False):
        if before is not None and (
            cell[before] != cell[sample] or used + rows[sample] > shard_rows
        ):
            shard, used = shard + 1, 0
        assert (packing.shard[sample], packing.start[sample]) == (shard, shard * shard_rows + used)
        used += rows[sample]
    assert packing.shards == shard + 1


@given(plans())
def test_each_side_is_a_union_of_whole_shards(plan):
    rows, sides, seed = plan
    packing = shards.pack(rows, sides, shards.choose_shard_rows(rows, sides), seed)
    for side in sides:
        assert not set(packing.shard[side]) & set(packing.shard[~side])


@given(plans(), st.integers(0, 2**32 - 1))
def test_the_order_depends_on_the_seed_alone(plan, other):
    rows, sides, seed = plan
    shard_rows = shards.choose_shard_rows(rows, sides)
    first, again = (shards.pack(rows, sides, shard_rows, seed) for _ in range(2))
    np.testing.assert_array_equal(first.start, again.start)
    assert shards.pack(rows, sides, shard_rows, other).shards >= 1


def test_another_seed_gives_another_order():
    rows, side = np.full(100, 7), np.arange(100) % 2 == 0
    orders = {tuple(shards.pack(rows, [side], 64, seed).start) for seed in range(20)}
    assert len(orders) == 20


def test_neighbours_in_a_shard_are_not_neighbours_in_the_recordings():
    rows = np.full(2000, 10)
    start = shards.pack(rows, [], 1024, 0).start
    order = np.argsort(start)
    assert np.abs(np.diff(order)).mean() == pytest.approx(2000 / 3, rel=0.1)  # as at random


@pytest.mark.parametrize("samples", [40, 200, 1000, 5000])
def test_the_smallest_side_of_a_small_set_has_about_eight_shards(samples):
    rows = np.random.default_rng(0).integers(60, 90, samples)
    test = np.arange(samples) < samples // 4
    packing = shards.pack(rows, [~test, test], shards.choose_shard_rows(rows, [~test, test]), 0)
    found = len(set(packing.shard[test]))
    assert 8 <= found <= 18 or packing.shard_rows == 128  # no less than the longest sequence


def test_a_tiny_side_does_not_cut_a_large_store_into_thousands_of_files():
    rows = np.full(100_000, 80)
    tiny = np.arange(len(rows)) < 3
    shard_rows = shards.choose_shard_rows(rows, [tiny, ~tiny])
    assert 200 <= rows.sum() / shard_rows <= 520


def test_shards_of_a_large_set_are_full_size():
    rows = np.full(150_000, 90)
    half = np.arange(len(rows)) % 2 == 0
    assert shards.choose_shard_rows(rows, [half, ~half]) == samples.MAX_ROWS


@given(plans())
def test_shards_are_powers_of_two_that_hold_the_longest(plan):
    rows, sides, _ = plan
    shard_rows = shards.choose_shard_rows(rows, sides)
    assert shard_rows >= rows.max()
    assert shard_rows & (shard_rows - 1) == 0


@given(st.integers(1, 5), st.integers(1, 60), st.integers(5, 30))
def test_pieces_fit_a_shard_and_make_up_the_sequence(persons, frames, limit):
    keypoint = np.arange(persons * frames * 6, dtype=np.float32).reshape(persons, frames, 2, 3)
    whole = SkeletonSequence(
        sample_id="a",
        keypoint=keypoint,
        label=0,
        present=np.ones((persons, frames), dtype=bool),
        frame_index=np.arange(frames, dtype=np.int32) * 2,
        score=keypoint[..., 0],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "MAX_ROWS", limit)
        pieces = list(samples._cut(whole))
    assert all(piece.present.size <= limit for piece in pieces)
    for name, axis in (("keypoint", 1), ("present", 1), ("frame_index", 0), ("score", 1)):
        joined = np.concatenate([getattr(piece, name) for piece in pieces], axis=axis)
        np.testing.assert_array_equal(joined, getattr(whole, name))
    ids = [piece.sample_id for piece in pieces]
    assert ids == (["a"] if len(ids) == 1 else [f"a#{n + 1}" for n in range(len(ids))])
    assert (len(ids) == 1) == (persons * frames <= limit or frames <= limit // persons)


joints = arrays.arrays(
    np.float32, (6, 2, 3), elements=st.floats(-9, 9, width=32) | st.sampled_from([0.0, 1e-9, -1e-9])
)


@given(joints)
def test_fixed_point_is_exact_to_a_step_and_keeps_zero_for_missing(x):
    scale = int16_scale(float(np.abs(x).max()))
    back = decode_int16(encode_int16(x, scale), scale)
    is_missing = (x == 0).all(axis=-1)
    np.testing.assert_array_equal((back == 0).all(axis=-1), is_missing)
    error = np.abs(back.astype(np.float64) - x)
    assert error.max() <= scale * 1.001
    far = (np.abs(x) >= scale).any(axis=-1)
    assert error[far].max(initial=0) <= scale * 0.501 + 1e-6


@given(joints)
def test_fixed_point_keeps_fill(x):
    x[2] = np.nan
    steps = encode_int16(x, 0.001)
    assert (steps[2] == INT16_FILL).all()
    back = decode_int16(steps, 0.001)
    np.testing.assert_array_equal(np.isnan(back), np.isnan(x))


def test_fixed_point_reaches_far():
    x = np.array([[[-50.0, 50.0, 0.1]]], dtype=np.float32)
    scale = int16_scale(50.0)
    np.testing.assert_allclose(decode_int16(encode_int16(x, scale), scale), x, atol=scale)
