"""Synthetic people in the real raw formats, for first trials, demonstrations and tests.

Each module with a `FORMS` writes one dataset, or a few that are alike: dataset -> name of the form
-> `Generate`, the usual form first. Shared modules:

- `request`: what a generator is asked for and its signature; `seeding`: its random numbers.
- `body`, `motion`, `walk`: one person's bones, movements and gait; `acting`: people on a stage.
- `kinect`, `filming`: joints as a depth sensor and a video camera see them.
- `clips`: clips of video with several people; `pyskl`: pickles of annotations.
- `damage`: choice and kinds of damaged recordings; `writing`: files.
"""

from __future__ import annotations

from importlib import import_module
from importlib.resources import files

from aclnet.datasets.spec import AclnetError, did_you_mean
from aclnet.datasets.synth.request import Generate, Request, Summary

__all__ = ["Generate", "Request", "Summary", "all_forms", "get_generator"]


def all_forms() -> dict[str, dict[str, Generate]]:
    """The generators by dataset and form."""
    found: dict[str, dict[str, Generate]] = {}
    for entry in sorted(entry.name for entry in files(__name__).iterdir()):
        if entry.endswith(".py") and not entry.startswith("_"):
            module = import_module(f"{__name__}.{entry.removesuffix('.py')}")
            for dataset, forms in getattr(module, "FORMS", {}).items():
                found.setdefault(dataset, {}).update(forms)
    return found


def get_generator(dataset: str, form: str | None = None) -> Generate:
    """The generator of a dataset in one of its forms, by default the first.

    Raises AclnetError for an unknown dataset or form.
    """
    known = all_forms()
    forms = known.get(dataset.lower().replace("_", "-"))
    if forms is None:
        raise AclnetError(
            f"{dataset} has no synthetic recordings{did_you_mean(dataset, known)}; "
            f"known: {', '.join(sorted(known))}"
        )
    try:
        return forms[form or next(iter(forms))]
    except KeyError:
        raise AclnetError(
            f"{dataset} has no form {form!r}{did_you_mean(str(form), forms)}; "
            f"known: {', '.join(forms)}"
        ) from None
