"""Limits of coordinates against data that are sound: none comes near."""

from __future__ import annotations

import numpy as np
import pytest

from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import SkeletonSequence
from aclnet.datasets.synth import Request, all_forms, get_generator
from aclnet.pipelines.steps.plausible import largest_plausible

REAL = {"ntu60": "ntu_raw", "kinetics": "kinetics_json", "utd-mhad": "utd_mhad"}
FORMS = [(dataset, form) for dataset, forms in all_forms().items() for form in forms]


def share_of_limit(source, most: int) -> float:
    """The largest coordinate over its limit, of the first so many recordings."""
    items, _ = source.scan()
    found = list(map(source.read, items[:most]))
    sound = [result for result in found if isinstance(result, SkeletonSequence)]
    assert sound
    return max(
        float(np.abs(s.keypoint).max()) / largest_plausible(s, source.spec.units) for s in sound
    )


@pytest.mark.parametrize(("dataset", "form"), FORMS)
def test_made_up_people_are_far_below_the_limit(tmp_path, dataset, form):
    get_generator(dataset, form)(tmp_path / "raw", Request(sequences=2, subjects=2, seed=1))
    assert share_of_limit(open_raw(get_dataset(dataset), tmp_path / "raw"), 2) < 0.2


@pytest.mark.parametrize(("dataset", "folder"), REAL.items())
def test_real_recordings_are_far_below_the_limit(real_data, dataset, folder):
    source = open_raw(get_dataset(dataset), real_data / folder)
    assert share_of_limit(source, 100) < 0.2
