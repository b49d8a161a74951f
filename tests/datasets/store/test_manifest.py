"""The commit point: what makes a folder a store, and what keeps it from being one."""

from __future__ import annotations

import hashlib

import pytest

from aclnet.datasets.formats.atomic import write_json
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store import manifest

NO_SHARD = b'{"schema_version": 1, "plan": "p", "shards": [], "files": {}}'
DEEP = b'{"a":' * 100_000


def some_manifest() -> manifest.Manifest:
    file = manifest.File(bytes=3, sha256="ab")
    shard = manifest.Shard(files={"frames/x/c/0": file}, content="cd", samples=1, rows=2)
    return manifest.Manifest(plan="p", shards=[shard], files={"zarr.json": file})


def test_what_is_written_is_read(tmp_path):
    written = some_manifest()
    write_json(tmp_path / manifest.NAME, written.model_dump())
    assert manifest.load(tmp_path) == written
    assert set(written.all_files) == {"frames/x/c/0", "zarr.json"}
    assert [f.name for f in tmp_path.iterdir()] == [manifest.NAME]


def test_there_is_no_store(tmp_path):
    with pytest.raises(AclnetError, match=r"x\.zarr: there is no such store; `aclnet prepare`"):
        manifest.load(tmp_path / "x.zarr")


def test_an_unfinished_store_names_the_remedy(tmp_path):
    (tmp_path / "x.zarr.wip" / "store").mkdir(parents=True)
    for path in ("x.zarr", "x.zarr.wip", "x.zarr.wip/store"):
        with pytest.raises(AclnetError, match=r"unfinished.* same `aclnet prepare` command again"):
            manifest.load(tmp_path / path)


def test_any_other_folder_is_no_store(tmp_path):
    with pytest.raises(
        AclnetError,
        match=r"manifest\.json is missing, so this is not an aclnet "
        r"store",
    ):
        manifest.load(tmp_path)


def test_another_schema_is_refused(tmp_path):
    write_json(tmp_path / manifest.NAME, some_manifest().model_dump() | {"schema_version": 2})
    with pytest.raises(AclnetError, match="schema 2, but this version of aclnet reads schema 1"):
        manifest.load(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"{}", b'{"schema_version": 1}', b"\xff\xfe", b"7", NO_SHARD, DEEP],
)
def test_a_damaged_manifest_is_told(tmp_path, content):
    (tmp_path / manifest.NAME).write_bytes(content)
    with pytest.raises(AclnetError, match=r"manifest\.json is damaged .*prepare the store again$"):
        manifest.load(tmp_path)


def test_sizes(tmp_path):
    path = tmp_path / "f"
    assert manifest.check_size(path, manifest.File(bytes=1, sha256="")) == f"{path} is missing"
    path.write_bytes(b"abc")
    file = manifest.describe_file(path)
    assert file == manifest.File(bytes=3, sha256=hashlib.sha256(b"abc").hexdigest())
    assert manifest.check_size(path, file) is None
    path.write_bytes(b"ab")
    assert manifest.check_size(path, file) == f"{path} has 2 bytes instead of 3"
