"""Where the references of the tests lie: goldens and real recordings, both outside the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def _folder(variable: str, default: str) -> Path:
    folder = Path(os.environ.get(variable, ROOT / default))
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; set {variable}")
    return folder


@pytest.fixture(scope="session")
def goldens() -> Path:
    """Arrays that the official code computed."""
    return _folder("ACLNET_GOLDENS", "../shared/goldens")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Small real recordings, not for redistribution."""
    return _folder("ACLNET_REAL_DATA", "../shared/data")
