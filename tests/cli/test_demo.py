"""`aclnet demo` as a person meets it."""

from __future__ import annotations

QUICK = [
    f"--set={setting}"
    for setting in ("optim.epochs=1", "data.frames=16", "data.clips=1", "loss.families.start=0")
]


def test_the_whole_chain_and_again(aclnet, tmp_path):
    answer = aclnet("demo", tmp_path / "demo", "--subjects", 2, *QUICK)
    assert answer.code == 0, answer.err
    assert max(map(len, answer.out.splitlines())) <= 80
    for words in ("top-1", "Motion families", "nothing (clean)", "hands (centre)"):
        assert words in answer.out
    for words in ("make up", "damaged files left out", "epoch   1/1", "average precision"):
        assert words in answer.words or words in answer.err
    again = aclnet("demo", tmp_path / "demo", "--subjects", 2, *QUICK)
    assert again.code == 0, again.err
    assert again.out == answer.out
    assert "was finished before" in again.words
    assert "make up" not in again.err
    other = aclnet("demo", tmp_path / "demo", "--subjects", 2, "--seed", 1, *QUICK)
    assert other.code == 2
    assert "holds other people" in other.words


def test_a_bad_setting_is_told_before_anything_is_made(aclnet, tmp_path):
    answer = aclnet("demo", tmp_path / "demo", "--set", "optim.epochs=0")
    assert answer.code == 2
    assert "optim.epochs" in answer.words
    assert not (tmp_path / "demo").exists()
