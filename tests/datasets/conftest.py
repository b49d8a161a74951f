"""Copies of a store, to be damaged."""

import shutil

import pytest


@pytest.fixture
def copy(people_store, tmp_path):
    """A copy of the store, to be damaged."""
    shutil.copytree(people_store, tmp_path / "copy.zarr")
    return tmp_path / "copy.zarr"


@pytest.fixture(scope="module")
def flippable(people_store, tmp_path_factory):
    """A copy for many small damages, each of which is undone."""
    path = tmp_path_factory.mktemp("flip") / "flip.zarr"
    shutil.copytree(people_store, path)
    return path
