"""`aclnet demo` as a person meets it."""

from __future__ import annotations

import json

import pytest

QUICK = [
    f"--set={setting}"
    for setting in ("optim.epochs=1", "data.frames=16", "data.clips=1", "loss.families.start=0")
]


@pytest.mark.slow
def test_the_whole_chain_and_again(aclnet, tmp_path):
    answer = aclnet("demo", tmp_path / "demo", "--subjects", 2, *QUICK, terminal=True)
    assert answer.code == 0, answer.err
    assert max(map(len, answer.out.splitlines())) <= 80
    for words in ("top-1", "Motion families", "nothing (clean)", "parts-v1/hands"):
        assert words in answer.out
    for words in ("make up", "damaged files left out", "epoch   1/1", "average precision"):
        assert words in answer.words or words in answer.err
    again = aclnet("demo", tmp_path / "demo", "--subjects", 2, *QUICK, "--json")
    assert again.code == 0, again.err
    found = json.loads(again.out)
    assert f"{100 * found['top1']:.1f} %" in answer.out
    assert len(found["occlusion"]) == 4
    assert "is finished already" in again.words
    assert "make up" not in again.err
    other = aclnet("demo", tmp_path / "demo", "--subjects", 2, "--seed", 1, *QUICK)
    assert other.code == 2
    assert "holds recordings of other people" in other.words


def test_a_bad_setting_is_told_before_anything_is_made(aclnet, tmp_path):
    answer = aclnet("demo", tmp_path / "demo", "--set", "optim.epochs=0")
    assert answer.code == 2
    assert "optim.epochs" in answer.words
    assert not (tmp_path / "demo").exists()
