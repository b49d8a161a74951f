"""Copies of a store, to be damaged, and how damage is told."""

import shutil
from contextlib import contextmanager

import pytest

from aclnet.datasets.spec import AclnetError


@pytest.fixture(scope="session")
def refusal_of():
    """`with refusal_of(name):` passes over an AclnetError that names the file, and no other."""

    @contextmanager
    def passed_over(name: str):
        try:
            yield
        except AclnetError as error:
            if name not in str(error):
                raise

    return passed_over


@pytest.fixture
def copy(people_store, tmp_path):
    """A copy of the store, to be damaged."""
    shutil.copytree(people_store, tmp_path / "copy.zarr")
    return tmp_path / "copy.zarr"


@pytest.fixture(scope="module")
def flippable(people_store, tmp_path_factory):
    """A copy for many small damages; each is undone."""
    path = tmp_path_factory.mktemp("flip") / "flip.zarr"
    shutil.copytree(people_store, path)
    return path
