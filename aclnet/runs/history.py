"""History of a run: values of every epoch in a small Zarr group beside the checkpoints.

`confusion/train` and `confusion/eval` (epochs, C, C) are int64 counts, true class by predicted
class, -1 if an epoch was not trained or evaluated. `affinity` (epochs, C, C) float32, `family`
(epochs, C, C) bool and `temperature` (epochs, C) float32 are the values after the epoch, NaN or
False before it was trained. `prototype` (C, 256) float32 are the last prototypes. A run that
selects no weights has one evaluation, that of the test split, in its last epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.formats import atomic
from aclnet.datasets.spec import AclnetError, shown
from aclnet.datasets.store import zarr_io
from aclnet.runs.writing import naming, writing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

KINDS: dict[str, tuple[tuple[str, ...], str, float]] = {
    "confusion/train": (("true_class", "predicted_class"), "int64", -1),
    "confusion/eval": (("true_class", "predicted_class"), "int64", -1),
    "affinity": (("class", "other_class"), "float32", np.nan),
    "family": (("class", "other_class"), "bool", False),
    "temperature": (("class",), "float32", np.nan),
}
"""Arrays with a row per epoch: names of a row's axes, each as long as there are classes, dtype, and
the value before it is written."""


_NOT_EVERY_EPOCH = "confusion/eval"
# Histories without this attribute lack the chunks of rows that hold only the fill value. Only rows
# of `family` can be such rows.
_WHOLE = "every_row_has_a_chunk"


class History:
    """The history of a run at `path`; rows are written once per epoch and can be read at any time.

    Damaged files are never read as data. Raises AclnetError if metadata or a chunk cannot be read,
    and if the chunk of a trained epoch is missing.

    `check` is called after an array was read, for further checks of the files.
    """

    def __init__(self, path: Path, check: Callable[[], None] | None = None) -> None:
        self.path, self._check = path, check

    def create(self, epochs: int, class_names: list[str]) -> None:
        """Creates empty arrays for a run of `epochs`.

        If they exist, it deletes only files that a killed training has not finished. No other
        process may be writing.
        """
        if (self.path / zarr_io.METADATA).is_file():
            atomic.delete_unfinished(self.path, (zarr_io.UNFINISHED,))
            return
        classes = len(class_names)
        with writing(self.path) as building:
            zarr_io.create_group(building, {"class_names": class_names, _WHOLE: True})
            for name, (axes, dtype, fill) in KINDS.items():
                shape = (epochs, *(classes for _ in axes))
                zarr_io.create_epochs(building, name, shape, dtype, fill, ("epoch", *axes))

    def write(self, epoch: int, rows: dict[str, NDArray[Any]]) -> None:
        """Sets rows of one epoch (from 0), by the array's name."""
        for name, row in rows.items():
            array = self._open(name, "r+")
            with naming(self.path / name):
                zarr_io.write_epoch(array, epoch, row)

    @property
    def trained(self) -> int:
        """Number of trained epochs: up to the last epoch that has a chunk in any array."""
        arrays = {name: self._open(name) for name in KINDS}
        if len({array.shape[0] for array in arrays.values()}) > 1:
            raise self._damaged(f"{self.path}: the arrays have unequal numbers of epochs")
        epochs = range(arrays["temperature"].shape[0])
        written = [e for e in epochs if any(self._has_row(n, arrays[n], e) for n in arrays)]
        return max(written, default=-1) + 1

    def read(self, name: str, epoch: int) -> NDArray[Any]:
        """One array's row of an epoch; negative epochs count from the end."""
        return self.read_all(name)[epoch]  # type: ignore[no-any-return]

    def read_all(self, name: str) -> NDArray[Any]:
        """One array over all epochs."""
        array = self._open(name)
        self._check_chunks(name, array)
        try:
            values = np.asarray(array[:])
        except zarr_io.DECODE_ERRORS as error:
            raise self._damaged(
                f"{self.path / name} does not decode ({shown(error, 300)})"
            ) from None
        if self._check:
            self._check()
        return values

    def write_prototypes(self, prototypes: NDArray[np.float32]) -> None:
        """The class prototypes (C, 256) at the end of training."""
        with naming(self.path / "prototype"):
            zarr_io.create_column(self.path, "prototype", prototypes, ("class", "feature"))

    def _check_chunks(self, name: str, array: Any) -> None:  # noqa: ANN401 - zarr's own type
        """Raises AclnetError if a chunk is missing, because zarr would read its rows as fill."""
        if name == _NOT_EVERY_EPOCH or (name == "family" and not self._is_whole()):
            return
        for row in range(self.trained if name in KINDS else 1):
            if not self._has_row(name, array, row):
                file = self.path / name / zarr_io.chunk_of_row(array, row)
                raise self._damaged(f"{file} is missing")

    def _has_row(self, name: str, array: Any, row: int) -> bool:  # noqa: ANN401 - zarr's own type
        return (self.path / name / zarr_io.chunk_of_row(array, row)).is_file()

    def _is_whole(self) -> bool:
        try:
            return bool(zarr_io.open_group(self.path).attrs.get(_WHOLE))
        except zarr_io.DECODE_ERRORS as error:
            raise self._unreadable("", error) from None

    def _open(self, name: str, mode: str = "r") -> Any:  # noqa: ANN401 - zarr's own type
        """An array with the rows of `KINDS`, each in one chunk."""
        if not self.path.is_dir():
            raise AclnetError(f"{self.path} has no {name}: no epoch has been trained yet")
        try:
            array = zarr_io.open_array(self.path, name, mode)
        except zarr_io.DECODE_ERRORS as error:
            raise self._unreadable(name, error) from None
        axes, dtype, _ = KINDS.get(name, (("feature",), "float32", 0))
        chunk = (1 if name in KINDS else array.shape[0], *array.shape[1:])
        if (array.ndim, array.dtype, array.chunks) != (1 + len(axes), np.dtype(dtype), chunk):
            raise self._unreadable(name, "it describes another array")
        return array

    def _unreadable(self, name: str, why: object) -> AclnetError:
        return self._damaged(
            f"{self.path / name / zarr_io.METADATA} is missing or damaged ({shown(why, 300)})"
        )

    def _damaged(self, problem: str) -> AclnetError:
        return AclnetError(
            f"{problem}; resume the training if it was interrupted in this epoch, "
            "or train again with --fresh"
        )
