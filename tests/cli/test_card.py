"""`aclnet card`, and what push and pull answer to mistakes; their work is tested below."""

from __future__ import annotations

import shutil

import pytest


@pytest.mark.slow
def test_a_card_of_a_run_lies_in_the_run(trained, aclnet, tmp_path):
    run = shutil.copytree(trained[0], tmp_path / "run")
    answer = aclnet("card", run, "--license", "mit")
    assert (answer.code, answer.out) == (0, f"{run / 'README.md'}\n")
    assert 'license: "mit"' in (run / "README.md").read_text()
    again = aclnet("card", run)
    assert again.code == 2
    assert "--overwrite" in again.words
    assert aclnet("card", run, "--overwrite").code == 0
    assert 'license: "unknown"' in (run / "README.md").read_text()


def test_a_card_of_a_store_lies_where_it_is_told_to(made_up_store, aclnet, tmp_path):
    answer = aclnet("card", made_up_store, "--out", tmp_path / "card")
    names = ("README.md", "samples.csv", "croissant.json")
    assert answer.out.splitlines() == [str(tmp_path / "card" / name) for name in names]
    assert not (made_up_store / "README.md").exists()


def test_mistakes_are_told(aclnet, tmp_path):
    assert "neither a store nor a run" in aclnet("card", tmp_path).words
    assert "neither a store nor a run" in aclnet("push", tmp_path, "me/name").words
    answer = aclnet("pull", "no-owner")
    assert answer.code == 2
    assert "OWNER/NAME is expected" in answer.words
