"""A run's network as a file for other software."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from aclnet.datasets.errors import AclnetError
from aclnet.official import write_official

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aclnet.runs import Run


def export(run: Run, to: str, out: Path) -> None:
    """Writes the network that a run resulted in to `out`, in one of `FORMATS`.

    AclnetError where `out` is there already or cannot be written, and where the network is none
    that the format can hold.
    """
    if out.exists():
        raise AclnetError(f"{out} is there already; choose another --out")
    temporary = out.with_name(out.name + ".tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _, write = FORMATS[to]
        write(run, temporary)
        temporary.replace(out)
    except OSError as error:
        raise AclnetError(f"{out} cannot be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


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
