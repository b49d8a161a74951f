"""Division of samples over the sides of the protocols."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.spec import UNLABELLED, AclnetError, protocols
from aclnet.datasets.spec.classes import doubtful_names, doubtful_sides

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from aclnet.datasets.spec import DatasetSpec, Source, Units

_LONGEST = 100
_OWN_SPLIT = re.compile(r"(.*?)_?(train|val|test|gallery|probe)(\d*)")


def split_masks(source: Source, columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.bool_]]:
    """Mask of each `protocol/side` over samples with a label; stored variants can only train.

    Splits of the source itself take precedence. Protocols of the dataset without any sample are
    left out, for example if the ids do not tell subject or camera.
    """
    masks = protocols.sides(source.spec.protocols, columns)
    own = own_sides(source)
    if own:
        used = {name.partition("/")[0] for name, mask in masks.items() if mask.any()}
        masks = {name: mask for name, mask in masks.items() if name.partition("/")[0] in used}
    masks |= {name: np.isin(columns["original"], ids) for name, ids in own.items()}
    labelled = columns["label"] != UNLABELLED
    for name, mask in masks.items():
        masks[name] = mask & labelled & (name.endswith("/train") | (columns["variant"] == 0))
    return masks


def missing_sides(masks: Mapping[str, NDArray[np.bool_]]) -> Iterator[str]:
    """Sentences about protocols without a side by name, which cannot be trained or tested."""
    protocols_of: dict[str, set[str]] = {}
    for name in masks:
        protocol, _, side = name.rpartition("/")
        protocols_of.setdefault(protocol, set()).add(side)
    for protocol, names in protocols_of.items():
        for side in ("train", "test"):
            if side not in names and not (side == "test" and names & {"gallery", "probe"}):
                yield f"protocol {protocol} has no side {side}"
    if not masks:
        yield "the recordings are not divided into training and test"


def rates_differ(source: Source, fps: float | None) -> Iterator[str]:
    """A sentence if recordings of several frame rates are treated as one rate."""
    rates = source.rates()
    if fps is None and len(rates) > 1:
        told = ", ".join(f"{rate:g}" for rate in rates[:-1]) + f" and {rates[-1]:g}"
        yield (
            f"recordings have {told} frames per second (column fps), but a network treats them as "
            f"if they had the same rate; use --fps {min(rates):g} to resample them to one rate"
        )


def sizes_unknown(units: Units, widths: NDArray[np.int64]) -> Iterator[str]:
    """A sentence if missing image widths prevent the mirroring that recipes for 2-D joints do."""
    unknown = int((widths <= 0).sum())
    if units == "px" and unknown:
        yield (
            f"{unknown} of {len(widths)} recordings have no width of the image, which the mirror "
            "image needs: give `width` and `height` in index.csv, or train with --set "
            "augment.mirror=0"
        )


def doubts(
    spec: DatasetSpec, masks: Mapping[str, NDArray[np.bool_]], labels: NDArray[np.int64]
) -> Iterator[str]:
    """Sentences about classes that are probably mistakes, see `aclnet.datasets.spec.classes`."""
    yield from doubtful_names(spec.class_names)
    if spec.task == "action":  # people in recognition tests need not train
        yield from doubtful_sides(masks, labels, spec.class_names)


def own_sides(source: Source) -> dict[str, list[str]]:
    """Sample ids of the splits that the source itself defines, by `protocol/side`.

    PYSKL's names become `xsub_train` -> `xsub/train`, `xsub_val` -> `xsub/test` (unless there is an
    `xsub_test` too), `train` -> `own/train`, `test2` -> `own2/test`. Raises AclnetError for other
    names.
    """
    sides = {}
    splits = source.splits()
    for name, ids in splits.items():
        match = _OWN_SPLIT.fullmatch(name)
        if match is None:
            raise AclnetError(
                f"{source.root}: split {name!r} does not name its side; its name must end in "
                "train, val, test, gallery or probe"
            )
        if not _names_a_folder(name):
            raise AclnetError(
                f"{source.root}: split {name[:_LONGEST]!r} cannot name a folder of the store; "
                f"rename it: no / and \\, no . or __ in front, at most {_LONGEST} characters"
            )
        prefix, side, number = match.groups()
        if side == "val" and f"{name[: match.start(2)]}test{number}" not in splits:
            side = "test"
        sides[f"{prefix or protocols.OWN}{number}/{side}"] = ids
    return sides


def _names_a_folder(name: str) -> bool:
    """True if a split can be a group of the store: Zarr reserves names that begin with __."""
    fits = len(name.encode("utf-8", "replace")) <= _LONGEST
    return fits and name.isprintable() and not re.match(r"\.|__", name) and not {*name} & {*"/\\"}
