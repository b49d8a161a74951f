"""The samples that a run trains on, selects its weights on and is tested on."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import pandas as pd

from aclnet.datasets.spec import UNLABELLED, AclnetError, shown
from aclnet.datasets.spec.classes import doubtful_sides
from aclnet.datasets.store import keyed_random
from aclnet.runs.record import SplitRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.store.store import Store
    from aclnet.runs.config import Config

_HELD_OUT = 0.15
"""Smallest share of the training samples for validation."""
_SIDES = ("train", "val", "test", "gallery", "probe")


@dataclass(frozen=True, slots=True)
class Splits:
    """Masks (N,) over a store's samples; variants of a recording are on its side."""

    protocol: str
    classes: list[str]
    """Names of the classes that take part."""
    train: NDArray[np.bool_]
    val: NDArray[np.bool_] | None
    """Validation samples; None if nothing is held out."""
    test: NDArray[np.bool_]
    identity: SplitRecord
    file: Path | None = None
    """CSV file of the sides, if any."""
    gallery: NDArray[np.bool_] | None = None
    """Known samples, with which those of `test` are compared, see `aclnet.retrieval.recognition`;
    None if the classifier is tested."""

    def class_of(self, store: Store) -> NDArray[np.int64]:
        """(labels,) class of the network for each label of the store, -1 for those without."""
        place = {name: number for number, name in enumerate(self.classes)}
        return np.array([place.get(name, -1) for name in store.class_names], np.int64)

    def class_sizes(self, store: Store) -> tuple[int, ...]:
        """Training samples of each class of the network."""
        classes = self.class_of(store)[store.column("label")[self.train]]
        return tuple(np.bincount(classes, minlength=len(self.classes)).tolist())


class Fold(NamedTuple):
    """One of several parts of a training side; it is tested while the others train."""

    number: int
    """Number of the fold, from 1."""
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """A fold from `2/4`; raises AclnetError for any other text."""
        try:
            number, of = map(int, text.split("/"))
        except ValueError:
            number, of = 0, 0
        if not 1 <= number <= of:
            raise AclnetError(f"fold {text!r}: write it as 2/4 for the second of four folds")
        return cls(number, of)


def choose_splits(
    store: Store, config: Config, split_file: Path | None = None, fold: Fold | None = None
) -> Splits:
    """The samples of a run: those of a CSV file, of a fold, or of a protocol of the store.

    Raises AclnetError if no sample would train, select or be tested, or no tested class trains.
    """
    people = config.task != "action"
    needs_validation = "val" in (config.select, config.loss.families.source)
    hold_out, seed = needs_validation and config.select != "test", config.seed
    protocol = config.data.protocol
    if split_file:
        splits = file_splits(store, split_file)
    elif fold:
        splits = fold_splits(store, protocol, fold, hold_out=hold_out, seed=seed, people=people)
    else:
        splits = protocol_splits(store, protocol, hold_out=hold_out, seed=seed, people=people)
    if people:
        splits = _of_people(store, splits)
    elif splits.gallery is None:
        _check_classes(store, splits)
    selection(config, splits)
    _refuse_one_class(store, splits)
    return splits


def doubtful_classes(store: Store, splits: Splits) -> tuple[str, ...]:
    """Sentences about tested classes that do not train, if a classifier is tested."""
    if splits.gallery is not None:
        return ()
    masks = {
        f"{splits.protocol}/train": splits.train,
        f"{splits.protocol}/test": splits.test,
    }
    return tuple(doubtful_sides(masks, store.column("label"), store.class_names))


def protocol_splits(
    store: Store, protocol: str, *, hold_out: bool, seed: int, people: bool = False
) -> Splits:
    """The sides of one of the store's protocols, its first if `protocol` is empty.

    `hold_out` takes validation data from the training side. If the store knows subjects, they are
    whole subjects, so that the validation is as hard as the test; else they are recordings, class
    by class. With `people`, they are all recordings of some people. The choice depends on `seed`.
    With `people`, or without a test side, the probes are tested against the gallery. Raises
    AclnetError if a side is empty.
    """
    protocol = protocol or store.default_protocol
    has = {side for side in ("test", "probe") if f"{protocol}/{side}" in store.splits}
    side = "probe" if "probe" in has and (people or "test" not in has) else "test"
    train, test = store.mask(f"{protocol}/train"), store.mask(f"{protocol}/{side}")
    if not (train.any() and test.any()):
        raise AclnetError(_empty_side(store, protocol, side))
    gallery = gallery_of(store, f"{protocol}/{side}")
    identity = SplitRecord(protocol=protocol, side=None if side == "test" else "probe")
    classes = store.classes_of(protocol)
    splits = Splits(protocol, classes, train, None, test, identity, gallery=gallery)
    return _hold_out(store, splits, seed, people=people) if hold_out else splits


def gallery_of(store: Store, split: str) -> NDArray[np.bool_] | None:
    """Mask of the known samples of a protocol's `probe` side; None for any other side.

    Raises AclnetError if there are none.
    """
    protocol, _, side = split.rpartition("/")
    if side != "probe":
        return None
    gallery = store.mask(f"{protocol}/gallery")
    if not gallery.any():
        raise AclnetError(
            f"{store.path}: {split} is compared with {protocol}/gallery, which has no samples; "
            "prepare more recordings, or choose another --protocol or --split"
        )
    return gallery


def fold_splits(
    store: Store, protocol: str, fold: Fold, *, hold_out: bool, seed: int, people: bool = False
) -> Splits:
    """A fold of the training side of a protocol, whose test side is not used.

    The subjects, in order of their numbers, are assigned to the folds in turn, independent of the
    seed. The subjects of this fold are tested, the others train. With as many folds as subjects,
    each fold leaves one out. `hold_out` is as in `protocol_splits`. Raises AclnetError if subjects
    are unknown, or too few.
    """
    protocol = protocol or store.default_protocol
    side, subjects = store.mask(f"{protocol}/train"), store.column("subject")
    known = np.unique(subjects[side])
    if (known < 0).any():
        raise AclnetError(
            f"{store.path}: folds divide the subjects, but the training samples of {protocol} have "
            "no subjects; give your own split with --split FILE.csv (columns id and split)"
        )
    if not 2 <= fold.of <= len(known):
        raise AclnetError(
            f"{store.path}: the training side of {protocol} has {len(known)} subjects, which "
            f"cannot make {fold.of} folds; give from 2 folds to one per subject"
        )
    tested = known[fold.number - 1 :: fold.of]
    test = side & np.isin(subjects, tested)
    name = f"{protocol}-fold{fold.number}of{fold.of}"
    identity = SplitRecord(protocol=name, of=protocol, fold=fold, tested=_named(tested))
    splits = Splits(name, store.classes_of(protocol), side & ~test, None, test, identity)
    return _hold_out(store, splits, seed, people=people) if hold_out else splits


def file_splits(store: Store, path: Path) -> Splits:
    """Sides from a CSV file with columns `id` and `split` (train, val, test, gallery or probe).

    A sample of two sides names both, as `train+gallery`; samples that the file does not name are
    not used. Raises AclnetError with the line of an unknown or repeated id or an unknown side, if
    no line is train, or if the tested side is not either test, or probe with gallery.
    """
    if not path.stem.isprintable():  # also bytes that are not text
        raise AclnetError(
            f"{path}: the name of a run cannot contain the characters of this name; rename the file"
        )
    original = store.column("variant") == 0
    ids = store.column("id")
    row_of = dict(zip(ids[original].tolist(), np.flatnonzero(original).tolist(), strict=True))
    masks = {side: np.zeros(len(store), dtype=bool) for side in _SIDES}
    named: dict[str, int] = {}
    for line, sample, sides in _lines(path):
        if sample not in row_of:
            raise AclnetError(f"{path}:{line}: {store.path} has no sample {shown(sample)!r}")
        if store.column("label")[row_of[sample]] == UNLABELLED:
            raise AclnetError(
                f"{path}:{line}: {shown(sample)!r} has no label, so it can neither train nor be "
                "tested; remove the line"
            )
        if sample in named:
            raise AclnetError(
                f"{path}:{line}: {shown(sample)!r} is already in line {named[sample]}"
            )
        named[sample] = line
        for side in sides.split("+"):
            if side not in _SIDES:
                raise AclnetError(
                    f"{path}:{line}: split {shown(side)!r} is none of {', '.join(_SIDES)}"
                )
            masks[side][row_of[sample]] = True
    there = {side for side, mask in masks.items() if mask.any()}
    if "train" not in there:
        raise AclnetError(f"{path}: no row has the split train")
    if {"test", "probe"} <= there or ("probe" in there) != ("gallery" in there):
        raise AclnetError(
            f"{path}: the rows have the splits {', '.join(sorted(there))}; use either test, or "
            "probe together with gallery"
        )
    side = "probe" if "probe" in there else "test"
    masks["train"] |= ~original & np.isin(store.column("original"), ids[masks["train"]])
    return Splits(
        protocol=path.stem,
        classes=store.class_names,
        train=masks["train"],
        val=masks["val"] if masks["val"].any() else None,
        test=masks[side],
        identity=SplitRecord(
            protocol=path.stem,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            side=None if side == "test" else "probe",
        ),
        file=path,
        gallery=masks["gallery"] if side == "probe" else None,
    )


def _lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """Number of the line (from 1), id and side of each entry."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            table = csv.DictReader(stream, skipinitialspace=True)
            missing = {"id", "split"} - set(table.fieldnames or ())
            if missing:
                raise AclnetError(f"{path}:1: there is no column {' and '.join(sorted(missing))}")
            for row in table:
                yield table.line_num, (row["id"] or "").strip(), (row["split"] or "").strip()
    except OSError as error:
        raise AclnetError(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise AclnetError(f"{path} is not a CSV file in UTF-8: {error}") from None


def _refuse_one_class(store: Store, splits: Splits) -> None:
    """Raises AclnetError for a single class, which any network always predicts correctly."""
    trained = np.unique(store.column("label")[splits.train])
    if len(trained) == 1:
        raise AclnetError(
            f"{splits.file or store.path}: all training samples of {splits.protocol} are of one "
            f"class ({store.class_names[trained[0]]}); a network needs at least two classes, so "
            "add recordings of another class"
        )


def _check_classes(store: Store, splits: Splits) -> None:
    """Raises AclnetError if a classifier must fail because tested people do not train."""
    labels = store.column("label")
    if splits.test.any() and not np.isin(labels[splits.test], labels[splits.train]).any():
        raise AclnetError(
            f"{splits.file or store.path}: {splits.protocol} tests classes that no training sample "
            "has. If this test identifies people by retrieval, use --set task=gait or task=reid. "
            "Otherwise give your own split with --split FILE.csv (columns id and split), in which "
            "every tested class has training samples"
        )


def _empty_side(store: Store, protocol: str, tested: str) -> str:
    def size(name: str, side: str) -> int:
        mask = store.splits.get(f"{name}/{side}")
        return 0 if mask is None else int(mask.sum())

    tests = ("test", "probe")
    usable = [
        p for p in store.protocols if size(p, "train") and any(size(p, side) for side in tests)
    ]
    remedy = f"choose --protocol {' or '.join(usable)}" if usable else "prepare more recordings"
    return (
        f"{store.path}: protocol {protocol} has {size(protocol, 'train')} training and "
        f"{size(protocol, tested)} {tested} samples, but both are needed; {remedy}, or give your "
        "own split with --split FILE.csv (columns id and split)"
    )


def _of_people(store: Store, splits: Splits) -> Splits:
    """Splits whose classes are the training people.

    Without a gallery, tested people are compared with each other.
    """
    names = store.class_names
    classes = [names[label] for label in np.unique(store.column("label")[splits.train])]
    gallery = splits.test if splits.gallery is None else splits.gallery
    return replace(splits, classes=classes, gallery=gallery)


def _hold_out(store: Store, splits: Splits, seed: int, *, people: bool) -> Splits:
    """The splits with validation data taken from training."""
    by = store.column("label" if people else "subject")
    known = np.unique(by[splits.train & (by >= 0)])
    if len(known) > 1:
        chosen = _some(by, splits.train, known, seed)
        val = splits.train & np.isin(by, chosen)
        names = [store.class_names[label] for label in chosen] if people else chosen.tolist()
        group = f"{'people' if people else 'subjects'} {', '.join(map(str, names))}"
    else:
        val = splits.train & _some_of_each_class(store, splits.train, seed)
        group = "recordings at random, class by class"
    identity = splits.identity.model_copy(update={"held_out": group})
    return replace(splits, train=splits.train & ~val, val=val, identity=identity)


def _some(
    by: NDArray[np.int64], train: NDArray[np.bool_], known: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    """Groups, sorted, that make up the share to hold out of the training samples."""
    order = keyed_random.generator(seed, len(known)).permutation(known)
    share = np.array([(train & (by == s)).sum() for s in order]) / train.sum()
    count = int(np.searchsorted(np.cumsum(share), _HELD_OUT)) + 1
    return np.sort(order[: min(count, len(known) - 1)])


def _named(subjects: NDArray[np.int64]) -> str:
    return f"subjects {', '.join(map(str, subjects.tolist()))}"


def _some_of_each_class(store: Store, train: NDArray[np.bool_], seed: int) -> NDArray[np.bool_]:
    """(N,) mask of recordings, with all their pieces and variants."""
    table = pd.DataFrame({"original": store.column("original"), "label": store.column("label")})
    recordings = table[train].drop_duplicates("original")
    keys = keyed_random.fold(keyed_random.sample_keys(recordings["original"]), seed)
    order = recordings.assign(draw=keyed_random.uniform(keys, 0)).groupby("label")["draw"]
    # a class with one recording keeps it for training
    held_out = order.rank(method="first") <= (_HELD_OUT * order.transform("size")).round()
    return np.asarray(table["original"].isin(recordings["original"][held_out]))


def selection(config: Config, splits: Splits) -> NDArray[np.bool_] | None:
    """The samples that are scored after every epoch, if any.

    They select the weights, or count confusions if `loss.families.source` is "val". Raises
    AclnetError if there are none.
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
            f"{what} needs validation samples, but {splits.file or splits.protocol} has none"
            + (
                "; set the split of some rows to val"
                if splits.file
                else ": too few to hold some out"
            )
        )
    return splits.val
