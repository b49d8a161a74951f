"""Names in messages."""

from __future__ import annotations

import pytest

from aclnet.datasets.spec import any_of, did_you_mean


@pytest.mark.parametrize(
    ("name", "known", "remark"),
    [
        ("trian", ["train", "verify"], " (did you mean train?)"),
        ("xsb/train", {"xsub/train": 1, "xview/train": 2}, " (did you mean xsub/train?)"),
        ("wind.5", ["swapped-0.5"], ""),
        ("fly", ["train"], ""),
        ("", ["train"], ""),
        ("train", [], ""),
    ],
)
def test_a_similar_name_is_suggested(name, known, remark):
    assert did_you_mean(name, known) == remark


@pytest.mark.parametrize(
    ("name", "known", "remark"),
    [
        ("optim.epoch", ["optim.epochs", "optim.lr"], " (did you mean optim.epochs?)"),
        ("epochs", ["optim.epochs", "optim.lr"], " (did you mean optim.epochs?)"),
        ("optim.pony", ["optim.epochs", "optim.lr"], ""),
        ("loss.margim", ["data.margin", "loss.margin"], " (did you mean loss.margin?)"),
    ],
)
def test_dotted_names_are_compared_by_their_ends(name, known, remark):
    assert did_you_mean(name, known, dotted=True) == remark


@pytest.mark.parametrize(
    ("names", "text"), [(["a"], "a"), (["a", "b"], "a or b"), (["a", "b", "c"], "a, b or c")]
)
def test_a_choice(names, text):
    assert any_of(names) == text
