"""Upload of a store: visible when it is complete, resumed, and by one process at a time."""

from __future__ import annotations

import os
import platform
import shutil
from datetime import timedelta

import pytest

import aclnet
from aclnet.datasets.spec import AclnetError, AclnetWarning
from aclnet.datasets.store import manifest
from aclnet.datasets.store import upload as uploading
from aclnet.datasets.store.objects import Bucket
from aclnet.datasets.store.paths import store_path
from aclnet.datasets.store.upload import state_of, upload
from aclnet.datasets.store.verify import verify
from tests.object_server import BUCKET, Fault

KEY = "x/people.zarr"
ADDRESS = f"s3://{BUCKET}/{KEY}"
CLAIM = f"{KEY}/upload.json"


@pytest.fixture
def bucket(objects):
    return Bucket(store_path(ADDRESS))


def files_of(folder):
    return {f.relative_to(folder).as_posix(): f for f in folder.rglob("*") if f.is_file()}


def uploaded(objects):
    return {k.removeprefix(f"{KEY}/"): stored.content for k, stored in objects.objects.items()}


def puts(objects):
    return [key.removeprefix(f"{KEY}/") for method, key in objects.requests if method == "PUT"]


def other_claim(objects, **fields):
    claim = {"plan": "p", "host": "elsewhere", "process": 1, **fields}
    objects.put(CLAIM, uploading._Claim(**claim).model_dump_json().encode())


def make_old(objects, **ago):
    for key, stored in objects.objects.items():
        objects.objects[key] = stored._replace(modified=stored.modified - timedelta(**ago))


def test_the_objects_are_the_files_and_the_manifest_is_the_last(
    people_store, bucket, objects, tmp_path
):
    counts = []
    upload(people_store, bucket, tmp_path, lambda *count: counts.append(count[1:3]))
    assert uploaded(objects) == {n: f.read_bytes() for n, f in files_of(people_store).items()}
    sent = puts(objects)
    assert sent[0] == "upload.json"
    assert sent[-2:] == ["zarr.json", "manifest.json"]
    assert len(sent) == len(set(sent)) == len(files_of(people_store)) + 1
    assert counts[-1] == (counts[-1][1], counts[-1][1])
    assert list(verify(ADDRESS)) == []


def test_an_interrupted_upload_is_no_store_and_goes_on(people_store, bucket, objects, tmp_path):
    objects.faults.append(Fault("reset", "PUT", "keypoint/c/20", times=10**6))
    with pytest.raises(AclnetError, match=r"keypoint/c/20/0/0: .* did not send a proper answer"):
        upload(people_store, bucket, tmp_path)
    first = {name for name in puts(objects) if name in uploaded(objects)}
    assert len(first) > 10
    with pytest.raises(
        AclnetError, match=r"there is no manifest\.json, so this is not a store, or"
    ):
        aclnet.open_store(ADDRESS)
    objects.faults.clear()
    objects.requests.clear()
    upload(people_store, bucket, tmp_path)
    again = set(puts(objects)) & first
    assert again == {"upload.json"}
    assert uploaded(objects) == {n: f.read_bytes() for n, f in files_of(people_store).items()}


@pytest.mark.slow
def test_objects_that_changed_since_are_sent_again(people_store, bucket, objects, tmp_path):
    objects.faults.append(Fault("reset", "PUT", "^x/people.zarr/zarr.json", times=10**6))
    with pytest.raises(AclnetError):
        upload(people_store, bucket, tmp_path)
    objects.put(f"{KEY}/samples/id/c/0", b"other")
    del objects.objects[f"{KEY}/frames/index/c/2"]
    objects.faults.clear()
    objects.requests.clear()
    upload(people_store, bucket, tmp_path)
    names = {"samples/id/c/0", "frames/index/c/2"}
    assert set(puts(objects)) == {*names, "upload.json", "zarr.json", "manifest.json"}
    assert list(verify(ADDRESS)) == []


def test_passing_faults_of_an_upload_are_not_noticed(people_store, bucket, objects, tmp_path):
    bucket.patience = 30
    for kind in ("500", "reset"):
        objects.faults.append(Fault(kind, "PUT", "frames/", times=3))
    upload(people_store, bucket, tmp_path)
    assert list(verify(ADDRESS)) == []


def test_an_earlier_store_is_replaced_as_a_whole(
    people_store, made_up_store, bucket, objects, tmp_path
):
    objects.put_folder(made_up_store, KEY)
    objects.put(f"{KEY}/frames/keypoint/c/99/0/0", b"of a larger store")
    with pytest.raises(AclnetError, match="holds a store, which another process wrote there"):
        upload(people_store, bucket, tmp_path)
    upload(people_store, bucket, tmp_path, replace=True)
    assert uploaded(objects) == {n: f.read_bytes() for n, f in files_of(people_store).items()}


@pytest.mark.slow
def test_an_earlier_store_cannot_be_opened_while_it_is_replaced(
    people_store, made_up_store, bucket, objects, tmp_path
):
    objects.put_folder(made_up_store, KEY)
    objects.faults.append(Fault("500", "PUT", "keypoint/c/3", times=10**6))
    with pytest.raises(AclnetError, match="InternalError"):
        upload(people_store, bucket, tmp_path, replace=True)
    assert not {"manifest.json", "zarr.json"} & uploaded(objects).keys()


def test_other_objects_are_left_alone(people_store, bucket, objects, tmp_path):
    objects.put(f"{KEY}/thesis.tex", b"text")
    for replace in (False, True):
        with pytest.raises(AclnetError, match="holds objects that are no store"):
            upload(people_store, bucket, tmp_path, replace=replace)
    assert uploaded(objects) == {"thesis.tex": b"text"}


def test_a_damaged_file_is_not_sent(people_store, bucket, objects, tmp_path):
    copy = shutil.copytree(people_store, tmp_path / "copy.zarr")
    file = copy / "frames/present/c/1"
    file.write_bytes(b"x" + file.read_bytes()[1:])
    with pytest.raises(AclnetError, match=f"{file} differs from what was written; .*overwrite"):
        upload(copy, bucket, tmp_path)
    assert "manifest.json" not in uploaded(objects)


# Two processes


def test_a_second_process_is_refused(people_store, bucket, objects, tmp_path):
    other_claim(objects)
    for replace in (False, True):
        with pytest.raises(AclnetError, match=r"is being uploaded by another process \(1 on elsew"):
            upload(people_store, bucket, tmp_path, replace=replace)
    assert uploaded(objects).keys() == {"upload.json"}


@pytest.mark.parametrize("host", ["elsewhere", platform.node()])
def test_an_upload_that_has_ended_is_continued(host, people_store, bucket, objects, tmp_path):
    plan = manifest.load(people_store).plan
    if host == "elsewhere":
        other_claim(objects, plan=plan)
        make_old(objects, minutes=11)
    else:
        ended = os.spawnlp(os.P_NOWAIT, "true", "true")
        os.waitpid(ended, 0)
        other_claim(objects, plan=plan, host=host, process=ended)
    upload(people_store, bucket, tmp_path)
    assert list(verify(ADDRESS)) == []


def test_an_interrupted_upload_of_another_plan_is_kept(people_store, bucket, objects, tmp_path):
    other_claim(objects)
    make_old(objects, minutes=11)
    with pytest.raises(AclnetError, match="holds an unfinished store made from other files"):
        upload(people_store, bucket, tmp_path)
    upload(people_store, bucket, tmp_path, replace=True)
    assert list(verify(ADDRESS)) == []


def test_of_two_at_the_same_time_one_goes_on(people_store, bucket, objects, tmp_path, monkeypatch):
    """Another process writes its claim after this one has looked whether there is one."""

    def late(*how, **which):
        state = state_of(*how, **which)
        other_claim(objects)
        return state

    monkeypatch.setattr(uploading, "state_of", late)
    with pytest.raises(AclnetError, match=r"is being uploaded by another process \(1 on elsewhere"):
        upload(people_store, bucket, tmp_path)
    assert uploaded(objects).keys() == {"upload.json"}


@pytest.mark.parametrize("name", ["samples/id/c/0", "upload.json"])
def test_an_object_of_another_process_ends_the_upload(
    name, people_store, bucket, objects, tmp_path, monkeypatch
):
    send = uploading._send

    def disturbed(*how):
        sent = send(*how)
        objects.put(f"{KEY}/{name}", b"of another process")
        return sent

    monkeypatch.setattr(uploading, "_send", disturbed)
    with pytest.raises(AclnetError, match=f"another process wrote there .*{name}"):
        upload(people_store, bucket, tmp_path)
    assert "manifest.json" not in uploaded(objects)


def test_a_server_without_conditions_is_told(people_store, bucket, objects, tmp_path):
    objects.faults.append(Fault("501", "PUT", "upload.json"))
    with pytest.warns(AclnetWarning, match="has no conditional writes"):
        upload(people_store, bucket, tmp_path)
    assert list(verify(ADDRESS)) == []
