"""The store: preprocessed sequences as one immutable Zarr group.

`frames/*` hold person-tracks one after another (a sequence is n_persons x n_frames rows),
`samples/*` one value a sequence, `splits/<protocol>/<side>` a mask a side. Sequences lie inside one
shard; rows that belong to no sequence are NaN (`keypoint`), -1 (`index`) or False (`present`).
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets import manifest as manifests
from aclnet.datasets import zarr_io
from aclnet.datasets.errors import AclnetError
from aclnet.datasets.layouts import Layout
from aclnet.datasets.sequence import Sequence
from aclnet.datasets.stream import Stream

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from aclnet.datasets.stream import Sampling

KEYPOINT, PRESENT, INDEX, SCORE = (
    "frames/keypoint",
    "frames/present",
    "frames/index",
    "frames/score",
)
INT16_FILL = -32768


class Store:
    """A finished store, opened for reading.

    Raises AclnetError where `path` is no store, or an unfinished or visibly damaged one.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest = manifests.load(self.path)
        for name, file in self.manifest.all_files.items():
            problem = manifests.check_size(self.path / name, file)
            if problem:
                raise AclnetError(f"{problem}; `aclnet verify {path}` says what is damaged")
        self._group = zarr_io.open_group(self.path)
        self.attributes: dict[str, Any] = dict(self._group.attrs)
        self.layout = Layout.model_validate(self.attributes["layout"])
        self.class_names: list[str] = list(self.attributes["class_names"])
        self.shard_rows: int = self.attributes["shard_rows"]
        self._arrays = {name: self._group[name] for name in self._frame_arrays()}

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}, {len(self)} samples)"

    def __len__(self) -> int:
        return len(self.column("start"))

    @property
    def name(self) -> str:
        """Name of the dataset, as `aclnet prepare` knows it."""
        return str(self.attributes["dataset"])

    @cached_property
    def digest(self) -> str:
        """Identity of the store's content: the same for a copy elsewhere."""
        return hashlib.sha256((self.path / manifests.NAME).read_bytes()).hexdigest()

    @cached_property
    def _columns(self) -> dict[str, NDArray[Any]]:
        return {}

    def column(self, name: str) -> NDArray[Any]:
        """One value a sample: `id`, `label`, `subject`, ..., `start`, `n_frames`, `n_persons`."""
        if name not in self._columns:
            values = np.asarray(self._group[f"samples/{name}"])
            text = values.dtype.kind in "TO"
            self._columns[name] = np.array(values.tolist(), dtype=str) if text else values
        return self._columns[name]

    @cached_property
    def samples(self) -> pd.DataFrame:
        """The samples as a table, without the columns that hold a vector."""
        import pandas as pd

        names = sorted(name for name, _ in self._samples_group().arrays())
        columns = {name: self.column(name) for name in names}
        return pd.DataFrame({n: c for n, c in columns.items() if c.ndim == 1})

    def _samples_group(self) -> Any:  # noqa: ANN401 - zarr's own type
        return self._group["samples"]

    @cached_property
    def splits(self) -> dict[str, NDArray[np.bool_]]:
        """Masks over the samples by `protocol/side`, for example `xsub/train`."""
        found = {}
        for protocol, group in self._group["splits"].groups():  # type: ignore[union-attr]
            for side, mask in group.arrays():
                found[f"{protocol}/{side}"] = np.asarray(mask, dtype=bool)
        return dict(sorted(found.items()))

    @property
    def protocols(self) -> list[str]:
        """The protocols of the store, the dataset's first one first."""
        return list(self.attributes["protocols"])

    def mask(self, split: str) -> NDArray[np.bool_]:
        """Mask of a `protocol/side`; an unknown name is an AclnetError that lists the known."""
        try:
            return self.splits[split]
        except KeyError:
            raise AclnetError(
                f"{self.path} has no split {split!r}; it has {', '.join(self.splits)}"
            ) from None

    @cached_property
    def shard_of(self) -> NDArray[np.int64]:
        """Shard of each sample."""
        return np.asarray(self.column("start") // self.shard_rows, dtype=np.int64)

    def read_shard(self, shard: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """`keypoint` (rows, V, C) float32 and `present` (rows,) of one shard.

        Raises AclnetError that names the file where the shard does not decode.
        """
        return self._rows(KEYPOINT, shard), self._rows(PRESENT, shard)

    def sequence(self, sample: int | str) -> Sequence:
        """One sequence by its row in `samples` or its id, as it is stored (normalised)."""
        row = sample if isinstance(sample, int) else self._row_of(sample)
        shard = int(self.shard_of[row])
        persons, frames = (int(self.column(n)[row]) for n in ("n_persons", "n_frames"))
        start = int(self.column("start")[row]) - shard * self.shard_rows
        rows = slice(start, start + persons * frames)

        def tracks(name: str) -> NDArray[Any]:
            block = self._rows(name, shard)[rows]
            return block.reshape(persons, frames, *block.shape[1:])

        return Sequence(
            sample_id=str(self.column("id")[row]),
            keypoint=tracks(KEYPOINT),
            label=int(self.column("label")[row]),
            present=tracks(PRESENT),
            frame_index=tracks(INDEX)[0],
            score=tracks(SCORE) if SCORE in self._arrays else None,
            subject=int(self.column("subject")[row]),
            camera=int(self.column("camera")[row]),
            setup=int(self.column("setup")[row]),
            replication=int(self.column("replication")[row]),
            width=int(self.column("width")[row]),
            height=int(self.column("height")[row]),
            condition=str(self.column("condition")[row]),
            source=str(self.column("source")[row]),
        )

    def stream(
        self,
        split: str | NDArray[np.bool_],
        *,
        batch_size: int,
        sampling: Sampling,
        seed: int = 0,
        shuffle: bool = True,
        motion: bool = False,
        balance: bool = False,
        window: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> Stream:
        """Batches of a split for training or evaluation; see `aclnet.datasets.stream.Stream`."""
        return Stream(
            self,
            self.mask(split) if isinstance(split, str) else split,
            batch_size=batch_size,
            sampling=sampling,
            seed=seed,
            shuffle=shuffle,
            motion=motion,
            balance=balance,
            window=window,
            rank=rank,
            world=world,
        )

    def _frame_arrays(self) -> list[str]:
        return sorted(f"frames/{name}" for name, _ in self._group["frames"].arrays())  # type: ignore[union-attr]

    def _rows(self, name: str, shard: int) -> NDArray[Any]:
        array = self._arrays[name]
        rows = slice(shard * self.shard_rows, (shard + 1) * self.shard_rows)
        try:
            block = np.asarray(array[rows])  # type: ignore[index]
        except (ValueError, RuntimeError, OSError) as error:
            file = self.path / zarr_io.shard_file(name, shard, array.ndim)  # type: ignore[union-attr]
            raise AclnetError(
                f"{file} does not decode ({error}); `aclnet verify {self.path}` says what it held"
            ) from None
        if block.dtype == np.int16:
            return decode_int16(block, float(array.attrs["scale"]))  # type: ignore[arg-type]
        return block

    def _row_of(self, sample_id: str) -> int:
        found = np.flatnonzero(self.column("id") == sample_id)
        if not len(found):
            raise AclnetError(f"{self.path} has no sample {sample_id!r}")
        return int(found[0])


def content_hash(blocks: list[NDArray[Any]]) -> str:
    """sha256 of arrays' dtypes, shapes and values (little-endian)."""
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(f"{block.dtype.str}{block.shape}".encode())
        digest.update(np.ascontiguousarray(block).astype(block.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def encode_int16(values: NDArray[np.float32], scale: float) -> NDArray[np.int16]:
    """Fixed point: round(x / scale), NaN as -32768."""
    missing = np.isnan(values)
    steps = np.rint(np.where(missing, 0.0, values) / scale)
    return np.where(missing, INT16_FILL, steps).astype(np.int16)


def decode_int16(steps: NDArray[np.int16], scale: float) -> NDArray[np.float32]:
    """The inverse of `encode_int16`, to half a scale."""
    values = steps.astype(np.float32) * np.float32(scale)
    values[steps == INT16_FILL] = np.nan
    return values
