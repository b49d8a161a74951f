"""Reading a store from an object store: as from a folder, through faults, or a clear error."""

from __future__ import annotations

import hashlib
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from filelock import FileLock
from obstore.store import S3Store

import aclnet
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store import objects as client
from aclnet.datasets.store import zarr_io
from aclnet.datasets.store.disk_cache import DiskCache
from aclnet.datasets.store.manifest import File
from aclnet.datasets.store.paths import ObjectPath, store_path
from aclnet.datasets.store.verify import verify
from tests.object_server import BUCKET, KEY_ID, SECRET, Fault

KEY = "data/people.zarr"
SHARD = "frames/keypoint/c/3/0/0"


@pytest.fixture
def address(objects, people_store):
    """Address of a copy of `people_store`."""
    return objects.put_folder(people_store, KEY)


def batches(store, split="xsub/train"):
    stream = store.stream(
        split, batch_size=5, sampling=aclnet.UniformSampling(12), seed=3, motion=True, window=3
    )
    return [batch for _ in range(2) for batch in stream]


# Addresses


def test_an_address_is_written_as_it_was_given():
    path = store_path("s3://bucket/a/b.zarr")
    assert (str(path), path.bucket, path.key) == ("s3://bucket/a/b.zarr", "bucket", "a/b.zarr")
    assert str(path / "frames/zarr.json") == "s3://bucket/a/b.zarr/frames/zarr.json"
    assert (path.name, path.stem, path.suffix) == ("b.zarr", "b", ".zarr")
    assert str(path.parent) == "s3://bucket/a"
    assert store_path(Path("s3://bucket/a/b.zarr")) == path  # `Path` makes one slash of two
    assert pickle.loads(pickle.dumps(path)) == path  # noqa: S301
    assert isinstance(path, ObjectPath)
    assert store_path("a/b.zarr") == Path("a/b.zarr")


@pytest.mark.parametrize("text", ["s3://", "s3://bucket", "s3://b/../x", "gs://b/x", "http://h/x"])
def test_other_addresses_are_refused(text):
    with pytest.raises(AclnetError, match="is not the address of a store; give s3://BUCKET/PATH"):
        store_path(text)


# What is read


@pytest.mark.slow
def test_the_contents_are_those_of_the_folder(address, people_store):
    distant, local = aclnet.open_store(address), aclnet.open_store(people_store)
    assert distant.digest == local.digest
    assert str(distant.path) == address
    assert distant.samples.equals(local.samples)
    assert distant.splits.keys() == local.splits.keys()
    for name in local.splits:
        np.testing.assert_array_equal(distant.mask(name), local.mask(name))
    rows = np.arange(len(local))
    for one, other in zip(distant.sequences(rows), local.sequences(rows), strict=True):
        assert one.sample_id == other.sample_id
        np.testing.assert_array_equal(one.keypoint, other.keypoint)
        np.testing.assert_array_equal(one.present, other.present)


@pytest.mark.slow
def test_batches_are_those_of_the_folder_to_the_bit(address, people_store):
    found, expected = (batches(aclnet.open_store(path)) for path in (address, people_store))
    assert len(found) == len(expected) > 4
    for one, other in zip(found, expected, strict=True):
        for name in one.__slots__:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_plain_zarr_reads_the_same_objects(address, people_store, objects):
    bucket = S3Store(BUCKET, prefix=KEY, client_options={"allow_http": True})
    group = zarr.open_group(zarr.storage.ObjectStore(bucket, read_only=True), mode="r")
    expected = zarr.open_group(people_store, mode="r")
    for name in ("frames/keypoint", "samples/start", "splits/xsub/train"):
        np.testing.assert_array_equal(group[name][...], expected[name][...])


def test_a_store_goes_to_another_process_without_credentials(address):
    sent = pickle.dumps(aclnet.open_store(address))
    assert SECRET.encode() not in sent
    assert KEY_ID.encode() not in sent
    assert pickle.loads(sent).sequence(3).keypoint.size  # noqa: S301


# The cache on disk


@pytest.mark.slow
def test_what_is_on_the_disk_is_not_fetched_again(address, objects, monkeypatch):
    batches(aclnet.open_store(address))
    cold = objects.count("GET", "/c/")
    assert cold > 10
    batches(aclnet.open_store(address))
    assert objects.count("GET", "/c/") == cold
    monkeypatch.setenv("ACLNET_CACHE_MB", "0")
    batches(aclnet.open_store(address))
    assert objects.count("GET", "/c/") >= 2 * cold  # files of equal content are one in the cache


def test_streaming_stays_within_the_limit_of_the_cache(
    address, people_store, tmp_path, monkeypatch
):
    limit = 300_000
    monkeypatch.setattr(client, "default_disk_cache", lambda: DiskCache(tmp_path, limit))
    whole = sum(file.bytes for file in aclnet.open_store(people_store).manifest.all_files.values())
    assert whole > 2 * limit
    found = batches(aclnet.open_store(address))
    kept = sum(f.stat().st_size for f in tmp_path.rglob("*") if len(f.name) >= 64)
    assert limit / 2 < kept <= limit
    for one, other in zip(found, batches(aclnet.open_store(people_store)), strict=True):
        np.testing.assert_array_equal(one.keypoint, other.keypoint)


# Faults that pass


@pytest.mark.parametrize("what", ["manifest", "zarr.json$", SHARD])
@pytest.mark.parametrize("kind", ["500", "cut", "reset"])
def test_passing_faults_are_not_noticed(kind, what, address, objects, people_store):
    objects.faults.append(Fault(kind, key=what, times=2))
    keypoint, _ = aclnet.open_store(address).read_shard(3)
    np.testing.assert_array_equal(keypoint, aclnet.open_store(people_store).read_shard(3)[0])
    assert objects.faults[0].times == 0


def test_a_slow_answer_is_asked_for_again(address, objects, monkeypatch):
    monkeypatch.setattr(client, "_SILENT_SECONDS", 3)
    objects.faults.append(Fault("slow", key=SHARD, seconds=10))
    aclnet.open_store(address).read_shard(3)
    assert objects.count("GET", SHARD) == 2


@pytest.mark.slow
def test_a_slow_connection_reads_and_sends_everything(objects, monkeypatch):
    monkeypatch.setattr(client, "_SILENT_SECONDS", 3)
    bucket = client.Bucket(store_path(f"s3://{BUCKET}/a"))
    objects.faults += [Fault("slow", "PUT", seconds=4), Fault("trickle", seconds=0.6)]
    content = bytes(range(256)) * 1000
    monkeypatch.setattr(client, "_SLOWEST_BYTES", len(content) // 20)
    bucket.put("x", content)
    assert bucket.get("x") == content
    assert objects.requests == [("PUT", "a/x"), ("GET", "a/x")]


@pytest.mark.parametrize("size", [0, 3_000_000, 3_000_001, 20_000_000, 5_000_000_000])
def test_the_limit_of_an_upload_fits_its_size(size):
    limit = client._upload_seconds(size)
    assert max(60, size / 50_000) <= limit < max(61, 2 * size / 50_000)


def test_a_bit_that_changed_on_the_way_is_asked_for_again(address, objects):
    objects.faults.append(Fault("flip", key=SHARD, times=2))
    aclnet.open_store(address).read_shard(3)
    assert objects.count("GET", SHARD) == 3


def test_a_reader_does_not_wait_for_others_longer_than_for_the_server(objects, tmp_path):
    objects.put("a/x", b"content")
    file = File(bytes=7, sha256=hashlib.sha256(b"content").hexdigest())
    for _ in range(2):
        files = client.ObjectFiles(store_path(f"s3://{BUCKET}/a"))
        lock = tmp_path / "cache" / file.sha256[:2] / "lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):  # as a process does that waits for the server
            assert files.read("x", file) == b"content"
    assert objects.count("GET") == 1, "the content is kept"


def test_waits_grow_and_end(address, objects, client_clock, monkeypatch):
    waits = client_clock.waits
    monkeypatch.setenv("ACLNET_S3_PATIENCE", "1000")
    objects.faults.append(Fault("500", key="manifest", times=10**6))
    with pytest.raises(AclnetError, match="for 1000 seconds"):
        aclnet.open_store(address)
    assert sum(waits) == pytest.approx(1000)
    assert 0.1 < waits[0] < 0.3
    assert max(waits) <= 15
    assert min(waits[8:-1]) > 7


# Faults that stay


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("500", "InternalError"),
        ("cut", "the answer was cut off"),
        ("reset", "connection was closed"),
    ],
)
def test_a_server_that_stays_out_of_order_is_told(kind, reason, address, objects):
    store = aclnet.open_store(address)
    objects.faults.append(Fault(kind, key=SHARD, times=10**6))
    with pytest.raises(AclnetError) as caught:
        store.read_shard(3)
    message = str(caught.value)
    assert f"{address}/{SHARD}: {objects.url} did not send a proper answer" in message
    assert reason in message
    assert "run the same command again" in message
    assert objects.count("GET", SHARD) > 1


@pytest.mark.slow
def test_a_server_that_dies_ends_the_stream(address, objects):
    stream = aclnet.open_store(address).stream(
        "xsub/train", batch_size=2, sampling=aclnet.UniformSampling(8), window=2
    )
    iterator = iter(stream)
    next(iterator)
    objects.stop()
    try:
        with pytest.raises(AclnetError, match=r"did not send a proper answer .*\(.*onnection"):
            list(iterator)
    finally:
        objects.start()
    reached = stream.step
    assert len(list(stream)) == len(stream) - reached, "the stream goes on"


def test_an_address_without_a_store(objects):
    with pytest.raises(
        AclnetError, match=r"s3://skeletons/x\.zarr: there is no manifest\.json, so"
    ):
        aclnet.open_store(f"s3://{BUCKET}/x.zarr")


def test_a_bucket_that_is_not_there(objects):
    with pytest.raises(AclnetError, match=r"s3://other/x\.zarr: there is no bucket other"):
        aclnet.open_store("s3://other/x.zarr")


def test_no_credentials_and_wrong_ones(address, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWRONG")
    with pytest.raises(AclnetError, match=r"access is refused .*check AWS_ACCESS_KEY_ID") as caught:
        aclnet.open_store(address)
    assert "AKIAWRONG" not in str(caught.value)
    assert SECRET not in str(caught.value)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AclnetError, match="Missing SecretAccessKey"):
        aclnet.open_store(address)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9/latest/api/token")
    with pytest.raises(AclnetError, match="there are no credentials; set AWS_ACCESS_KEY_ID"):
        aclnet.open_store(address)


def test_another_region_is_told_at_once(address, objects):
    objects.faults.append(Fault("301", times=10**6))
    with pytest.raises(AclnetError, match=r"the request is refused .*check AWS_REGION"):
        aclnet.open_store(address)
    assert len(objects.requests) == 1


def test_without_the_packages(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(AclnetError, match=r"s3://b/x needs further packages: pip install 'aclnet"):
        aclnet.open_store("s3://b/x")


def test_variables_with_other_values(address, monkeypatch):
    monkeypatch.setenv("ACLNET_S3_PATIENCE", "long")
    with pytest.raises(AclnetError, match="ACLNET_S3_PATIENCE=long: a number of seconds"):
        aclnet.open_store(address)
    monkeypatch.setenv("ACLNET_S3_PATIENCE", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "minio:9000")
    with pytest.raises(AclnetError, match="AWS_ENDPOINT_URL=minio:9000 is not an address"):
        aclnet.open_store(address)


def test_a_request_is_repeated_as_long_as_patience_allows(
    address, objects, client_clock, monkeypatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(AclnetError, match=r"http://127\.0\.0\.1:9 did not .*Connection refused"):
        aclnet.open_store(address)
    assert sum(client_clock.waits) == pytest.approx(0.5)
    assert len(client_clock.waits) > 1


# Damage


def damage(objects, name, content):
    objects.put(f"{KEY}/{name}", content)


def test_a_missing_object_is_told_at_opening(address, objects):
    del objects.objects[f"{KEY}/{SHARD}"]
    with pytest.raises(
        AclnetError, match=f"{address}/{SHARD} is missing; `aclnet verify {address}`"
    ):
        aclnet.open_store(address)


def test_a_shorter_object_is_told_at_opening(address, objects):
    content = objects.objects[f"{KEY}/{SHARD}"].content
    damage(objects, SHARD, content[:-1])
    words = f"{SHARD} has {len(content) - 1} bytes instead of {len(content)}"
    with pytest.raises(AclnetError, match=words):
        aclnet.open_store(address)


def test_an_object_that_goes_or_changes_after_opening(address, objects):
    store = aclnet.open_store(address)
    content = objects.objects[f"{KEY}/{SHARD}"].content
    damage(objects, SHARD, b"x" + content[1:])
    with pytest.raises(AclnetError, match=f"{SHARD} differs from what was written"):
        store.read_shard(3)
    del objects.objects[f"{KEY}/{SHARD}"]
    with pytest.raises(AclnetError, match=f"{SHARD} is missing"):
        store.read_shard(3)


@pytest.mark.slow
def test_verify_reads_the_server_and_not_the_cache(address, objects, people_store):
    batches(aclnet.open_store(address))
    assert list(verify(address)) == []
    content = objects.objects[f"{KEY}/{SHARD}"].content
    damage(objects, SHARD, content[:-1] + b"x")
    del objects.objects[f"{KEY}/rejected.csv"]
    local = aclnet.open_store(people_store)
    ids = local.column("id")[local.shard_of == 3]
    assert list(verify(address)) == [
        f"{address}/rejected.csv is missing",
        f"shard 3 ({len(ids)} samples: {', '.join(ids)}): {address}/{SHARD} differs from "
        "what was written",
    ]


def test_a_chunk_that_was_not_read_is_no_fill(people_store):
    """zarr takes an absent chunk for fill values; ours must be an error."""
    store = aclnet.open_store(people_store)
    array = store._arrays["frames/keypoint"]
    with pytest.raises(ValueError, match="c/0/0/0 was not read"):
        zarr_io.decode(array, "frames/keypoint/c/1/0/0", b"", slice(0, store.shard_rows))


@pytest.mark.slow
def test_a_set_has_members_here_and_there(address, people_store, home_store, tmp_path):
    out = tmp_path / "set.zarr"
    aclnet.finalise(out, home_store, address)
    distant, near = aclnet.open_store(out), aclnet.open_store(home_store, people_store)
    assert distant.digest == near.digest
    assert [str(member.path) for member in distant.members] == [str(home_store), str(address)]
    for row in (0, len(near) - 1):
        np.testing.assert_array_equal(distant.sequence(row).keypoint, near.sequence(row).keypoint)
    assert list(verify(out)) == []
    with pytest.raises(AclnetError, match="a set is a folder on a disk"):
        aclnet.finalise(address, home_store, people_store)
