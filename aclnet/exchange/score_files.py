"""Files of scores that other toolkits wrote: npz with ids, and PYSKL's pickles, which have none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aclnet.datasets.formats.npy import load_npz
from aclnet.datasets.formats.unpickle import load_pickle
from aclnet.datasets.readers.pyskl import id_key
from aclnet.datasets.spec import AclnetError, DamageError
from aclnet.runs.scores import MAX_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PICKLES = (".pkl", ".pickle")
_ROUNDING = 0.01
"""Tolerance on the sum of probabilities, which may have been stored as float16."""


@dataclass(frozen=True, slots=True)
class ScoreFile:
    """What a file says of N samples, sorted by id; the true classes may be somewhere else."""

    ids: NDArray[np.str_]
    """(N,), each once."""
    scores: NDArray[np.float32]
    """(N, classes) probabilities."""
    labels: NDArray[np.int64] | None
    """(N,)."""


class Order(NamedTuple):
    """The samples of files that do not name them, row by row."""

    ids: list[str]
    labels: list[int] | None
    """Where they are known."""


def read_order(text: str) -> Order:
    """From `ANNOTATIONS.pkl:SPLIT`, or from a text file with an id a line.

    The first is a PYSKL pickle of annotations: PYSKL tests the samples of a split in the order in
    which they stand in `annotations`. AclnetError where either cannot be read.
    """
    file, colon, split = text.rpartition(":")
    if colon and Path(file).suffix in _PICKLES:
        return _annotated(Path(file), split)
    if Path(text).suffix in _PICKLES:
        raise AclnetError(f"--order {text}: say which of its splits, as {text}:xsub_val")
    try:
        lines = Path(text).read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise AclnetError(f"--order {text} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise AclnetError(f"--order {text} is no text in UTF-8") from None
    return Order([line.strip() for line in lines if line.strip()], None)


def read_scores(path: Path, order: Order | None) -> ScoreFile:
    """An `.npz` with `ids`, `scores` and perhaps `labels`, or PYSKL's result in an `order`.

    The latter is a pickle of (N, classes) scores as an array or a list of N. AclnetError where the
    file is damaged, an id is there twice, or something is no probability or no class.
    """
    if path.suffix == ".npz":
        return _checked(path, **_arrays(path))
    if path.suffix not in _PICKLES:
        raise AclnetError(f"{path} is neither a run nor a file of scores (.npz, .pkl)")
    if order is None:
        raise AclnetError(
            f"{path} does not say whose scores it holds: name the annotations and split that were "
            "tested with --order ANNOTATIONS.pkl:SPLIT, or a text file with an id a line"
        )
    return _checked(path, order.ids, load_pickle(path), order.labels)


def _annotated(path: Path, split: str) -> Order:
    content = load_pickle(path)
    try:
        annotations, splits = content["annotations"], content["split"]
        key = id_key(annotations)
        if split not in splits:
            raise AclnetError(f"{path} has no split {split!r}; it has {', '.join(splits)}")
        members = set(splits[split])
        if not annotations:
            raise ValueError("no annotation at all")
        chosen = [annotation for annotation in annotations if annotation[key] in members]
        return Order([str(a[key]) for a in chosen], [int(a["label"]) for a in chosen])
    except (KeyError, TypeError, IndexError, ValueError, OverflowError, AttributeError):
        raise AclnetError(
            f"{path} is no PYSKL pickle of annotations: a dict is expected, with the lists of ids "
            "in `split`, and in `annotations` a `frame_dir` and a `label` each"
        ) from None


def _arrays(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise AclnetError(f"{path} is not there")
    try:
        arrays = load_npz(path, ("ids", "scores", "labels"), MAX_BYTES, text=("ids",))
    except DamageError as damage:
        raise AclnetError(
            f"{path} is no npz of plain arrays: {damage}; save ids as an array of text, scores and "
            "labels as arrays of numbers"
        ) from None
    missing = {"ids", "scores"} - arrays.keys()
    if missing:
        raise AclnetError(f"{path} has no array {' and no '.join(sorted(missing))}")
    return arrays


def _checked(path: Path, ids: Any, scores: Any, labels: Any = None) -> ScoreFile:  # noqa: ANN401
    """Sorted, once the shapes and values are what they must be."""
    try:
        names, table = np.asarray(ids), np.asarray(scores, dtype=np.float64)
        classes = None if labels is None else np.asarray(labels, dtype=np.int64)
    except (TypeError, ValueError, OverflowError):
        raise AclnetError(f"{path}: scores (N, classes) and labels (N,) must be numbers") from None
    if names.ndim != 1 or names.dtype.kind != "U":
        raise AclnetError(f"{path}: ids must be text, one a sample")
    if table.ndim != 2 or table.size == 0:
        raise AclnetError(f"{path}: scores are of shape {table.shape}, (N, classes) is expected")
    if len(names) != len(table) or (classes is not None and classes.shape != names.shape):
        shape = "" if classes is None else f", labels of shape {classes.shape}"
        raise AclnetError(f"{path}: {len(table)} rows of scores for {len(names)} ids{shape}")
    _check_values(path, names, table, classes)
    order = np.argsort(names)
    rows = table[order].astype(np.float32)
    return ScoreFile(names[order], rows, None if classes is None else classes[order])


def _check_values(
    path: Path,
    ids: NDArray[np.str_],
    scores: NDArray[np.float64],
    labels: NDArray[np.int64] | None,
) -> None:
    found, times = np.unique(ids, return_counts=True)
    if len(found) < len(ids):
        raise AclnetError(f"{path}: sample {found[times > 1][0]} is there twice")
    # NaN and infinity fail the comparison of the sum
    fine = (scores >= 0).all(axis=1) & (np.abs(scores.sum(axis=1) - 1) <= _ROUNDING)
    if not fine.all():
        raise AclnetError(
            f"{path}: the scores of {ids[~fine][0]} are no probabilities (they sum up to "
            f"{scores[~fine][0].sum():g}), and other scales cannot be fused with them; save the "
            "mean of the softmax over clips (in PYSKL, average_clips='prob')"
        )
    if labels is not None and not ((labels >= 0) & (labels < scores.shape[1])).all():
        raise AclnetError(f"{path}: labels must be 0 to {scores.shape[1] - 1}")
