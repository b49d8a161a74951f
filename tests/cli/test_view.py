"""`aclnet view` as a person meets it."""

from __future__ import annotations

import pytest

SAMPLE = "S001C001P001R001A050"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_page_named_after_the_sample(made_up_store, folder, aclnet):
    answer = aclnet("view", made_up_store, SAMPLE, "--drop", "hands", "--augment")
    assert answer.code == 0, answer.err
    assert f"{SAMPLE}.html: {SAMPLE}," in answer.out
    assert (folder / f"{SAMPLE}.html").read_text().startswith("<!doctype html>")


def test_raw_recordings(made_up_store, folder, aclnet):
    raw = made_up_store.parent / "raw"
    answer = aclnet("view", "--raw", raw, SAMPLE, "--dataset", "ntu60", "--out", "a.html")
    assert answer.code == 0, answer.err
    first = aclnet("view", "--raw", raw / f"{SAMPLE}.skeleton", "--frames", "0:3")
    assert first.code == 0, first.err
    assert f"{SAMPLE}.html: {SAMPLE}, 3 frames" in first.out


def test_mistakes_end_in_a_message(made_up_store, folder, aclnet):
    raw = made_up_store.parent / "raw"
    for arguments, message in (
        ([made_up_store, "S001C001P001R001A05"], "did you mean S001C001P001R001A05"),
        ([made_up_store, SAMPLE, "--out", "x.pdf"], "a view is written to"),
        ([made_up_store, SAMPLE, "--drop", "hats"], "is not a part or joint of layout nturgb+d"),
        ([made_up_store, SAMPLE, "--frames", "3-5"], "is not FIRST:END"),
        ([made_up_store, SAMPLE, "--dataset", "ntu60"], "are for --raw"),
        ([made_up_store, SAMPLE, "--raw", raw], "give only the ID"),
        (["--raw", raw / "nothing.npy"], "does not exist"),
        (["--raw", folder], "no recordings of Data of your own there; --dataset names another"),
        ([folder], "this is not an aclnet store"),
    ):
        answer = aclnet("view", *arguments)
        assert answer.code == 2, answer
        assert message in answer.words
        assert "Traceback" not in answer.err
    assert not list(folder.iterdir())


@pytest.mark.parametrize("number", ["nan", "inf"])
@pytest.mark.parametrize(("command", "option"), [("view", "--fps"), ("report", "--skeletons")])
def test_a_number_that_is_not_finite_is_refused(aclnet, command, option, number):
    answer = aclnet(command, option, number)
    assert answer.code == 2
    assert f"'{option}': {number} is not a finite number" in answer.words
