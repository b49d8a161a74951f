"""Made-up people in the true raw formats: for trying things out, demonstrations and tests.

Each module writes the forms of one dataset or of a few that are alike, and lists them in `FORMS`:
dataset -> name of the form -> `Generate`, the customary form first.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING, Protocol

from aclnet.datasets.spec.errors import AclnetError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Summary:
    """What was written."""

    sequences: int
    damaged: tuple[str, ...]
    """Files, or entries of files, that are spoilt on purpose."""


class Generate(Protocol):
    """Writes recordings of made-up people."""

    def __call__(
        self,
        folder: Path,
        *,
        sequences: int,
        subjects: int,
        seed: int,
        damage: float,
        progress: Callable[[int, int], None],
    ) -> Summary:
        """Writes into `folder`, which is made if need be.

        At most `sequences` recordings of `subjects` people (fewer where the format knows no more),
        the same bytes for the same arguments; a share `damage` of them is spoilt. `progress` is
        called with the recordings written so far and of all.

        Raises AclnetError for a value out of range and a folder that cannot be written.
        """
        ...


def all_forms() -> dict[str, dict[str, Generate]]:
    """What can be made up, by dataset and form."""
    found: dict[str, dict[str, Generate]] = {}
    for entry in sorted(entry.name for entry in files(__name__).iterdir()):
        if entry.endswith(".py") and not entry.startswith("_"):
            module = import_module(f"{__name__}.{entry.removesuffix('.py')}")
            for dataset, forms in getattr(module, "FORMS", {}).items():
                found.setdefault(dataset, {}).update(forms)
    return found


def get_generator(dataset: str, form: str | None = None) -> Generate:
    """What writes a dataset in one of its forms, by default the first; AclnetError without."""
    known = all_forms()
    forms = known.get(dataset.lower().replace("_", "-"))
    if forms is None:
        raise AclnetError(f"{dataset} cannot be made up; known: {', '.join(sorted(known))}")
    try:
        return forms[form or next(iter(forms))]
    except KeyError:
        raise AclnetError(f"{dataset} has no form {form!r}; known: {', '.join(forms)}") from None


def check_range(what: str, value: float, least: float, most: float) -> None:
    """AclnetError unless `value` is from `least` to `most`."""
    if not least <= value <= most:
        raise AclnetError(f"{what} is {value}: give a number from {least} to {most}")
