"""Rows of arrays on disk, against numpy's own reader."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.datasets.formats.npy_rows import NpyRows, open_npy, open_npz
from aclnet.datasets.spec import AclnetError, DamageError

if TYPE_CHECKING:
    from pathlib import Path

ARRAY = np.random.default_rng(0).normal(size=(7, 3, 2)).astype(np.float32)


def written(folder: Path, how: str) -> NpyRows:
    if how == "npy":
        np.save(folder / "a.npy", ARRAY)
        return open_npy(folder / "a.npy")
    save = np.savez if how == "stored" else np.savez_compressed
    save(folder / "a.npz", first=np.arange(5), x=ARRAY)
    return open_npz(folder / "a.npz", "x")


@pytest.mark.parametrize("how", ["npy", "stored", "compressed"])
def test_rows_in_any_order(tmp_path: Path, how: str):
    rows = written(tmp_path, how)
    assert (len(rows), rows.shape, rows.row_bytes) == (7, (7, 3, 2), 24)
    for first, count in [(0, 1), (5, 2), (2, 3), (6, 1), (0, 7), (3, 0)]:
        np.testing.assert_array_equal(rows.read(first, count), ARRAY[first : first + count])
    for first, count in [(7, 1), (6, 2), (10**9, 1), (-1, 1)]:
        with pytest.raises(DamageError, match="before row"):
            rows.read(first, count)


def test_a_stored_array_is_found_behind_a_header_of_other_length(tmp_path: Path):
    """Archives may be rewritten with local headers that differ from the list's."""
    np.savez(tmp_path / "a.npz", x=ARRAY)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        content = archive.read("x.npy")
    info = zipfile.ZipInfo("x.npy")
    info.extra = b"\x99\x99\x08\x00padding."
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr(info, content)
    np.testing.assert_array_equal(open_npz(tmp_path / "b.npz", "x").read(0, 7), ARRAY)


def test_what_is_no_array_of_rows(tmp_path: Path):
    np.savez(tmp_path / "a.npz", order=np.asfortranarray(ARRAY), one=np.float32(1), text=["a"])
    for name, reason in [("order", "row by row"), ("one", "row by row"), ("text", "numbers are")]:
        with pytest.raises(AclnetError, match=rf"a\.npz/{name}: .*{reason}"):
            open_npz(tmp_path / "a.npz", name)
    with pytest.raises(AclnetError, match="has no array 'x'"):
        open_npz(tmp_path / "a.npz", "x")
    (tmp_path / "b.npz").write_bytes(b"PK")
    with pytest.raises(AclnetError, match="not a valid"):
        open_npz(tmp_path / "b.npz", "x")
    for opener in (open_npy, lambda path: open_npz(path, "x")):
        with pytest.raises(AclnetError, match="nowhere cannot be read"):
            opener(tmp_path / "nowhere")


@pytest.mark.parametrize("shape", [(10**12, 1), (1, 10**9)])
def test_an_array_that_is_too_large_is_refused_by_its_header(tmp_path: Path, shape):
    with (tmp_path / "a.npy").open("wb") as file:
        facts = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, facts)
    with pytest.raises(AclnetError, match="larger than any"):
        open_npy(tmp_path / "a.npy")


def test_rows_of_text_where_text_is_asked_for(tmp_path: Path):
    np.savez_compressed(tmp_path / "a.npz", names=["a", "", "bäg"], x=ARRAY)
    rows = open_npz(tmp_path / "a.npz", "names", text=True)
    assert (len(rows), rows.read(0, 3).tolist()) == (3, ["a", "", "bäg"])
    with pytest.raises(AclnetError, match="text is expected"):
        open_npz(tmp_path / "a.npz", "x", text=True)


def test_a_cut_file_is_refused(tmp_path: Path):
    written(tmp_path, "npy")
    whole = (tmp_path / "a.npy").read_bytes()
    for length in (0, 5, 60, len(whole) - 1):
        (tmp_path / "a.npy").write_bytes(whole[:length])
        with pytest.raises(AclnetError, match=r"a\.npy: .*download it again"):
            open_npy(tmp_path / "a.npy")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rows")


@given(data=st.data(), how=st.sampled_from(["stored", "compressed"]))
def test_changed_bytes_are_rows_or_an_error(folder: Path, data: st.DataObject, how: str):
    written(folder, how)
    changed = bytearray((folder / "a.npz").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    (folder / "b.npz").write_bytes(changed)
    try:
        rows = open_npz(folder / "b.npz", "x")
        assert rows.read(0).shape == (1, *rows.shape[1:])
    except (AclnetError, DamageError):
        pass
