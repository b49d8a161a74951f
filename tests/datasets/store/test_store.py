"""Opening and reading a store, sound and damaged."""

from __future__ import annotations

import hashlib
import itertools
import pickle

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aclnet
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store import files, zarr_io
from aclnet.datasets.store.codec import content_hash


def test_columns_are_those_of_plain_zarr_and_read_only(people_store):
    store, group = aclnet.open_store(people_store), zarr.open_group(people_store, mode="r")
    for name, array in group["samples"].arrays():
        column = store.column(name)
        np.testing.assert_array_equal(column, np.asarray(array[...]).astype(column.dtype))
        with pytest.raises(ValueError, match="read-only"):
            column[0] = column[1]
    assert store.column("id").dtype.kind == "U"
    assert len(store) == 72
    assert len(store.samples) == 72
    assert "centre" not in store.samples


def test_a_sequence_by_row_or_id(people_store):
    store = aclnet.open_store(people_store)
    for row in (0, 71, np.int64(40)):
        by_row = store.sequence(row)
        by_id = store.sequence(by_row.sample_id)
        assert by_row.sample_id == store.column("id")[row]
        np.testing.assert_array_equal(by_row.keypoint, by_id.keypoint)
        assert by_row.present.shape == by_row.keypoint.shape[:2]
        assert by_row.frame_index.shape == by_row.present.shape[1:]
    with pytest.raises(AclnetError, match="has no sample 'S999'"):
        store.sequence("S999")


def test_a_shard_holds_the_rows_of_plain_zarr(people_store):
    store, group = aclnet.open_store(people_store), zarr.open_group(people_store, mode="r")
    rows = slice(2 * store.shard_rows, 3 * store.shard_rows)
    keypoint, present = store.read_shard(2)
    np.testing.assert_array_equal(keypoint, group["frames/keypoint"][rows])
    np.testing.assert_array_equal(present, group["frames/present"][rows])
    assert keypoint.dtype == np.float32


def test_an_unknown_split_lists_the_known(people_store):
    store = aclnet.open_store(people_store)
    with pytest.raises(AclnetError, match=r"no split 'xset/train' .*; it has xsub/test, "):
        store.mask("xset/train")


def test_the_default_protocol_is_the_first(people_store):
    store = aclnet.open_store(people_store)
    assert store.default_protocol == store.protocols[0] == "xsub"


def test_a_store_without_any_protocol(prepare_raw, tmp_path):
    """An index without the column split: the recordings are there, and nobody trains."""
    folder = tmp_path / "raw"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in "ab":
        np.save(folder / f"{name}.npy", rng.uniform(1, 2, (6, 20, 3)).astype(np.float32))
    (folder / "dataset.toml").write_text('layout = "kinect_v1"\n')
    (folder / "index.csv").write_text("id,file,label\na,a.npy,ann\nb,b.npy,bo\n")
    prepare_raw(folder, tmp_path / "s.zarr", dataset="custom")
    store = aclnet.open_store(tmp_path / "s.zarr")
    assert sorted(store.column("id")) == ["a", "b"]
    assert (store.protocols, store.splits) == ([], {})
    assert store.sequence("a").keypoint.shape == (1, 6, 20, 3)
    with pytest.raises(AclnetError, match=r"s\.zarr has no protocol: .*--split FILE\.csv"):
        _ = store.default_protocol
    with pytest.raises(AclnetError, match="has no split 'own/train'"):
        store.mask("own/train")


def test_a_copy_has_the_same_digest(people_store, copy):
    assert aclnet.open_store(copy).digest == aclnet.open_store(people_store).digest


def test_a_store_goes_to_another_process(people_store):
    store = pickle.loads(pickle.dumps(aclnet.open_store(people_store)))  # noqa: S301
    assert store.sequence(3).sample_id == store.column("id")[3]


def test_the_content_hash_tells_dtype_shape_and_values():
    x = np.arange(6, dtype=np.int32)
    others = [x.astype(np.int64), x.reshape(2, 3), x + 1, x[::-1]]
    hashes = {content_hash([y]) for y in [x, *others]} | {content_hash([x[:3], x[3:]])}
    assert len(hashes) == 6
    assert content_hash([x.astype(">i4")]) != content_hash([x + 1])
    assert content_hash([x[::2]]) == content_hash([x[::2].copy()])


# Damage


def test_a_store_without_manifest_is_none(copy):
    (copy / "manifest.json").unlink()
    with pytest.raises(AclnetError, match=r"manifest\.json is missing"):
        aclnet.open_store(copy)


@pytest.mark.parametrize("array", ["keypoint", "present", "index"])
def test_a_missing_shard_is_told_at_opening(copy, array):
    file = copy / zarr_io.shard_file(f"frames/{array}", 1, 3 if array == "keypoint" else 1)
    file.unlink()
    with pytest.raises(AclnetError, match=f"{file} is missing; `aclnet verify"):
        aclnet.open_store(copy)


def test_a_truncated_shard_is_told_at_opening(copy):
    file = copy / "frames/keypoint/c/3/0/0"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(AclnetError, match=rf"{file} has \d+ bytes instead of \d+"):
        aclnet.open_store(copy)


def test_swapped_shards_are_told_at_opening(copy):
    first, second = (copy / f"frames/keypoint/c/{n}/0/0" for n in (1, 2))
    first.rename(copy / "x")
    second.rename(first)
    (copy / "x").rename(second)
    with pytest.raises(AclnetError, match=r"frames/keypoint/c/1/0/0 has \d+ bytes instead of"):
        aclnet.open_store(copy)


@pytest.mark.parametrize("array", ["keypoint", "present"])
def test_a_shard_that_goes_after_opening_never_reads_as_fill(copy, array):
    store = aclnet.open_store(copy)
    (copy / zarr_io.shard_file(f"frames/{array}", 4, 3 if array == "keypoint" else 1)).unlink()
    with pytest.raises(AclnetError, match="is missing"):
        store.read_shard(4)
    with pytest.raises(AclnetError, match="is missing"):
        store.sequence(int(np.flatnonzero(store.shard_of == 4)[0]))


def test_a_column_that_goes_after_opening_never_reads_as_zeros(copy):
    store = aclnet.open_store(copy)
    (copy / "samples/label/c/0").unlink()
    with pytest.raises(AclnetError, match="samples/label/c/0 is missing"):
        store.column("label")


def test_a_further_process_of_a_training_leaves_the_sizes_of_shards_to_the_first(copy, monkeypatch):
    store = aclnet.open_store(copy)
    shard = zarr_io.shard_file("frames/keypoint", 4, 3)
    (copy / shard).unlink()
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(AclnetError, match="is missing"):
        aclnet.open_store(copy)
    monkeypatch.setenv("RANK", "1")
    store = aclnet.open_store(copy)
    store.read_shard(3)
    with pytest.raises(AclnetError, match="is missing"):
        store.read_shard(4)
    (copy / "samples/id/c/0").unlink()
    with pytest.raises(AclnetError, match="is missing"):
        aclnet.open_store(copy)


def test_a_damaged_column_is_told_when_it_is_read(copy):
    for name in ("samples/label/c/0", "samples/id/c/0", "splits/xsub/train/c/0"):
        flip(copy / name, 20, 0)
    store = aclnet.open_store(copy)
    for read in (lambda: store.column("label"), lambda: store.column("id"), lambda: store.splits):
        with pytest.raises(AclnetError, match=r"/c/0 differs from what was .*`aclnet verify"):
            read()


def exchange(one, two):
    contents = one.read_bytes(), two.read_bytes()
    assert contents[0] != contents[1]
    two.write_bytes(contents[0])
    one.write_bytes(contents[1])


def same_size(store, pattern):
    """Pairs of files of a store that differ, though they have equal sizes."""
    files = sorted(f for f in store.glob(pattern) if f.is_file())
    pairs = itertools.combinations(files, 2)
    return [
        (a, b)
        for a, b in pairs
        if a.stat().st_size == b.stat().st_size and a.read_bytes() != b.read_bytes()
    ]


def test_exchanged_columns_and_masks_of_equal_size_are_not_read(copy):
    label, subject = (copy / f"samples/{name}/c/0" for name in ("label", "subject"))
    pairs = [(label, subject)]
    train, test = (copy / f"splits/xsub/{side}/c/0" for side in ("train", "test"))
    pairs += [(train, test), *same_size(copy, "samples/*/c/0"), *same_size(copy, "splits/*/*/c/0")]
    assert len(pairs) > 2
    for one, two in pairs:
        exchange(one, two)
        try:
            for file in (one, two):
                with pytest.raises(AclnetError, match=r"instead of|differs") as error:
                    _read_all(aclnet.open_store(copy), file.relative_to(copy).parts)
                assert "aclnet verify" in str(error.value)
        finally:
            exchange(one, two)


def _read_all(store, parts):
    return store.column(parts[1]) if parts[0] == "samples" else store.splits


def test_exchanged_shards_of_equal_size_are_not_read(copy):
    pairs = same_size(copy, "frames/present/c/*")
    assert pairs
    for one, two in pairs[:3]:
        exchange(one, two)
        try:
            numbers = [int(f.relative_to(copy).parts[3]) for f in (one, two)]
            store = aclnet.open_store(copy)
            for number in numbers:
                with pytest.raises(AclnetError, match=f"present/c/{number} differs"):
                    list(store.sequences(np.flatnonzero(store.shard_of == number)))
        finally:
            exchange(one, two)


def test_a_file_is_compared_with_the_manifest_once(people_store, monkeypatch):
    store = aclnet.open_store(people_store)
    compared = []
    sha256 = hashlib.sha256
    monkeypatch.setattr(files.hashlib, "sha256", lambda c: compared.append(len(c)) or sha256(c))
    for _ in range(3):
        store.read_shard(1)
    shard = store.manifest.shards[1].files
    expected = [file.bytes for name, file in shard.items() if "index" not in name]
    assert sorted(compared) == sorted(expected)


def test_many_sequences_are_those_one_by_one(people_store):
    store = aclnet.open_store(people_store)
    rows = np.arange(1, len(store), 3)
    found = list(store.sequences(rows))
    assert [sequence.sample_id for sequence in found] == store.column("id")[rows].tolist()
    for sequence in found:
        alone = store.sequence(sequence.sample_id)
        for name in ("keypoint", "present", "frame_index"):
            np.testing.assert_array_equal(getattr(sequence, name), getattr(alone, name))


def test_packed_rows_are_the_sequences_without_gaps(pixel_store):
    rows = {name: [] for name in ("keypoint", "present", "index", "score")}
    for block in pixel_store.packed_rows():
        assert block.keys() == rows.keys()
        for name, values in block.items():
            rows[name].extend(values)
    sequences = [pixel_store.sequence(row) for row in range(len(pixel_store))]
    expected = np.concatenate([s.keypoint.reshape(-1, 20, 2) for s in sequences])
    np.testing.assert_array_equal(rows["keypoint"], expected)
    expected = np.concatenate([s.score.reshape(-1, 20) for s in sequences])
    np.testing.assert_array_equal(rows["score"], expected)
    assert len(rows["index"]) == len(rows["present"]) == len(expected)


def test_damaged_metadata_are_told_at_opening(copy):
    text = (copy / "zarr.json").read_text()
    (copy / "zarr.json").write_text(text.replace('"shard_rows": 256', '"shard_rows": 512'))
    with pytest.raises(AclnetError, match=r"zarr\.json differs from what was written"):
        aclnet.open_store(copy)


def flip(path, byte, bit):
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    path.write_bytes(data)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["keypoint", "present"]), st.floats(0, 1, exclude_max=True), st.integers(0, 7)
)
def test_no_flipped_bit_of_a_shard_is_read_as_data(flippable, array, where, bit):
    file = flippable / zarr_io.shard_file(f"frames/{array}", 5, 3 if array == "keypoint" else 1)
    byte = int(where * file.stat().st_size)
    store = aclnet.open_store(flippable)
    flip(file, byte, bit)
    try:
        with pytest.raises(AclnetError, match=rf"{file} differs .*`aclnet verify"):
            store.read_shard(5)
        store._compared.add(file.relative_to(flippable).as_posix())  # damaged while it was open
        with pytest.raises(AclnetError, match=rf"{file} does not decode .*`aclnet verify"):
            store.read_shard(5)
    finally:
        flip(file, byte, bit)
    store.read_shard(5)
