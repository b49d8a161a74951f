"""The hash behind every draw: right values, the same in numpy and torch, uniform, independent."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from aclnet.datasets.store import keyed_random

INT64 = st.integers(-(2**63), 2**63 - 1)
KEYS = np.arange(4096)  # consecutive numbers: the hardest keys for a weak hash


def unsigned(value):
    return int(value) % 2**64


@pytest.mark.parametrize(
    ("steps", "output"),
    [(1, 0xE220A8397B1DCDAF), (2, 0x6E789E6AA1B965F4), (3, 0x06C45D188009454F)],
)
def test_gives_the_published_sequence_of_splitmix64_with_seed_0(steps, output):
    golden = 0x9E3779B97F4A7C15
    word = np.array([(steps - 1) * golden % 2**64], np.uint64).view(np.int64)
    assert unsigned(keyed_random.fold(np.zeros(1, np.int64), word)[0]) == output


@given(key=INT64, word=INT64)
def test_fold_is_splitmix64_of_key_and_word(key, word):
    z = (key * 0xBF58476D1CE4E5B9 + 0x9E3779B97F4A7C15 + word) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    assert unsigned(keyed_random.fold(np.array([key]), np.array([word]))[0]) == z ^ z >> 31


@given(
    keys=st.lists(INT64, min_size=1, max_size=8),
    word=st.integers(0, 2**62),
    high=st.integers(1, 2**40),
)
def test_numpy_and_torch_agree_to_the_last_bit(keys, word, high):
    array = np.array(keys)
    tensor = torch.from_numpy(array)
    for function, rest in (
        (keyed_random.fold, (word, 3)),
        (keyed_random.uniform, (word,)),
        (keyed_random.integers, (word, high)),
    ):
        ours, theirs = function(array, *rest), function(tensor, *rest)
        assert theirs.numpy().dtype == ours.dtype
        np.testing.assert_array_equal(ours, theirs.numpy())


def test_words_may_be_arrays_that_broadcast():
    keys, draws = KEYS[:5, None], np.arange(7)
    table = keyed_random.uniform(keys, draws)
    assert table.shape == (5, 7)
    assert table[3, 4] == keyed_random.uniform(np.array([3]), 4)[0]


def test_folding_two_words_is_folding_one_after_the_other():
    at_once = keyed_random.fold(KEYS, 5, 6)
    np.testing.assert_array_equal(at_once, keyed_random.fold(keyed_random.fold(KEYS, 5), 6))
    assert (at_once != keyed_random.fold(KEYS, 6, 5)).all()


@pytest.mark.parametrize("axis", ["keys", "draws"])
def test_uniform_is_uniform_along_keys_and_along_draws(axis):
    draws = (
        keyed_random.uniform(KEYS, 7)
        if axis == "keys"
        else keyed_random.uniform(np.zeros(1, np.int64), KEYS)
    )
    assert draws.dtype == np.float64
    assert draws.min() >= 0
    assert draws.max() < 1
    assert stats.kstest(draws, "uniform").pvalue > 1e-3


def test_integers_hit_every_value_equally_often():
    counts = np.bincount(keyed_random.integers(KEYS, 0, 12), minlength=12)
    assert len(counts) == 12
    assert stats.chisquare(counts).pvalue > 1e-3


def test_integers_take_a_bound_for_each_key():
    high = KEYS % 9 + 1
    values = keyed_random.integers(KEYS, 0, high)
    assert ((values >= 0) & (values < high)).all()
    assert all(set(values[high == h]) == set(range(h)) for h in range(1, 10))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param((0, 0), (0, 1), id="draws of a key"),
        pytest.param((0, 0), (1, 0), id="neighbouring keys"),
        pytest.param((0, 1), (1, 0), id="key and draw exchanged"),
    ],
)
def test_draws_are_independent(first, second):
    one, two = (keyed_random.uniform(KEYS + key, draw) for key, draw in (first, second))
    table, *_ = np.histogram2d(one, two, bins=8, range=((0, 1), (0, 1)))
    assert stats.chisquare(table.ravel()).pvalue > 1e-3


@pytest.mark.parametrize("bit", [0, 1, 31, 32, 62])
def test_one_bit_of_the_key_turns_half_the_bits_of_the_hash(bit):
    changed = keyed_random.fold(KEYS, 1) ^ keyed_random.fold(KEYS ^ (1 << bit), 1)
    ones = np.unpackbits(changed.view(np.uint8).reshape(-1, 8), axis=1).mean(axis=0)
    assert abs(ones - 0.5).max() < 0.05


def test_sample_keys_depend_on_the_id_alone():
    keys = keyed_random.sample_keys(["S001C001P001R001A001", "b", "S001C001P001R001A001"])
    digest = hashlib.blake2b(b"b", digest_size=8).digest()
    assert keys.dtype == np.int64
    assert keys[0] == keys[2]
    assert keys[1] == int.from_bytes(digest, "little", signed=True)
    assert len(set(keyed_random.sample_keys(map(str, range(20000))).tolist())) == 20000


def test_generators_are_the_same_for_the_same_words_only():
    draws = {
        words: keyed_random.generator(*words).random() for words in [(1, 2), (2, 1), (1, 2, 0)]
    }
    assert keyed_random.generator(1, 2).random() == draws[1, 2]
    assert draws[1, 2] != draws[2, 1]
