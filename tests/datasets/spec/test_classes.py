"""Doubts about class names and about the classes of sides."""

from __future__ import annotations

import numpy as np
import pytest

from aclnet.datasets.registry import all_datasets
from aclnet.datasets.spec.classes import doubtful_names, doubtful_sides


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("walk", "run", "a1", "a10", "10", "100"), []),
        (("Walk", "walk", "run"), ["'Walk' and 'walk' are different classes"]),
        (("sit down", "Sit  Down"), ["'sit down' and 'Sit  Down' are different classes"]),
        (("01", "1", "2"), ["'01' and '1' are different classes"]),
        (("0.0", "0", "1"), ["'0.0' and '0' are different classes"]),
        (("a01", "A1"), ["'a01' and 'A1' are different classes"]),
        (("-1", "0", "1"), ["'-1' is a class like any other label; leave the label of"]),
    ],
)
def test_names(names, said):
    found = list(doubtful_names(names))
    assert len(found) == len(said)
    assert all(sentence.startswith(start) for sentence, start in zip(found, said, strict=True))


def test_no_published_dataset_has_doubtful_names():
    for name, spec in all_datasets().items():
        assert list(doubtful_names(spec.class_names)) == [], name


def sides(train: str, test: str, **others: str) -> list[str]:
    """The labels 0, 1, 2 of samples on each side, as digits."""
    parts = {"train": train, "test": test, **others}
    labels = np.array([int(digit) for digits in parts.values() for digit in digits])
    place = np.repeat(np.arange(len(parts)), [len(digits) for digits in parts.values()])
    masks = {f"own/{side}": place == number for number, side in enumerate(parts)}
    return list(doubtful_sides(masks, labels, ("walk", "run", "fall")))


def test_classes_that_are_tested_and_do_not_train():
    assert sides("0011", "01") == []
    assert sides("0012", "01") == [], "a class that is not tested is not a harm"
    assert sides("0011", "0122") == [
        "protocol own tests a class without training recordings, which can never be recognised: "
        "fall"
    ]
    (one, two) = sides("000", "012")
    assert one == "protocol own trains one class (walk); a network needs two"
    assert two.startswith("protocol own tests 2 classes without")
    assert two.endswith("run, fall")


def test_people_of_a_gallery_need_not_train():
    assert sides("01", "2", gallery="2", probe="2") == []
