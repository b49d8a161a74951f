"""What a run remembers of every epoch, as a small Zarr group beside its checkpoints.

`confusion/train` and `confusion/eval` (epochs, C, C) int64 counts, true class by predicted class,
-1 where an epoch was not trained or evaluated; `affinity` (epochs, C, C) float32, `family`
(epochs, C, C) bool, `temperature` (epochs, C) float32: those in force after the epoch, NaN or False
before it was trained; `prototype` (C, 256) float32: the last ones. A run that selects no weights
has one evaluation, that of the test split, in its last epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.formats.atomic import replacing
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store import zarr_io

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

KINDS: dict[str, tuple[tuple[str, ...], str, float]] = {
    "confusion/train": (("true_class", "predicted_class"), "int64", -1),
    "confusion/eval": (("true_class", "predicted_class"), "int64", -1),
    "affinity": (("class", "other_class"), "float32", np.nan),
    "family": (("class", "other_class"), "bool", False),
    "temperature": (("class",), "float32", np.nan),
}
"""Arrays of a row an epoch: names of a row's axes, each as long as there are classes, dtype, and
the value before it is written."""


class History:
    """The history of a run at `path`; rows are written once an epoch and read at will."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self, epochs: int, class_names: list[str]) -> None:
        """Empty arrays for a run of `epochs`; nothing where they are there already."""
        if (self.path / "zarr.json").is_file():
            return
        classes = len(class_names)
        with replacing(self.path) as building:
            zarr_io.create_group(building, {"class_names": class_names})
            for name, (axes, dtype, fill) in KINDS.items():
                shape = (epochs, *(classes for _ in axes))
                zarr_io.create_epochs(building, name, shape, dtype, fill, ("epoch", *axes))

    def write(self, epoch: int, rows: dict[str, NDArray[Any]]) -> None:
        """Sets rows of one epoch (from 0), by the array's name."""
        for name, row in rows.items():
            zarr_io.open_array(self.path, name, "r+")[epoch] = row

    def read(self, name: str, epoch: int) -> NDArray[Any]:
        """One array's row of an epoch; negative epochs count from the end."""
        return np.asarray(self._array(name)[epoch])

    def read_all(self, name: str) -> NDArray[Any]:
        """One array over all epochs."""
        return np.asarray(self._array(name)[:])

    def write_prototypes(self, prototypes: NDArray[np.float32]) -> None:
        """The class prototypes (C, 256) at the end of training."""
        zarr_io.create_column(self.path, "prototype", prototypes, ("class", "feature"))

    def _array(self, name: str) -> Any:  # noqa: ANN401 - zarr's own type
        if not (self.path / name / "zarr.json").is_file():
            raise AclnetError(f"{self.path} holds no {name}: no epoch was trained yet")
        return zarr_io.open_array(self.path, name)
