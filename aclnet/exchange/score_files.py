"""Files of scores that other toolkits wrote.

The forms are: an npz with ids; pickles of CTR-GCN and its relatives (ids and logits) and of
mmaction2 (a dict per sample); and pickles of PYSKL, which have no ids.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aclnet.datasets.formats.npy import load_npz
from aclnet.datasets.formats.unpickle import load_pickle
from aclnet.datasets.opening import open_store
from aclnet.datasets.readers.pyskl import id_key
from aclnet.datasets.spec import AclnetError, DamageError, first_of, shown
from aclnet.runs.scores import MAX_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PICKLES = (".pkl", ".pickle")
_ROUNDING = 0.01
"""Tolerance on the sum of probabilities, which may have been stored as float16."""
_LARGEST = 1e30
"""Limit of scores, which float32 can hold."""
_ROW = re.compile(r"test_(\d{1,9})", re.ASCII)
"""Pattern of names of CTR-GCN's samples, whose file has no names."""
_SOURCE = re.compile(r".*/x_test/(\d{1,9})", re.ASCII | re.DOTALL)
"""Sources of samples in a store of CTR-GCN's arrays."""
_ID_KEYS = ("frame_dir", "filename", "sample_id", "img_key")
"""Keys of samples in mmaction2's dumps."""


@dataclass(frozen=True, slots=True)
class ScoreFile:
    """N samples of a score file, sorted by id; the true classes may be in another file."""

    ids: NDArray[np.str_]
    """(N,) ids, all different."""
    scores: NDArray[np.float32]
    """(N, classes) probabilities, or logits."""
    labels: NDArray[np.int64] | None
    """(N,) classes."""
    are_logits: bool = False
    """True if the scores are the network's outputs before the softmax."""

    def probabilities(self) -> ScoreFile:
        """These scores as probabilities; a softmax is applied to logits."""
        if not self.are_logits:
            return self
        raised = np.exp(self.scores - self.scores.max(axis=1, keepdims=True))
        scores = raised / raised.sum(axis=1, keepdims=True)
        return replace(self, scores=scores, are_logits=False)


class Order(NamedTuple):
    """The samples, row by row, of files that do not name them."""

    ids: list[str]
    labels: list[int] | None
    """Classes, if known."""


def read_order(text: str) -> Order:
    """An order from `ANNOTATIONS.pkl:SPLIT`, or from a text file with an id per line.

    The first is a PYSKL pickle of annotations: PYSKL tests the samples of a split in the order of
    `annotations`. Raises AclnetError if the file cannot be read.
    """
    file, colon, split = text.rpartition(":")
    if colon and Path(file).suffix in _PICKLES:
        return _annotated(Path(file), split)
    if Path(text).suffix in _PICKLES:
        raise AclnetError(f"--order {text}: name one of its splits, for example {text}:xsub_val")
    try:
        lines = Path(text).read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise AclnetError(f"--order {text} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise AclnetError(f"--order {text} is not text in UTF-8") from None
    return Order([line.strip() for line in lines if line.strip()], None)


def order_of_store(path: Path) -> Order | None:
    """The rows of `x_test` in a store that was prepared from CTR-GCN's arrays.

    None if the store does not have every row from the first to its last.
    """
    store = open_store(path)
    columns = (store.column(name).tolist() for name in ("source", "id", "label"))
    found: dict[int, tuple[str, int]] = {}
    count = 0
    for source, name, label in zip(*columns, strict=True):
        row = _SOURCE.fullmatch(source)
        if row:
            found[int(row[1])] = (name, label)
            count += 1
    if not found or found.keys() != {*range(count)}:
        return None
    ids, labels = zip(*(found[row] for row in range(count)), strict=True)
    return Order([*ids], [*labels])


def read_scores(path: Path, order: Order | None, store: Path | None = None) -> ScoreFile:
    """Scores from an `.npz` with `ids`, `scores` and perhaps `labels`, or from a pickle.

    Pickles hold scores by id (CTR-GCN and its relatives), a list of dicts (mmaction2), or (N,
    classes) scores in an `order` (PYSKL). Ids `test_0`, `test_1`, ... are positions in the order,
    or without an order in the arrays that `store` was prepared from.

    Raises AclnetError if the file is damaged, an id is repeated, or a value is not a score or not a
    class.
    """
    if path.suffix == ".npz":
        return _checked(path, **_arrays(path))
    if path.suffix not in _PICKLES:
        raise AclnetError(f"{path} is neither a run nor a file of scores (.npz, .pkl)")
    content = load_pickle(path)
    if isinstance(content, dict):
        return _by_id(path, content, order, store)
    if isinstance(content, list) and content and isinstance(content[0], dict):
        return _of_dicts(path, content, order)
    if order is None:
        raise _no_ids(path)
    return _checked(path, order.ids, content, order.labels)


def _no_ids(path: Path) -> AclnetError:
    return AclnetError(
        f"{path} does not contain the ids of the samples: give the annotations and the split that "
        "were tested as --order ANNOTATIONS.pkl:SPLIT, or a text file with one id per line"
    )


def _by_id(
    path: Path, content: dict[Any, Any], order: Order | None, store: Path | None
) -> ScoreFile:
    """Scores from a dict by sample."""
    ids = [*content]
    if not all(isinstance(name, str) for name in ids):
        raise AclnetError(f"{path}: ids must be text, one for each sample")
    rows = [_ROW.fullmatch(name) for name in ids]
    labels = None
    if ids and all(rows):
        places = [int(row[1]) for row in rows if row]
        order = order or _order_of_rows(path, {*places}, store)
        if max(places) >= len(order.ids):
            raise AclnetError(
                f"{path} has scores of {ids[places.index(max(places))]}, but --order has only "
                f"{len(order.ids)} samples"
            )
        ids = [order.ids[place] for place in places]
        labels = order.labels and [order.labels[place] for place in places]
    elif order and order.labels and set(ids) <= set(order.ids):
        known = dict(zip(order.ids, order.labels, strict=True))
        labels = [known[name] for name in ids]
    return _checked(path, ids, [*content.values()], labels)


def _order_of_rows(path: Path, rows: set[int], store: Path | None) -> Order:
    """The samples of rows of CTR-GCN's `x_test`, from a store of these arrays."""
    order = order_of_store(store) if store else None
    if order is None:
        lacking = f"; {store} was not prepared from these arrays" if store else ""
        raise AclnetError(
            f"{path} calls its samples test_0, test_1, ..., the rows of x_test in CTR-GCN's "
            f"arrays{lacking}: give --labels STORE, a store that was prepared from that .npz, or "
            "--order FILE, a text file with the ids of x_test, one per line"
        )
    if rows != {*range(len(order.ids))}:
        raise AclnetError(
            f"{path} has scores of {len(rows)} rows of x_test, but {store} was prepared from an "
            f"x_test with {len(order.ids)} rows: it has another protocol or another dataset"
        )
    return order


def _of_dicts(path: Path, content: list[Any], order: Order | None) -> ScoreFile:
    """Scores from a dict per sample, with mmaction2's names for score, label and id."""
    try:
        scores = [_item(entry, "pred_score", "pred_scores") for entry in content]
        labels = [
            int(np.asarray(_item(entry, "gt_label", "gt_labels")).ravel()[0]) for entry in content
        ]
        key = next((key for key in _ID_KEYS if key in content[0]), None)
        ids = [str(entry[key]) for entry in content] if key else None
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        raise AclnetError(
            f"{path}: a dict for each sample is expected, with `pred_score` and `gt_label`, as "
            "mmaction2's --dump writes it"
        ) from None
    if ids is None and order is None:
        raise _no_ids(path)
    return _checked(path, ids or (order.ids if order else []), scores, labels)


def _item(entry: dict[str, Any], new: str, old: str) -> Any:  # noqa: ANN401 - as in the file
    """The value of a key, or of its older name with `item` in it; raises KeyError without both."""
    value = entry[new] if new in entry else entry[old]
    return value["item"] if isinstance(value, dict) else value


def _annotated(path: Path, split: str) -> Order:
    content = load_pickle(path)
    try:
        annotations, splits = content["annotations"], content["split"]
        key = id_key(annotations)
        if split not in splits:
            raise AclnetError(f"{path} has no split {split!r}; it has {shown(first_of([*splits]))}")
        members = set(splits[split])
        if not annotations:
            raise ValueError("no annotation at all")
        chosen = [annotation for annotation in annotations if annotation[key] in members]
        return Order([str(a[key]) for a in chosen], [int(a["label"]) for a in chosen])
    except (KeyError, TypeError, IndexError, ValueError, OverflowError, AttributeError):
        raise AclnetError(
            f"{path} is not a PYSKL pickle of annotations: a dict is expected, with the lists of "
            "ids in `split`, and in `annotations` a `frame_dir` and a `label` each"
        ) from None


def _arrays(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise AclnetError(f"{path} does not exist")
    try:
        arrays = load_npz(path, ("ids", "scores", "labels"), MAX_BYTES, text=("ids",))
    except DamageError as damage:
        raise AclnetError(
            f"{path} is not an npz of plain arrays: {damage}; save ids as an array of text, scores "
            "and labels as arrays of numbers"
        ) from None
    missing = {"ids", "scores"} - arrays.keys()
    if missing:
        raise AclnetError(f"{path} has no array {' and no '.join(sorted(missing))}")
    return arrays


def _checked(path: Path, ids: Any, scores: Any, labels: Any = None) -> ScoreFile:  # noqa: ANN401
    """Scores sorted by id, with valid shapes and values."""
    try:
        names, table = np.asarray(ids), np.asarray(scores, dtype=np.float64)
        classes = None if labels is None else np.asarray(labels, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise AclnetError(f"{path}: scores (N, classes) and labels (N,) must be numbers") from None
    if names.ndim != 1 or names.dtype.kind != "U":
        raise AclnetError(f"{path}: ids must be text, one for each sample")
    if table.ndim != 2 or table.size == 0:
        raise AclnetError(f"{path}: scores are of shape {table.shape}; (N, classes) is expected")
    if len(names) != len(table) or (classes is not None and classes.shape != names.shape):
        shape = "" if classes is None else f", labels of shape {classes.shape}"
        raise AclnetError(f"{path}: {len(table)} rows of scores for {len(names)} ids{shape}")
    are_logits = _check_values(path, names, table, classes)
    order = np.argsort(names)
    rows = table[order].astype(np.float32)
    labels = None if classes is None else classes[order].astype(np.int64)
    return ScoreFile(names[order], rows, labels, are_logits)


def _check_values(
    path: Path,
    ids: NDArray[np.str_],
    scores: NDArray[np.float64],
    labels: NDArray[np.float64] | None,
) -> bool:
    """True if the scores are logits; raises AclnetError for an invalid value."""
    found, times = np.unique(ids, return_counts=True)
    if len(found) < len(ids):
        raise AclnetError(f"{path}: sample {shown(found[times > 1][0])} occurs twice")
    finite = (np.abs(scores) <= _LARGEST).all(axis=1)  # false for NaN
    if not finite.all():
        raise AclnetError(f"{path}: a score of {shown(ids[~finite][0])} is not finite")
    if labels is not None and not (known := np.isin(labels, np.arange(scores.shape[1]))).all():
        raise AclnetError(
            f"{path}: the label of {shown(ids[~known][0])} must be a whole number from 0 to "
            f"{scores.shape[1] - 1}"
        )
    probable = (scores >= 0).all(axis=1) & (np.abs(scores.sum(axis=1) - 1) <= _ROUNDING)
    return not probable.all()
