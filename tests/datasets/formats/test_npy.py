"""Arrays out of bytes, against numpy's own writer."""

from __future__ import annotations

import contextlib
import io
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.datasets.formats.npy import parse_npy, parse_npz
from aclnet.datasets.spec import DamageError


def npy(array: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


def npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize("dtype", ["f2", "<f4", ">f4", "f8", "i2", "u1", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_what_numpy_wrote(dtype, order):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype, order=order)
    for version in ((1, 0), (2, 0)):
        found = parse_npy(npy(array, version=version))
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a .npy file"),
        (pickle.dumps([1]), "not a .npy file"),
        (npy(np.array([{}], object)), "numbers are expected"),
        (npy(np.array(["a"])), "numbers are expected"),
        (npy(np.zeros(2, np.complex64)), "numbers are expected"),
        (npy(np.zeros((2, 3)))[:-1], "but 47 bytes follow"),
        (npy(np.zeros((2, 3))) + b"x", "but 49 bytes follow"),
        (npy(np.zeros(9)).replace(b"(9,)", b"(-1,)").replace(b"), }  ", b"), } "), "damaged"),
    ],
)
def test_other_content_is_damage(data, reason):
    with pytest.raises(DamageError, match=reason):
        parse_npy(data)


def test_an_announced_array_takes_no_memory_before_it_is_there():
    data = npy(np.zeros(1)).replace(b"(1,), }" + b" " * 12, b"(1000000000000,), }")
    with pytest.raises(DamageError, match="but 8 bytes follow"):
        parse_npy(data)


def test_the_named_arrays_of_a_file_of_many():
    data = npz(keypoint=np.ones((2, 3)), score=np.zeros(2), other=np.array([{}], object))
    found = parse_npz(data, ("keypoint", "score", "present"), 1000)
    assert set(found) == {"keypoint", "score"}
    assert found["keypoint"].sum() == 6


def test_decompression_is_bounded():
    with pytest.raises(DamageError, match="`keypoint` is longer than 1,000 bytes"):
        parse_npz(npz(keypoint=np.zeros(10**6)), ("keypoint",), 1000)


@given(data=st.data())
def test_changed_bytes_are_an_array_or_damage(data):
    content = bytearray(npy(np.ones((2, 3), np.float32)))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    with contextlib.suppress(DamageError):
        assert isinstance(parse_npy(bytes(content[:cut])), np.ndarray)


@given(data=st.data())
def test_changed_bytes_of_many_arrays(data):
    content = bytearray(npz(keypoint=np.ones((2, 3), np.float32)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DamageError):
        assert set(parse_npz(bytes(content), ("keypoint",), 10_000)) <= {"keypoint"}
