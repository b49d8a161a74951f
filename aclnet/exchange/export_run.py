"""A run's network, its scores, or its embeddings of a store, as a file."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from aclnet.datasets.discovery import newest_run, newest_store
from aclnet.datasets.exports.forms import STORE_FORMS
from aclnet.datasets.opening import open_store
from aclnet.datasets.spec import AclnetError, any_of, silent
from aclnet.datasets.store.places import is_store
from aclnet.exchange.deployed import write_onnx, write_torch_export
from aclnet.exchange.export_store import new_file
from aclnet.exchange.official import write_official
from aclnet.retrieval.embedder import Embedder
from aclnet.retrieval.ranking import sequence_level
from aclnet.runs.device import choose_device
from aclnet.runs.inference import Pass
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Progress
    from aclnet.datasets.store.paths import StorePath
    from aclnet.datasets.store.store import Store


def export(run: Run, to: str, out: Path) -> None:
    """Writes the network that a run resulted in to `out`, in one of `RUN_FORMS`.

    Raises AclnetError if `out` exists or cannot be written, or if the format cannot hold the
    network.
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
    """Writes a run's embeddings of a store's originals to `out`; returns their number.

    The file has `vector` (N, D) float32, `id` (N,) and the store's facts: `label` (N,) int64 with
    their names, `class_name`; `condition`, `camera`. A row is a sequence, the mean of its clips or,
    for re-identification, of its windows; with `windows` a row is a window. `about` is JSON: run,
    store, embedding. `embedding` None is the run's. Raises AclnetError if the file exists or its
    suffix is not in `EMBEDDINGS`, or if the store differs from the run's training data.
    """
    if out.suffix.lower() not in EMBEDDINGS:
        raise AclnetError(f"--out {out}: the suffix must be {' or '.join(EMBEDDINGS)}")
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


def export_scores(run: Run, out: Path, scores: str | None = None) -> int:
    """Writes scores of a run to `out` as CSV (`Scores.frame`); returns the number of samples.

    `scores` is the name of a file in the run's folder scores/, by default that of the test split.
    Scores by a gallery are similarities, not probabilities, and their columns say so. Raises
    AclnetError if there are no such scores, or if `out` exists or cannot be written.
    """
    found = Scores.load(run.scores(scores) if scores else run.test_scores)
    kind = "similarity" if run.config.task != "action" or run.record.score_names else "p"
    table = found.frame(run.score_names, kind)
    with new_file(out) as temporary:
        table.to_csv(temporary, index=False)
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


def default_file(run: Run, to: str, scores: str | None = None) -> Path:
    """Default file of an export, in the run's folder; that of scores is beside them."""
    if to == "csv":
        return (run.scores(scores) if scores else run.test_scores).with_suffix(".csv")
    ending = EMBEDDINGS[0] if to == "embeddings" else RUN_FORMS[to][0]
    return run.path / f"{run.name}{ending}"


def opened(path: StorePath | None, to: str, protocol: str | None = None) -> Store | Run:
    """The store or run at `path`, or the newest below this folder that can be exported to `to`.

    Raises AclnetError if there is none, if it is of the other kind, or if a run gets a `protocol`.
    """
    if to in STORE_FORMS:
        if isinstance(path, Path) and (path / "run.json").is_file():
            raise AclnetError(
                f"{path} is a run; it can be exported to {any_of([*RUN_FORMS, *_OTHERS])}, not to "
                f"{to}"
            )
        return open_store(path or newest_store(Path()))
    if path is not None and is_store(path):
        raise AclnetError(
            f"{path} is a store; it can be exported to {any_of(STORE_FORMS)}, not to {to}"
        )
    if protocol is not None:
        raise AclnetError(
            "--protocol is for the export of a store to npz; a run has its own protocol"
        )
    return Run(newest_run(Path()) if path is None else Path(path))


def _official(run: Run, path: Path) -> None:
    if run.config.model.name != "aclnet":
        raise AclnetError(
            f"{run.path} has the network {run.config.model.name}, which the released code does "
            "not have; export it with --to safetensors"
        )
    if run.config.model.feature != "topology":
        raise AclnetError(
            f"{run.path} contrasts the feature {run.config.model.feature}; the released code has "
            "only topology. Export the classifier with --to safetensors"
        )
    if ours := _not_released(run):
        raise AclnetError(
            f"{run.path} was trained with {ours}, which the released code does not have; export it "
            "with --to safetensors"
        )
    state = run.load(run.selected)
    if state is None:
        raise AclnetError(f"{run.path} has no checkpoint yet; `aclnet train` resumes it")
    write_official(path, state["network"], {**_about(run), "CLASSES": run.class_names})


def _not_released(run: Run) -> str:
    """Settings of the run that change the network or its input beyond the released code."""
    model, data = run.config.model, run.config.data
    found = {
        f"model.pooling={model.pooling}": model.pooling != "all",
        "model.joint_embedding": model.joint_embedding,
        f"data.sampling={data.sampling}": data.sampling == "even",
        "data.presence": data.presence,
        "data.root_path": data.root_path and data.modality[0] != "j",
    }
    return ", ".join(name for name, chosen in found.items() if chosen)


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


def _torch_export(run: Run, path: Path) -> None:
    write_torch_export(run, path, _about(run))


def _onnx(run: Run, path: Path) -> None:
    write_onnx(run, path, _about(run))


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
    "onnx": (".onnx", _onnx),
    "torch-export": (".pt2", _torch_export),
}
"""File name ending and writer of each form. `official` is the form of the released code, with the
projections of the contrastive terms; `safetensors` holds the classifier; `onnx` and `torch-export`
the graph of `aclnet.exchange.deployed`."""
_OTHERS = ("csv", "embeddings")
"""Further forms, which do not hold the network."""
EMBEDDINGS = (".npz", ".h5", ".hdf5")
"""Suffixes of files of embeddings, the default one first."""
