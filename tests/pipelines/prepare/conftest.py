"""Raw recordings of a small store, and that store."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from aclnet.pipelines.prepare import preparation

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def few(people, tmp_path_factory) -> Path:
    """Twelve of the recordings."""
    raw = tmp_path_factory.mktemp("few") / "raw"
    raw.mkdir()
    for file in people.glob("*C001*R001*"):
        shutil.copy(file, raw)
    return raw


@pytest.fixture(scope="module")
def few_store(few, prepare_raw) -> Path:
    """The store that all killed commands must finish."""
    prepare_raw(few, few.parent / "few.zarr")
    return few.parent / "few.zarr"


@pytest.fixture
def small_batches(monkeypatch) -> None:
    """The killed commands work in batches of three."""
    monkeypatch.setattr(preparation, "_BATCH_ITEMS", 3)
