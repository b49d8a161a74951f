"""Fixtures for the tests of synthetic people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from aclnet.datasets.synth.body import Proportions


@pytest.fixture
def bone_lengths() -> Callable[[Proportions], np.ndarray]:
    """(25,) length of the bone from each joint to its parent in metres; 0 for the root."""

    def lengths(body: Proportions) -> np.ndarray:
        arm = [body.shoulder, body.upper_arm, body.forearm, body.hand]
        leg = [body.hip, body.thigh, body.shank, body.foot]
        trunk = [0.0, body.spine_low, body.neck, body.head]
        tips = [body.fingertip, body.thumb]
        return np.array([*trunk, *arm, *arm, *leg, *leg, body.spine_high, *tips, *tips])

    return lengths
