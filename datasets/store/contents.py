"""What a store holds: preprocessed sequences as one immutable Zarr group.

`frames/*` hold person-tracks one after another (a sequence is n_persons x n_frames rows),
`samples/*` one value a sequence, `splits/<protocol>/<side>` a mask a side. Sequences lie inside one
shard; rows that belong to no sequence are NaN (`keypoint`), -1 (`index`) or False (`present`).

Nothing that is damaged is ever read as data: opening compares every file's size, and the metadata's
hash, with the manifest. A file's own hash is compared when an opened store reads it first, because
files of equal size may have been exchanged, and each chunk has a checksum of its own.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.spec import AclnetError, SkeletonSequence, shown
from aclnet.datasets.spec.records import parse_record
from aclnet.datasets.store import manifest as manifests
from aclnet.datasets.store import soundness, zarr_io
from aclnet.datasets.store.attributes import StoreAttributes
from aclnet.datasets.store.codec import decode_int16

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd
    from numpy.typing import NDArray


KEYPOINT, PRESENT, INDEX, SCORE = (
    "frames/keypoint",
    "frames/present",
    "frames/index",
    "frames/score",
)
AXES = {
    KEYPOINT: ("row", "joint", "coordinate"),
    PRESENT: ("row",),
    INDEX: ("row",),
    SCORE: ("row", "joint"),
    "samples/centre": ("sample", "coordinate"),
    "samples/rotation": ("sample", "coordinate", "raw_coordinate"),
}
"""Names of the dimensions of arrays; that of other columns and of masks is `sample`."""


class StoreContents:
    """A finished store, opened for reading.

    Raises AclnetError where `path` is no store, an unfinished one, or one with files that are
    missing, of another size, or metadata of another content than the manifest says.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest = manifests.load(self.path)
        self._files = self.manifest.all_files
        for name in self._files:
            self._check_size(name)
        self._check_content(zarr_io.METADATA)  # holds the metadata of all arrays
        self._compared: set[str] = set()
        with self._described():
            self._group = zarr_io.open_group(self.path)
            attributes = dict(self._group.attrs)
        self.attributes = parse_record(
            StoreAttributes, attributes, f"{self.path}", "prepare the store again"
        )
        self.layout = self.attributes.layout
        self.class_names = self.attributes.class_names
        self.shard_rows = self.attributes.shard_rows
        with self._described():
            self._arrays: dict[str, Any] = {n: self._group[n] for n in self._frame_arrays()}
            self._check_frames()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r}, {len(self)} samples)"

    def __len__(self) -> int:
        return len(self.column("start"))

    @property
    def name(self) -> str:
        """Name of the dataset, as `aclnet prepare` knows it."""
        return self.attributes.dataset

    @cached_property
    def digest(self) -> str:
        """Identity of the store's content: the same for a copy elsewhere."""
        return hashlib.sha256((self.path / manifests.NAME).read_bytes()).hexdigest()

    @cached_property
    def _columns(self) -> dict[str, NDArray[Any]]:
        return {}

    def column(self, name: str) -> NDArray[Any]:
        """One value a sample: `id`, `label`, `subject`, ..., `start`, `n_frames`, `n_persons`.

        Read-only, in the order of the rows. AclnetError where the column is damaged.
        """
        if name not in self._columns and name in soundness.PLACES:
            found = {place: self._read_column(place) for place in soundness.PLACES}
            with self._described():
                soundness.check_places(found, len(self.manifest.shards), self.shard_rows)
            self._columns.update(found)
        elif name not in self._columns:
            values = self._read_column(name)
            with self._described():
                soundness.check_column(name, values, len(self), len(self.class_names))
            self._columns[name] = values
        return self._columns[name]

    def _read_column(self, name: str) -> NDArray[Any]:
        with self._described():
            array: Any = self._group[f"samples/{name}"]
            if array.ndim == 0 or array.shape[0] > len(self.manifest.shards) * self.shard_rows:
                raise ValueError(f"samples/{name} is of shape {array.shape}")
        values = self._read(f"samples/{name}", array)
        if values.dtype.kind in "TO":
            values = np.array(values.tolist(), dtype=str)
        values.flags.writeable = False
        return values

    @cached_property
    def samples(self) -> pd.DataFrame:
        """The samples as a table, without the columns that hold a vector."""
        import pandas as pd

        with self._described():
            names = sorted(name for name, _ in self._samples_group().arrays())
        columns = {name: self.column(name) for name in names}
        return pd.DataFrame({n: c for n, c in columns.items() if c.ndim == 1})

    def _samples_group(self) -> Any:  # noqa: ANN401 - zarr's own type
        return self._group["samples"]

    @cached_property
    def splits(self) -> dict[str, NDArray[np.bool_]]:
        """Masks over the samples by `protocol/side`, for example `xsub/train`."""
        with self._described():
            groups = self._group["splits"].groups() if "splits" in self._group else ()  # type: ignore[union-attr]
            arrays = {
                f"{name}/{side}": mask for name, group in groups for side, mask in group.arrays()
            }
        found = {name: self._read(f"splits/{name}", arrays[name]) for name in sorted(arrays)}
        for name, mask in found.items():
            mask.flags.writeable = False
            if mask.shape != (len(self),) or mask.dtype != np.bool_:
                raise self._undescribed(f"splits/{name} is {mask.dtype} {mask.shape}")
        return found

    @property
    def protocols(self) -> list[str]:
        """The protocols of the store, the dataset's first one first."""
        return list(self.attributes.protocols)

    @property
    def default_protocol(self) -> str:
        """The first one; AclnetError where there is none."""
        if not self.protocols:
            raise AclnetError(
                f"{self.path} has no protocol: nothing told `aclnet prepare` who trains and who is "
                "tested. Say so by --split FILE.csv (columns id and split), or prepare it anew "
                "from an index with the column split"
            )
        return self.protocols[0]

    def classes_of(self, protocol: str) -> list[str]:
        """Names of the classes that take part in a protocol: of NTU-120's stores, NTU 60's too."""
        return self.class_names[: self.attributes.protocol_classes.get(protocol)]

    def mask(self, split: str) -> NDArray[np.bool_]:
        """(samples,) mask of a `protocol/side`; AclnetError that lists the known ones."""
        try:
            return self.splits[split]
        except KeyError:
            raise AclnetError(
                f"{self.path} has no split {split!r}; it has {', '.join(self.splits)}"
            ) from None

    @cached_property
    def shard_of(self) -> NDArray[np.int64]:
        """(samples,) shard of each sample."""
        return np.asarray(self.column("start") // self.shard_rows, dtype=np.int64)

    @property
    def coordinates(self) -> int:
        """C: coordinates of a joint."""
        return self.attributes.coordinates

    @property
    def has_score(self) -> bool:
        """Is there a confidence of each joint?"""
        return SCORE in self._arrays

    def read_shard(
        self, shard: int, *, score: bool = False
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """`keypoint` (rows, V, C) float32 and `present` (rows,) of one shard.

        With `score`, confidence is one channel more, the last. Raises AclnetError that names the
        file where the shard is gone or does not decode.
        """
        rows = slice(shard * self.shard_rows, (shard + 1) * self.shard_rows)
        keypoint = self._rows(KEYPOINT, rows)
        if score:
            confidence = self._rows(SCORE, rows)[..., None]
            keypoint = np.concatenate([keypoint, confidence], axis=-1)
        return keypoint, self._rows(PRESENT, rows)

    def read_frame_numbers(self, shard: int) -> NDArray[np.int32]:
        """(rows,) number of each row's frame in its recording; AclnetError as `read_shard`."""
        rows = slice(shard * self.shard_rows, (shard + 1) * self.shard_rows)
        return self._rows(INDEX, rows)

    def sequence(self, sample: int | str) -> SkeletonSequence:
        """One sequence by its row in `samples` or its id, as it is stored (normalised).

        The raw coordinates are keypoint @ rotation + centre (columns of those names), see
        `aclnet.pipelines.steps.normalise.denormalise`, unless the size of bodies was taken out.
        Raises AclnetError for an unknown id and for damaged data.
        """
        row = self._row_of(sample) if isinstance(sample, str) else int(sample)
        return self._sequence(row, self._rows)

    def sequences(self, samples: NDArray[np.int64]) -> Iterator[SkeletonSequence]:
        """As `sequence`, of many rows in ascending order; one shard is decoded at a time."""
        shards = self.shard_of[samples]
        for shard in np.unique(shards).tolist():
            begin = shard * self.shard_rows
            rows = slice(begin, begin + self.shard_rows)
            blocks = {name: self._rows(name, rows) for name in self._arrays}
            for row in samples[shards == shard].tolist():
                yield self._sequence(row, partial(_part, blocks, begin))

    def packed_rows(self) -> Iterator[dict[str, NDArray[Any]]]:
        """Each shard's rows of sequences, in the order of the samples, none between them.

        By the names `keypoint`, `present`, `index` and, where there is one, `score`.
        """
        starts = self.column("start").astype(np.int64)
        sizes = self.column("n_persons").astype(np.int64) * self.column("n_frames")
        for shard in np.unique(self.shard_of).tolist():
            begin = shard * self.shard_rows
            used = np.zeros(self.shard_rows, np.bool_)
            for sample in np.flatnonzero(self.shard_of == shard):
                used[starts[sample] - begin :][: sizes[sample]] = True
            rows = slice(begin, begin + self.shard_rows)
            yield {n.partition("/")[2]: self._rows(n, rows)[used] for n in self._arrays}

    def _sequence(self, row: int, read: Callable[[str, slice], NDArray[Any]]) -> SkeletonSequence:
        """The sequence of a row in `samples`; `read` gives rows of a frames array."""
        persons, frames = (int(self.column(n)[row]) for n in ("n_persons", "n_frames"))
        start = int(self.column("start")[row])
        rows = slice(start, start + persons * frames)

        def tracks(name: str) -> NDArray[Any]:
            block = read(name, rows)
            return block.reshape(persons, frames, *block.shape[1:])

        return SkeletonSequence(
            sample_id=str(self.column("id")[row]),
            keypoint=tracks(KEYPOINT),
            label=int(self.column("label")[row]),
            present=tracks(PRESENT),
            frame_index=tracks(INDEX)[0],
            score=tracks(SCORE) if self.has_score else None,
            subject=int(self.column("subject")[row]),
            camera=int(self.column("camera")[row]),
            setup=int(self.column("setup")[row]),
            replication=int(self.column("replication")[row]),
            width=int(self.column("width")[row]),
            height=int(self.column("height")[row]),
            condition=str(self.column("condition")[row]),
            source=str(self.column("source")[row]),
        )

    def _frame_arrays(self) -> list[str]:
        return sorted(f"frames/{name}" for name, _ in self._group["frames"].arrays())  # type: ignore[union-attr]

    def _check_frames(self) -> None:
        """ValueError where the arrays of frames are not those that the attributes describe."""
        missing = [name for name in (KEYPOINT, PRESENT, INDEX) if name not in self._arrays]
        if missing:
            raise ValueError(f"there is no {missing[0]}")
        joints = self.layout.num_joints
        shapes: dict[str, tuple[int, ...]] = {KEYPOINT: (joints, self.coordinates)}
        shapes |= {PRESENT: (), INDEX: (), SCORE: (joints,)}
        rows = len(self.manifest.shards) * self.shard_rows
        for name, array in self._arrays.items():
            soundness.check_frames(name, array, rows, self.shard_rows, shapes[name])

    def _rows(self, name: str, rows: slice) -> NDArray[Any]:
        """Rows of a frames array that lie in one shard; fixed point becomes float32."""
        array = self._arrays[name]
        block = self._read(name, array, rows, rows.start // self.shard_rows)
        if block.dtype == np.int16:
            return decode_int16(block, float(array.attrs["scale"]))
        return block

    def _read(
        self,
        name: str,
        array: Any,  # noqa: ANN401 - zarr's own type
        rows: slice = slice(None),
        shard: int = 0,
    ) -> NDArray[Any]:
        """Rows of an array that lie in one file."""
        file = zarr_io.shard_file(name, shard, array.ndim)
        self._check_size(file)  # zarr reads a file that is gone as fill
        if file not in self._compared:
            self._check_content(file)
            self._compared.add(file)
        try:
            if rows == slice(None):
                return zarr_io.read_column(self.path, name, array)
            return np.asarray(array[rows])
        except zarr_io.DECODE_ERRORS as error:
            raise self._damaged(
                f"{self.path / file} does not decode ({shown(error, 300)})"
            ) from None

    @contextmanager
    def _described(self) -> Iterator[None]:
        """Inside, metadata that do not describe the store are an AclnetError."""
        try:
            yield
        except zarr_io.DECODE_ERRORS as error:
            raise self._undescribed(error) from None

    def _undescribed(self, why: object) -> AclnetError:
        return self._damaged(
            f"{self.path / zarr_io.METADATA} describes no store ({shown(why, 300)})"
        )

    def _check_size(self, name: str) -> None:
        file = self._files.get(name)
        if file is None:
            raise self._damaged(f"{self.path / manifests.NAME} lacks {name}")
        problem = manifests.check_size(self.path / name, file)
        if problem:
            raise self._damaged(problem)

    def _check_content(self, name: str) -> None:
        file = self.path / name
        try:
            same = manifests.describe_file(file) == self._files.get(name)
        except OSError as error:
            raise self._damaged(f"{file} cannot be read ({error.strerror})") from None
        if not same:
            raise self._damaged(f"{file} has other bytes than were written")

    def _damaged(self, problem: str) -> AclnetError:
        return AclnetError(
            f"{problem}; `aclnet verify {self.path}` says what is damaged, "
            "`aclnet prepare` with --overwrite makes the store again"
        )

    def _row_of(self, sample_id: str) -> int:
        found = np.flatnonzero(self.column("id") == sample_id)
        if not len(found):
            raise AclnetError(f"{self.path} has no sample {sample_id!r}")
        return int(found[0])


def _part(blocks: dict[str, NDArray[Any]], begin: int, name: str, rows: slice) -> NDArray[Any]:
    """Rows of the store that lie in a shard's blocks, copied: they outlive the shard."""
    return blocks[name][rows.start - begin : rows.stop - begin].copy()
