"""A run's network as a file for other software; stores: `aclnet.pipelines.export`."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aclnet.datasets import manifest
from aclnet.datasets.errors import AclnetError
from aclnet.datasets.find import newest_run, newest_store
from aclnet.datasets.store import Store
from aclnet.official import write_official
from aclnet.pipelines import export as store_forms
from aclnet.pipelines.export import new_file
from aclnet.runs import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def export(run: Run, to: str, out: Path) -> None:
    """Writes the network that a run resulted in to `out`, in one of `FORMATS`.

    AclnetError where `out` is there already or cannot be written, and where the network is none
    that the format can hold.
    """
    _, write = FORMATS[to]
    with new_file(out) as temporary:
        write(run, temporary)


def file_of(run: Run, to: str) -> Path:
    """Where an export goes that was told no place: into the run."""
    return run.path / f"{run.name}{FORMATS[to][0]}"


def opened(path: Path | None, to: str, protocol: str | None = None) -> Store | Run:
    """The store or run at `path`, or the newest below this folder of what can become `to`.

    AclnetError where there is none, one of the other kind, or a `protocol` for a run.
    """
    if to in store_forms.FORMATS:
        if path is not None and (path / "run.json").is_file():
            raise AclnetError(f"{path} is a run; it becomes {_any_of(FORMATS)}, not {to}")
        return Store(path or newest_store(Path()))
    if path is not None and (path / manifest.NAME).is_file():
        raise AclnetError(f"{path} is a store; it becomes {_any_of(store_forms.FORMATS)}, not {to}")
    if protocol is not None:
        raise AclnetError("--protocol is for stores that become npz; a run has one already")
    return Run(path or newest_run(Path()))


def _any_of(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"


def _official(run: Run, path: Path) -> None:
    if run.config.model.feature != "topology":
        raise AclnetError(
            f"{run.path} contrasts the feature {run.config.model.feature}; the released code knows "
            "topology alone. Its classifier can be exported --to safetensors"
        )
    state = run.load(run.selected)
    if state is None:
        raise AclnetError(f"{run.path} has no checkpoint yet; `aclnet train` goes on with it")
    write_official(path, state["network"], {**_about(run), "CLASSES": run.class_names})


def _safetensors(run: Run, path: Path) -> None:
    try:
        from safetensors.torch import save_file
    except ImportError:
        raise AclnetError(
            "--to safetensors needs a further package: pip install 'aclnet[safetensors]'"
        ) from None
    about = {**_about(run), "class_names": json.dumps(run.class_names)}
    about["config"] = run.config.to_toml()
    save_file(run.weights(), path, {name: str(value) for name, value in about.items()})


def _about(run: Run) -> dict[str, Any]:
    return {
        "aclnet": version("aclnet"),
        "run": run.name,
        "dataset": run.record["dataset"],
        "protocol": run.protocol,
        "modality": run.config.data.modality,
        "layout": run.layout.name,
        "in_channels": run.record["channels"],
        "base_channels": run.config.model.base_channels,
        "num_classes": len(run.class_names),
    }


FORMATS: dict[str, tuple[str, Callable[[Run, Path], None]]] = {
    "official": (".pth", _official),
    "safetensors": (".safetensors", _safetensors),
}
"""By name: the ending of its files, and what writes one. `official` is what the released code
loads, with the projections of the contrastive terms; `safetensors` holds the classifier."""
