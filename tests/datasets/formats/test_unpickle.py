from __future__ import annotations

import contextlib
import os
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.datasets.formats.unpickle import load_pickle
from aclnet.datasets.spec import AclnetError

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = {
    "annotations": [
        {
            "keypoint": np.arange(6, dtype=np.float16).reshape(1, 2, 3),
            "turned": np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
            "swapped": np.arange(3, dtype=">i4"),
            "empty": np.zeros((2, 0, 3), np.float32),
            "names": np.array(["a", "bcd"]),
            "flags": np.array([True, False]),
            "scalar_array": np.array(2.5),
            "label": np.int64(3),
            "score": np.float32(0.5),
            "valid": {0.5: 10},
            "img_shape": (240, 320),
            "raw": b"\x00\xff",
        }
    ],
    "split": {"train": ["a"], "val": []},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pickles")


class Trap:
    """Pickles as a call of `os.mkdir`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_plain_containers_come_back(tmp_path: Path, protocol: int):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(CONTENT, protocol))
    loaded = load_pickle(path)
    expected, found = CONTENT["annotations"][0], loaded["annotations"][0]
    assert loaded["split"] == CONTENT["split"]
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert type(found[name]) is type(value)
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("protocol", [2, 5])
def test_arrays_of_older_and_newer_numpy_come_back(tmp_path: Path, protocol: int):
    array = np.arange(6, dtype=np.float16).reshape(1, 2, 3)
    data = pickle.dumps(array, protocol)
    own, other = (b"numpy._core", b"numpy.core")[:: 1 if b"numpy._core" in data else -1]
    # Protocol 5 gives the length of the module's name before it, and of the whole frame.
    for module in (b".multiarray", b".numeric"):
        before, after = own + module, other + module
        data = data.replace(bytes([len(before)]) + before, bytes([len(after)]) + after)
        data = data.replace(before + b"\n", after + b"\n")
    assert own not in data
    assert other in data
    path = tmp_path / "a.pkl"
    path.write_bytes(data[:2] + data[11:] if data[2:3] == pickle.FRAME else data)
    np.testing.assert_array_equal(load_pickle(path), array)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_is_run(tmp_path: Path, protocol: int):
    made, path = tmp_path / "made", tmp_path / "trap.pkl"
    path.write_bytes(pickle.dumps([1, Trap(made)], protocol))
    with pytest.raises(AclnetError, match=r"trap\.pkl uses (posix|nt)\.mkdir"):
        load_pickle(path)
    assert not made.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"cbuiltins\neval\n(V1+1\ntR.",
        b"cnumpy\nload\n(Vx\ntR.",
        b"cnumpy.core.multiarray\nfromfile\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.tobytes\x93.",
    ],
)
def test_only_what_arrays_need_is_allowed(tmp_path: Path, data: bytes):
    path = tmp_path / "a.pkl"
    path.write_bytes(data)
    with pytest.raises(AclnetError, match="uses"):
        load_pickle(path)


def test_what_is_shared_stays_shared(tmp_path: Path):
    array = np.arange(3.0)
    row = [array, (array, 1)]
    cycle: list[object] = [row, row]
    cycle.append(cycle)
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(cycle))
    first, second, itself = load_pickle(path)
    assert first is second
    assert first[0] is first[1][0]
    assert len(itself) == 3
    assert itself[0] is first


@pytest.mark.parametrize(
    "changes",
    [
        {b"f2": b"O2"},
        {b"f2": b"V2"},
        {b"f2": b"f8"},
        {b"K\x01K\x02K\x03": b"K\x01K\x02K\x09"},
        {b"K\x01K\x02K\x03": b"K\x01K\x02J\xff\xff\xff\xff"},
    ],
)
def test_arrays_that_contradict_themselves_are_damage(tmp_path: Path, changes):
    data = pickle.dumps(np.arange(6, dtype=np.float16).reshape(1, 2, 3), 2)
    for before, after in changes.items():
        assert before in data
        data = data.replace(before, after)
    path = tmp_path / "a.pkl"
    path.write_bytes(data)
    with pytest.raises(AclnetError, match="is not a complete pickle of plain data"):
        load_pickle(path)


def test_arrays_of_objects_are_refused(tmp_path: Path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(np.array([{}, None])))
    with pytest.raises(AclnetError, match="'O8' is not a plain type"):
        load_pickle(path)


@given(data=st.data())
def test_changed_bytes_load_or_are_an_error(folder: Path, data: st.DataObject):
    changed = bytearray(pickle.dumps(CONTENT, data.draw(st.sampled_from([2, 4, 5]))))
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    path = folder / "changed.pkl"
    path.write_bytes(changed)
    with contextlib.suppress(AclnetError):
        load_pickle(path)


@pytest.mark.parametrize("put", [b"r\xff\xff\xff\xff", b"p4294967295\n", b"r\xff\x00\x00\x00"])
@pytest.mark.parametrize("before", [b"", b"\x8e\x03" + bytes(7) + b"r..0", b"I1\n0"])
def test_numbers_that_no_pickler_gives_make_no_room(tmp_path: Path, put: bytes, before: bytes):
    """The unpickler would take 34 GB for the first of them."""
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x04" + before + b"]" + put + b".")
    with pytest.raises(AclnetError, match=r"ValueError: its object \d is numbered"):
        load_pickle(path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_picklers_number_objects_as_they_come(tmp_path: Path, protocol: int):
    """More objects than one byte can number, of every kind that is remembered."""
    content = [{f"é{n}": (f"b{n}", np.arange(n, dtype=np.float32))} for n in range(300)]
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    for found, expected in zip(load_pickle(path), content, strict=True):
        ((name, (text, array)),), ((its_name, (its_text, its_array)),) = (
            found.items(),
            expected.items(),
        )
        assert (name, text) == (its_name, its_text)
        np.testing.assert_array_equal(array, its_array)


@pytest.mark.parametrize("data", [b"", b"no pickle", b"\x89HDF\r\n", b"cnumpy\nndarray\n(tR."])
def test_other_files_are_no_pickles(tmp_path: Path, data: bytes):
    path = tmp_path / "a.pkl"
    path.write_bytes(data)
    with pytest.raises(AclnetError, match=r"a\.pkl is not a complete pickle"):
        load_pickle(path)


@given(data=st.data())
def test_a_cut_pickle_is_an_error(folder: Path, data: st.DataObject):
    whole = pickle.dumps(CONTENT)
    path = folder / "cut.pkl"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(AclnetError, match=r"cut\.pkl"):
        load_pickle(path)


def test_a_missing_file_is_an_error(tmp_path: Path):
    with pytest.raises(AclnetError, match="cannot be read"):
        load_pickle(tmp_path / "none.pkl")
