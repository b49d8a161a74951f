"""Prepare with an address as its output."""

from __future__ import annotations

import os
import shutil

import pytest

import aclnet
from aclnet.datasets.spec import AclnetError
from tests.object_server import BUCKET, Fault

ADDRESS = f"s3://{BUCKET}/a/people.zarr"


@pytest.fixture
def at_work(objects, tmp_path, monkeypatch):
    """The working folder, which is empty before and after."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def few(people, tmp_path):
    """Twelve raw recordings."""
    folder = tmp_path / "few"
    folder.mkdir()
    for file in sorted(people.iterdir())[::6]:
        shutil.copy2(file, folder)
    return folder


@pytest.mark.slow
def test_the_store_is_that_of_a_folder(people, people_store, at_work, objects):
    report = aclnet.prepare("ntu60", people, ADDRESS)
    assert (str(report.path), report.samples, report.existed) == (ADDRESS, 72, False)
    written = objects.objects["a/people.zarr/manifest.json"].content
    assert written == (people_store / "manifest.json").read_bytes()
    assert not any(at_work.iterdir())
    objects.requests.clear()
    assert aclnet.prepare("ntu60", people, ADDRESS).existed
    assert not objects.count("PUT")


@pytest.mark.slow
def test_interrupted_uploads_go_on_and_other_options_are_refused(few, at_work, objects):
    objects.faults.append(Fault("500", "PUT", "samples/id/c/0", times=10**6))
    with pytest.raises(AclnetError, match="did not send a proper answer"):
        aclnet.prepare("ntu60", few, ADDRESS)
    assert os.listdir(at_work) == [f"s3-{BUCKET}-a-people.zarr.wip"]  # noqa: PTH208
    objects.faults.clear()
    other = aclnet.PrepareOptions(seed=5)
    with pytest.raises(AclnetError, match="unfinished store made from other files"):
        aclnet.prepare("ntu60", few, ADDRESS, options=other)
    objects.requests.clear()
    assert aclnet.prepare("ntu60", few, ADDRESS).resumed
    assert 0 < objects.count("PUT") < len(objects.objects)
    assert len(aclnet.open_store(ADDRESS)) == 12
    with pytest.raises(AclnetError, match=f"{ADDRESS} exists and was made from other files"):
        aclnet.prepare("ntu60", few, ADDRESS, options=other)
    aclnet.prepare("ntu60", few, ADDRESS, options=other, overwrite=True)
    assert aclnet.open_store(ADDRESS).attributes.options["seed"] == 5
    assert not any(at_work.iterdir())


def test_what_is_no_store_is_left_alone(few, at_work, objects):
    objects.put("a/people.zarr/thesis.tex", b"text")
    with pytest.raises(AclnetError, match="exists and is not an aclnet store"):
        aclnet.prepare("ntu60", few, ADDRESS)
    with pytest.raises(
        AclnetError, match="is not an aclnet store, so --overwrite does not delete it"
    ):
        aclnet.prepare("ntu60", few, ADDRESS, overwrite=True)
    assert objects.objects.keys() == {"a/people.zarr/thesis.tex"}


def test_a_bucket_that_is_missing_is_told_before_the_work(few, at_work):
    with pytest.raises(AclnetError, match="there is no bucket other"):
        aclnet.prepare("ntu60", few, "s3://other/people.zarr")
    assert not any(at_work.iterdir())


@pytest.mark.slow
def test_raw_files_that_are_newer_than_the_objects_are_named(few, at_work, objects):
    aclnet.prepare("ntu60", few, ADDRESS)
    file = next(few.iterdir())
    os.utime(file, (2**33, 2**33))
    assert aclnet.prepare("ntu60", few, ADDRESS).newer == (str(file),)
