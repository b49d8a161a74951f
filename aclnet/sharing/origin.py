"""Facts about the recordings behind a store or a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aclnet.datasets.registry import get_dataset
from aclnet.datasets.spec import AclnetError

if TYPE_CHECKING:
    from aclnet.datasets.spec import DatasetSpec

TASKS = {
    "action": "action recognition",
    "gait": "gait recognition",
    "reid": "person re-identification",
}
"""Tasks in words."""


def published(name: str) -> DatasetSpec | None:
    """The published dataset of that name; None for recordings of the user, or an unknown name."""
    try:
        spec = get_dataset(name)
    except AclnetError:  # of a package that is not installed here
        return None
    return spec if spec.about.publication else None


def tags(task: str) -> list[str]:
    """Tags of a card on the Hub."""
    return ["skeleton", TASKS[task].replace(" ", "-"), "aclnet"]


def origin(spec: DatasetSpec | None) -> str:
    """Returns sentences about the source and the terms of the recordings."""
    if spec is None:
        return (
            "The records do not tell who made the recordings, or under which terms. Add both "
            "here before you share them."
        )
    return (
        f"The recordings are those of {spec.title} ({spec.about.publication}; "
        f"<{spec.about.home}>). Terms of the recordings: {spec.about.terms}. Check that the "
        "terms allow you to share what is made from the recordings."
    )
