"""Which samples a run trains on, selects its weights on and is tested on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aclnet.datasets import random
from aclnet.datasets.errors import AclnetError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.store import Store

_HELD_OUT = 0.15
_SIDES = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Splits:
    """Masks over a store's samples."""

    protocol: str
    train: NDArray[np.bool_]
    val: NDArray[np.bool_] | None
    test: NDArray[np.bool_]
    identity: dict[str, Any]
    """What a run records of them."""


def protocol_splits(store: Store, protocol: str, *, hold_out: bool, seed: int) -> Splits:
    """The sides of one of the store's protocols; `hold_out` takes validation data from training.

    Held out are whole subjects where the store knows them, so that the validation is as hard as
    the test; else samples, class by class. AclnetError where the training side is empty.
    """
    protocol = protocol or store.protocols[0]
    train, test = store.mask(f"{protocol}/train"), store.mask(f"{protocol}/test")
    if not train.any():
        raise AclnetError(f"{store.path}: the training side of {protocol} is empty")
    identity: dict[str, Any] = {"protocol": protocol}
    if not hold_out:
        return Splits(protocol, train, None, test, identity)
    val, group = _held_out(store, train, seed)
    return Splits(protocol, train & ~val, val, test, {**identity, "held_out": group})


def file_splits(store: Store, path: Path) -> Splits:
    """Sides from a CSV file with columns `id` and `split` (train, val or test).

    AclnetError with the line of an unknown id or side, or where no line says train.
    """
    try:
        table = pd.read_csv(path, dtype=str)
        wanted, sides = table["id"], table["split"]
    except (OSError, ValueError, KeyError) as error:
        raise AclnetError(f"{path}: needs columns id and split ({error})") from None
    original = store.column("variant") == 0
    rows = pd.Series(np.flatnonzero(original), index=store.column("id")[original]).reindex(wanted)
    for bad, what in (
        (rows.isna().to_numpy(), "unknown id"),
        (~sides.isin(_SIDES).to_numpy(), "unknown side"),
    ):
        if bad.any():
            line = int(bad.argmax())
            raise AclnetError(f"{path}:{line + 2}: {what} in {wanted[line]!r}, {sides[line]!r}")
    masks = {side: np.zeros(len(store), dtype=bool) for side in _SIDES}
    for side, mask in masks.items():
        mask[rows[(sides == side).to_numpy()].astype(int)] = True
    trained_on = store.column("id")[masks["train"]]
    masks["train"] |= ~original & np.isin(store.column("original"), trained_on)
    if not masks["train"].any():
        raise AclnetError(f"{path}: no line says train")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Splits(
        protocol=path.stem,
        train=masks["train"],
        val=masks["val"] if masks["val"].any() else None,
        test=masks["test"],
        identity={"protocol": path.stem, "file": str(path.resolve()), "sha256": digest},
    )


def _held_out(store: Store, train: NDArray[np.bool_], seed: int) -> tuple[NDArray[np.bool_], str]:
    subjects = store.column("subject")
    known = np.unique(subjects[train & (subjects >= 0)])
    if len(known) > 1:
        order = random.generator(seed, len(known)).permutation(known)
        share = np.array([(train & (subjects == s)).sum() for s in order]) / train.sum()
        count = int(np.searchsorted(np.cumsum(share), _HELD_OUT)) + 1
        chosen = sorted(int(s) for s in order[: min(count, len(known) - 1)])
        return train & np.isin(subjects, chosen), f"subjects {', '.join(map(str, chosen))}"
    keys = random.fold(random.sample_keys(store.column("original")), seed)
    return train & (random.uniform(keys, 0) < _HELD_OUT), "samples at random"
