"""A run's network, or its embeddings of a store, as a file."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from aclnet.datasets.discovery import newest_run, newest_store
from aclnet.datasets.exports.forms import STORE_FORMS
from aclnet.datasets.spec import AclnetError, silent
from aclnet.datasets.store import manifest
from aclnet.datasets.store.store import Store
from aclnet.exchange.export_store import new_file
from aclnet.exchange.official import write_official
from aclnet.retrieval.embedder import Embedder
from aclnet.retrieval.ranking import sequence_level
from aclnet.runs.device import choose_device
from aclnet.runs.inference import Pass
from aclnet.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Progress


def export(run: Run, to: str, out: Path) -> None:
    """Writes the network that a run resulted in to `out`, in one of `RUN_FORMS`.

    AclnetError where `out` is there already or cannot be written, and where the network is none
    that the format can hold.
    """
    _, write = RUN_FORMS[to]
    with new_file(out) as temporary:
        write(run, temporary)


def export_embeddings(
    run: Run,
    store: Store,
    out: Path,
    *,
    embedding: str | None = None,
    windows: bool = False,
    accelerator: str = "auto",
    progress: Progress = silent,
) -> int:
    """Writes what a run makes of the originals of a store to `out`; returns how many vectors.

    `vector` (N, D) float32, `id` (N,) and what the store says of each: `label` (N,) int64 with
    their names, `class_name`; `condition`, `camera`. A row a sequence, the mean of its clips or, of
    re-identification, of its windows; or a row a window. `about` is JSON: run, store, embedding.
    `embedding` is the run's where None. AclnetError where the file is there already or has another
    ending than `EMBEDDINGS`, and where the store is not what the run was trained on.
    """
    if out.suffix.lower() not in EMBEDDINGS:
        raise AclnetError(f"--out {out}: the ending tells the form, {' or '.join(EMBEDDINGS)}")
    retrieval = run.config.retrieval.changed(embedding=embedding)
    config = run.config.model_copy(update={"retrieval": retrieval})
    embedder = Embedder.of_run(run, store, config, choose_device(accelerator))
    make = embedder.windows if windows else embedder
    with new_file(out) as temporary:
        found = make(
            store, np.ones(len(store), np.bool_), how=Pass(progress=progress, stage="embed")
        )
        found = found if windows else sequence_level(found)
        about = {
            "run": run.name,
            "store": {"path": str(store.path.resolve()), "digest": store.digest},
            "retrieval": retrieval.model_dump(),
            "rows": "windows" if windows else "sequences",
            "frames": config.data.frames,
        }
        arrays = {
            "id": found.ids,
            "vector": found.vectors,
            "label": found.label,
            "class_name": np.array(store.class_names),
            "condition": found.condition,
            "camera": found.camera,
        }
        _write_arrays(temporary, out.suffix.lower(), arrays, json.dumps(about))
    return len(found)


def _write_arrays(path: Path, ending: str, arrays: dict[str, NDArray[Any]], about: str) -> None:
    if ending == ".npz":
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays, about=np.array(about))  # type: ignore[arg-type]
        return
    with h5py.File(path, "w") as hdf5:
        hdf5.attrs["about"] = about
        for name, values in arrays.items():
            text = values.dtype.kind in "UT"
            hdf5.create_dataset(
                name,
                data=values.astype(object) if text else values,
                dtype=h5py.string_dtype() if text else values.dtype,
            )


def default_file(run: Run, to: str) -> Path:
    """Where an export goes that was told no place: into the run."""
    ending = EMBEDDINGS[0] if to == "embeddings" else RUN_FORMS[to][0]
    return run.path / f"{run.name}{ending}"


def opened(path: Path | None, to: str, protocol: str | None = None) -> Store | Run:
    """The store or run at `path`, or the newest below this folder of what can become `to`.

    AclnetError where there is none, one of the other kind, or a `protocol` for a run.
    """
    if to in STORE_FORMS:
        if path is not None and (path / "run.json").is_file():
            raise AclnetError(
                f"{path} is a run; it becomes {_any_of([*RUN_FORMS, 'embeddings'])}, not {to}"
            )
        return Store(path or newest_store(Path()))
    if path is not None and (path / manifest.NAME).is_file():
        raise AclnetError(f"{path} is a store; it becomes {_any_of(STORE_FORMS)}, not {to}")
    if protocol is not None:
        raise AclnetError("--protocol is for stores that become npz; a run has one already")
    return Run(path or newest_run(Path()))


def _any_of(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"


def _official(run: Run, path: Path) -> None:
    if run.config.model.name != "aclnet":
        raise AclnetError(
            f"{run.path} is of the network {run.config.model.name}, which the released code does "
            "not have; it can be exported --to safetensors"
        )
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
        "dataset": run.record.dataset,
        "protocol": run.protocol,
        "modality": run.config.data.modality,
        "layout": run.layout.name,
        "in_channels": run.record.channels,
        "model": run.config.model.name,
        "base_channels": run.config.model.base_channels,
        "num_classes": len(run.class_names),
    }


RUN_FORMS: dict[str, tuple[str, Callable[[Run, Path], None]]] = {
    "official": (".pth", _official),
    "safetensors": (".safetensors", _safetensors),
}
"""By name: the ending of its files, and what writes one. `official` is what the released code
loads, with the projections of the contrastive terms; `safetensors` holds the classifier."""
EMBEDDINGS = (".npz", ".h5", ".hdf5")
"""Endings of files of embeddings, the default one first."""
