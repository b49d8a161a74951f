"""Packages of the extra `aclnet[report]`."""

from __future__ import annotations

from importlib.util import find_spec

from aclnet.datasets.spec import AclnetError

_PACKAGES = {"jinja2": "jinja2", "sklearn": "scikit-learn"}


def check_packages() -> None:
    """Raises AclnetError if a package that only reports need is not installed."""
    missing = [package for module, package in _PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise AclnetError(f'aclnet report needs {", ".join(missing)}: pip install "aclnet[report]"')
