"""Which samples a run trains on, selects its weights on and is tested on."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import pandas as pd

from aclnet.datasets import random
from aclnet.datasets.errors import AclnetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.config import Config
    from aclnet.datasets.store import Store

_HELD_OUT = 0.15
"""Share of the training samples that validation takes, at least."""
_SIDES = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Splits:
    """Masks (N,) over a store's samples; variants of a recording are on its side."""

    protocol: str
    classes: list[str]
    """Names of those that take part."""
    train: NDArray[np.bool_]
    val: NDArray[np.bool_] | None
    """None where nothing is held out."""
    test: NDArray[np.bool_]
    identity: dict[str, Any]
    """What a run records of them, and is told apart from others by."""
    file: Path | None = None
    """The CSV file that they come from."""
    gallery: NDArray[np.bool_] | None = None
    """Known samples, to the nearest of which those of `test` are compared, see `aclnet.one_shot`;
    None where the classifier is tested."""


class Fold(NamedTuple):
    """One of several parts of a training side, to be tested on when the others train."""

    number: int
    """From 1."""
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `2/4`. AclnetError on anything else."""
        try:
            number, of = map(int, text.split("/"))
        except ValueError:
            number, of = 0, 0
        if not 1 <= number <= of:
            raise AclnetError(f"fold {text!r}: write it as 2/4, the second of four")
        return cls(number, of)


def choose_splits(
    store: Store, config: Config, split_file: Path | None = None, fold: Fold | None = None
) -> Splits:
    """The samples of a run: of a CSV file, of a fold of the protocol's training side, or of the
    protocol. AclnetError where nothing would train, select or be tested, or no tested class trains.
    """
    needs_validation = "val" in (config.select, config.loss.families.source)
    hold_out = needs_validation and config.select != "test"
    if split_file:
        splits = file_splits(store, split_file)
    elif fold:
        splits = fold_splits(store, config.data.protocol, fold, hold_out=hold_out, seed=config.seed)
    else:
        splits = protocol_splits(store, config.data.protocol, hold_out=hold_out, seed=config.seed)
    if splits.gallery is None:
        _check_classes(store, splits)
    selection(config, splits)
    return splits


def protocol_splits(store: Store, protocol: str, *, hold_out: bool, seed: int) -> Splits:
    """The sides of one of the store's protocols, its first where `protocol` is empty.

    `hold_out` takes validation data from training: whole subjects where the store knows them, so
    that the validation is as hard as the test, else recordings, class by class. Which ones follows
    from `seed`. Where a protocol has no test side, its probes are tested by its gallery.
    AclnetError where a side is empty.
    """
    protocol = protocol or store.protocols[0]
    only_probe = f"{protocol}/probe" in store.splits and f"{protocol}/test" not in store.splits
    side = "probe" if only_probe else "test"
    train, test = store.mask(f"{protocol}/train"), store.mask(f"{protocol}/{side}")
    if not (train.any() and test.any()):
        raise AclnetError(_empty_side(store, protocol, side))
    gallery = gallery_of(store, f"{protocol}/{side}")
    identity = {"protocol": protocol} | ({} if gallery is None else {"side": side})
    classes = store.classes_of(protocol)
    splits = Splits(protocol, classes, train, None, test, identity, gallery=gallery)
    return _hold_out(store, splits, seed) if hold_out else splits


def gallery_of(store: Store, split: str) -> NDArray[np.bool_] | None:
    """Mask of the known samples of a protocol's `probe` side; None for any other side.

    AclnetError where there are none.
    """
    protocol, _, side = split.rpartition("/")
    if side != "probe":
        return None
    gallery = store.mask(f"{protocol}/gallery")
    if not gallery.any():
        raise AclnetError(
            f"{store.path}: {split} is compared with {protocol}/gallery, which has no sample; "
            "prepare more recordings, or choose another --protocol or --split"
        )
    return gallery


def fold_splits(store: Store, protocol: str, fold: Fold, *, hold_out: bool, seed: int) -> Splits:
    """A fold of the training side of a protocol; the protocol's test side takes no part.

    The subjects, in order of their numbers, are dealt out to the folds in turn, whatever the seed;
    those of this fold are tested, the others train. As many folds as subjects leave one out each.
    `hold_out` as in `protocol_splits`. AclnetError where subjects are unknown, or too few.
    """
    protocol = protocol or store.protocols[0]
    side, subjects = store.mask(f"{protocol}/train"), store.column("subject")
    known = np.unique(subjects[side])
    if (known < 0).any():
        raise AclnetError(
            f"{store.path}: folds are made of subjects, and training samples of {protocol} have "
            "none; give folds of your own with --split FILE.csv (columns id and split)"
        )
    if not 2 <= fold.of <= len(known):
        raise AclnetError(
            f"{store.path}: the training side of {protocol} has {len(known)} subjects, which "
            f"cannot be {fold.of} folds; two folds are the fewest, one a subject the most"
        )
    tested = known[fold.number - 1 :: fold.of]
    test = side & np.isin(subjects, tested)
    name = f"{protocol}-fold{fold.number}of{fold.of}"
    identity = {"protocol": name, "of": protocol, "fold": list(fold), "tested": _named(tested)}
    splits = Splits(name, store.classes_of(protocol), side & ~test, None, test, identity)
    return _hold_out(store, splits, seed) if hold_out else splits


def file_splits(store: Store, path: Path) -> Splits:
    """Sides from a CSV file with columns `id` and `split` (train, val or test).

    Samples that it does not name take no part. AclnetError with the line of an unknown or repeated
    id or an unknown side, and where no line says train.
    """
    original = store.column("variant") == 0
    ids = store.column("id")
    row_of = dict(zip(ids[original].tolist(), np.flatnonzero(original).tolist(), strict=True))
    masks = {side: np.zeros(len(store), dtype=bool) for side in _SIDES}
    named: dict[str, int] = {}
    for line, sample, side in _lines(path):
        if sample not in row_of:
            raise AclnetError(f"{path}:{line}: {store.path} has no sample {sample!r}")
        if side not in _SIDES:
            raise AclnetError(f"{path}:{line}: split {side!r} is none of {', '.join(_SIDES)}")
        if sample in named:
            raise AclnetError(f"{path}:{line}: {sample!r} stands in line {named[sample]} already")
        named[sample] = line
        masks[side][row_of[sample]] = True
    if not masks["train"].any():
        raise AclnetError(f"{path}: no line says train")
    masks["train"] |= ~original & np.isin(store.column("original"), ids[masks["train"]])
    return Splits(
        protocol=path.stem,
        classes=store.class_names,
        train=masks["train"],
        val=masks["val"] if masks["val"].any() else None,
        test=masks["test"],
        identity={"protocol": path.stem, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
        file=path,
    )


def _lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """Number of the line (from 1), id and side of each entry."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            table = csv.DictReader(stream, skipinitialspace=True)
            missing = {"id", "split"} - set(table.fieldnames or ())
            if missing:
                raise AclnetError(f"{path}:1: no column {' and '.join(sorted(missing))}")
            for row in table:
                yield table.line_num, (row["id"] or "").strip(), (row["split"] or "").strip()
    except OSError as error:
        raise AclnetError(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise AclnetError(f"{path} is no CSV file in UTF-8: {error}") from None


def _check_classes(store: Store, splits: Splits) -> None:
    """AclnetError where a classifier can only fail: people are recognised who never trained."""
    labels = store.column("label")
    if splits.test.any() and not np.isin(labels[splits.test], labels[splits.train]).any():
        raise AclnetError(
            f"{splits.file or store.path}: {splits.protocol} tests classes that no training sample "
            "has, which is meant for tests by retrieval (whom of a gallery does a probe show?), "
            "and training tests a classifier; give sides of your own with --split FILE.csv "
            "(columns id and split), whose test samples are of classes that train as well"
        )


def _empty_side(store: Store, protocol: str, tested: str) -> str:
    def size(name: str, side: str) -> int:
        mask = store.splits.get(f"{name}/{side}")
        return 0 if mask is None else int(mask.sum())

    usable = [p for p in store.protocols if size(p, "train") and size(p, "test")]
    remedy = f"choose --protocol {' or '.join(usable)}" if usable else "prepare more recordings"
    return (
        f"{store.path}: protocol {protocol} has {size(protocol, 'train')} training and "
        f"{size(protocol, tested)} {tested} samples, and both are needed; {remedy}, or give sides "
        "of your own with --split FILE.csv (columns id and split)"
    )


def _hold_out(store: Store, splits: Splits, seed: int) -> Splits:
    """Takes validation data from training."""
    val, group = _held_out(store, splits.train, seed)
    identity = {**splits.identity, "held_out": group}
    return replace(splits, train=splits.train & ~val, val=val, identity=identity)


def _held_out(store: Store, train: NDArray[np.bool_], seed: int) -> tuple[NDArray[np.bool_], str]:
    """Mask of the validation samples, and in words who they are."""
    subjects = store.column("subject")
    known = np.unique(subjects[train & (subjects >= 0)])
    if len(known) > 1:
        order = random.generator(seed, len(known)).permutation(known)
        share = np.array([(train & (subjects == s)).sum() for s in order]) / train.sum()
        count = int(np.searchsorted(np.cumsum(share), _HELD_OUT)) + 1
        chosen = np.sort(order[: min(count, len(known) - 1)])
        return train & np.isin(subjects, chosen), _named(chosen)
    return train & _some_of_each_class(store, train, seed), "recordings at random, class by class"


def _named(subjects: NDArray[np.int64]) -> str:
    return f"subjects {', '.join(map(str, subjects.tolist()))}"


def _some_of_each_class(store: Store, train: NDArray[np.bool_], seed: int) -> NDArray[np.bool_]:
    """(N,) mask of recordings, with all their pieces and variants."""
    table = pd.DataFrame({"original": store.column("original"), "label": store.column("label")})
    recordings = table[train].drop_duplicates("original")
    keys = random.fold(random.sample_keys(recordings["original"]), seed)
    order = recordings.assign(draw=random.uniform(keys, 0)).groupby("label")["draw"]
    # a class of one recording keeps it for training
    held_out = order.rank(method="first") <= (_HELD_OUT * order.transform("size")).round()
    return np.asarray(table["original"].isin(recordings["original"][held_out]))


def selection(config: Config, splits: Splits) -> NDArray[np.bool_] | None:
    """The samples that are scored after every epoch, if any.

    They select the weights, or tell confusions where `loss.families.source` is "val". AclnetError
    where there are none to do so.
    """
    if config.select == "test":
        if not splits.test.any():
            raise AclnetError(f"--select test: {splits.file or splits.protocol} has no test sample")
        return splits.test
    if config.select == "last" and config.loss.families.source == "train":
        return None
    if splits.val is None or not splits.val.any():
        what = "--select val" if config.select == "val" else "loss.families.source=val"
        raise AclnetError(
            f"{what} needs validation samples, and {splits.file or splits.protocol} has none"
            + ("; let some lines say val" if splits.file else ": too few to hold some out")
        )
    return splits.val
