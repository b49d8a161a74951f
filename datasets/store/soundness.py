"""Checks that the arrays of a store agree with its attributes and manifest.

Checksums find bytes that changed by accident. Software that writes a wrong store writes checksums
that fit; these checks find contents that cannot be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.spec import UNLABELLED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

PLACES = ("start", "n_persons", "n_frames")
"""Columns that together tell where the rows of a sample are."""
_NUMBERS = (
    *PLACES, "label", "variant", "subject", "camera", "setup", "replication", "width", "height",
)  # fmt: skip
_TEXTS = ("id", "original", "condition", "source")
_VECTORS = {"centre": 2, "rotation": 3}
"""Columns that hold a vector or a matrix, and their number of axes."""


def check_frames(name: str, array: Any, rows: int, shard_rows: int, row: tuple[int, ...]) -> None:  # noqa: ANN401 - zarr's own type
    """Raises ValueError if an array of frames has an unexpected shape or an unknown dtype.

    Args:
        name: name of the array, as `frames/keypoint`.
        rows: number of rows of all shards together.
        row: shape of one row.
    """
    dtypes = {"frames/present": ("bool",), "frames/index": ("int32",)}
    known = dtypes.get(name, ("float32", "int16"))
    if str(array.dtype) not in known or array.shape != (rows, *row):
        raise ValueError(
            f"{name} is {array.dtype} {array.shape}; {' or '.join(known)} {(rows, *row)} is "
            "expected"
        )
    if array.shards != (shard_rows, *row):
        raise ValueError(f"{name} has shards {array.shards}; {(shard_rows, *row)} is expected")
    if str(array.dtype) == "int16" and not np.isfinite(float(array.attrs["scale"])):
        raise ValueError(f"{name} has no scale")


def check_column(name: str, values: NDArray[Any], samples: int, classes: int) -> None:
    """Raises ValueError if a column is not one value of its kind for each sample."""
    axes = _VECTORS.get(name, 1)
    kinds = "iu" if name in _NUMBERS else "U" if name in _TEXTS else "f" if axes > 1 else "iufbU"
    if values.ndim != axes or len(values) != samples or values.dtype.kind not in kinds:
        raise ValueError(
            f"{name} is {values.dtype} {values.shape}, but there are {samples} samples"
        )
    if name == "label" and not ((values >= UNLABELLED) & (values < classes)).all():
        raise ValueError(f"a label is neither a class from 0 to {classes - 1} nor {UNLABELLED}")
    if name == "variant" and not (values == 0).any():
        raise ValueError("every sample is a variant of another sample")


def check_places(columns: Mapping[str, NDArray[Any]], shards: int, shard_rows: int) -> None:
    """Raises ValueError if a sample is not inside one shard; columns as in `PLACES`."""
    for name in PLACES:
        check_column(name, columns[name], len(np.atleast_1d(columns["start"])), 0)
    start, persons, frames = (columns[name].astype(np.int64) for name in PLACES)
    if not len(start):
        raise ValueError("there are no samples")
    inside = (start >= 0) & (start < shards * shard_rows)
    sound = inside & (persons >= 1) & (frames >= 1) & (persons <= shard_rows)
    sound &= (frames <= shard_rows) & (start % shard_rows + persons * frames <= shard_rows)
    if not sound.all():
        raise ValueError(f"sample {int(np.argmin(sound))} is not inside one shard")
