"""The contents of a store: preprocessed sequences as one immutable Zarr group.

`frames/*` hold person-tracks one after another (a sequence is n_persons x n_frames rows),
`samples/*` one value per sequence, `splits/<protocol>/<side>` a mask per side. Each sequence is
inside one shard; rows that belong to no sequence are NaN (`keypoint`), -1 (`index`) or False
(`present`).

`keys/*` hold a hash of each id, so that a stream need not read and hash the ids.

The files are in a folder or in an object store (`aclnet.datasets.store.files`). Damaged files are
never read as data: opening compares every file's size, and the metadata's hash, with the manifest.
If several processes train, the first one compares the sizes of shards. A file's own hash is
compared when an opened store first reads it, because files of equal size may have been exchanged.
Each chunk also has a checksum.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aclnet.datasets.spec import AclnetError, SkeletonSequence, did_you_mean, first_of, shown
from aclnet.datasets.spec.records import parse_record
from aclnet.datasets.store import keyed_random, machine, soundness, zarr_io
from aclnet.datasets.store import manifest as manifests
from aclnet.datasets.store.attributes import StoreAttributes
from aclnet.datasets.store.codec import decode_int16
from aclnet.datasets.store.files import DamagedFileError
from aclnet.datasets.store.paths import store_path
from aclnet.datasets.store.places import open_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import PurePath

    import pandas as pd
    from numpy.typing import NDArray

    from aclnet.datasets.store.paths import StorePath


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
"""Names of the dimensions of arrays; the dimension of other columns and of masks is `sample`."""
FILL: dict[str, Any] = {KEYPOINT: np.nan, PRESENT: False, INDEX: -1, SCORE: np.nan}
"""Values of rows that belong to no sequence."""


class FrameArray(NamedTuple):
    """Facts about an array of frames."""

    shape: tuple[int, ...]
    dtype: str
    bytes: int
    """Size in memory."""
    stored: int
    """Size on disk, in bytes."""


class StoreContents:
    """A finished store, opened for reading.

    Raises AclnetError if `path` is not a store or an unfinished one, if files are missing or have
    another size, or if the metadata differ from the manifest.
    """

    def __init__(self, path: str | PurePath) -> None:
        self._source = open_files(store_path(path))
        self.path = self._source.path
        self.distant = self._source.distant
        listing = self._source.listing()
        self._digest = hashlib.sha256(listing).hexdigest()
        self.manifest_bytes = len(listing)
        self.manifest = manifests.parse(listing, self.path)
        self._files = self.manifest.all_files
        first = machine.is_first_process()
        for fault in self._source.wrong_sizes(self._files if first else self.manifest.files):
            raise self._damaged(fault)
        self._compared: set[str] = set()
        metadata = self._content(zarr_io.METADATA)
        with self._described():
            self._group = zarr_io.open_metadata(metadata)
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
    def paths(self) -> tuple[StorePath, ...]:
        """Paths that open this store again, see `aclnet.datasets.opening.open_store`."""
        return (self.path,)

    @property
    def members(self) -> tuple[StoreContents, ...]:
        """The stores of a set, in their order; none, if this is a single store."""
        return ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """Differences between the members of a set that may be mistakes, in sentences."""
        return ()

    @property
    def shards(self) -> int:
        """Number of shards."""
        return len(self.manifest.shards)

    @property
    def name(self) -> str:
        """Name of the dataset, as `aclnet prepare` knows it."""
        return self.attributes.dataset

    @property
    def digest(self) -> str:
        """Identity of the store's content: a copy of the store has the same."""
        return self._digest

    @cached_property
    def _columns(self) -> dict[str, NDArray[Any]]:
        return {}

    def column(self, name: str) -> NDArray[Any]:
        """One value per sample: `id`, `label`, `subject`, ..., `start`, `n_frames`, `n_persons`.

        Read-only, in the order of the rows. Raises AclnetError if the column is damaged.
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
        values = self._read_whole(f"samples/{name}", array)
        values.flags.writeable = False
        return values

    @cached_property
    def samples(self) -> pd.DataFrame:
        """The samples as a table, without the columns that hold a vector."""
        import pandas as pd

        columns = {name: self.column(name) for name in self.column_names}
        return pd.DataFrame({n: c for n, c in columns.items() if c.ndim == 1})

    @property
    def column_names(self) -> list[str]:
        """Names of the columns, in the order of the alphabet."""
        with self._described():
            return sorted(name for name, _ in self._group["samples"].arrays())  # type: ignore[union-attr]

    @cached_property
    def splits(self) -> dict[str, NDArray[np.bool_]]:
        """Masks over the samples by `protocol/side`, for example `xsub/train`."""
        with self._described():
            groups = self._group["splits"].groups() if "splits" in self._group else ()  # type: ignore[union-attr]
            arrays = {
                f"{name}/{side}": mask for name, group in groups for side, mask in group.arrays()
            }
        found = {name: self._read_whole(f"splits/{name}", arrays[name]) for name in sorted(arrays)}
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
        """The first protocol; raises AclnetError if there is none."""
        if not self.protocols:
            raise AclnetError(
                f"{self.path} has no protocol: its raw data did not divide the samples for "
                "training and test. Give --split FILE.csv (columns id and split), or prepare the "
                "store again from an index with the column split"
            )
        return self.protocols[0]

    def classes_of(self, protocol: str) -> list[str]:
        """Names of the classes that take part in a protocol; NTU-120's stores have NTU 60's too."""
        return [self.class_names[label] for label in self.labels_of(protocol)]

    def labels_of(self, protocol: str) -> list[int]:
        """Numbers of the classes that take part in a protocol, ascending."""
        return [*range(len(self.class_names))][: self.attributes.protocol_classes.get(protocol)]

    def mask(self, split: str) -> NDArray[np.bool_]:
        """(samples,) mask of a `protocol/side`; raises AclnetError that lists the known ones."""
        try:
            return self.splits[split]
        except KeyError:
            raise AclnetError(
                f"{self.path} has no split {split!r}{did_you_mean(split, self.splits)}; "
                f"it has {', '.join(self.splits)}"
            ) from None

    @cached_property
    def shard_of(self) -> NDArray[np.int64]:
        """(samples,) shard of each sample."""
        return np.asarray(self.column("start") // self.shard_rows, dtype=np.int64)

    @cached_property
    def sample_keys(self) -> NDArray[np.int64]:
        """(samples,) key of each sample's id, see `keyed_random.sample_keys`."""
        return self._keys("id")

    @cached_property
    def recording_keys(self) -> NDArray[np.int64]:
        """(samples,) key of the recording (`original`) that each sample comes from."""
        return self._keys("original")

    def _keys(self, column: str) -> NDArray[np.int64]:
        name = f"keys/{column}"
        if zarr_io.shard_file(name, 0, 1) not in self._files:  # a store of an earlier version
            return keyed_random.sample_keys(self.column(column))
        with self._described():
            array: Any = self._group[name]
            if array.shape != (len(self),) or array.dtype != np.int64:
                raise ValueError(f"{name} is {array.dtype} {array.shape}")
        return self._read_whole(name, array)

    @property
    def coordinates(self) -> int:
        """C: coordinates of a joint."""
        return self.attributes.coordinates

    @property
    def has_score(self) -> bool:
        """True if each joint has a confidence."""
        return SCORE in self._arrays

    def read_shard(
        self, shard: int, *, score: bool = False
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """`keypoint` (rows, V, C) float32 and `present` (rows,) of one shard.

        With `score`, the confidence is an additional last channel. Raises AclnetError that names
        the file if the shard is missing or cannot be decoded.
        """
        rows = slice(shard * self.shard_rows, (shard + 1) * self.shard_rows)
        keypoint = self.read_rows(KEYPOINT, rows)
        if score:
            confidence = self.read_rows(SCORE, rows)[..., None]
            keypoint = np.concatenate([keypoint, confidence], axis=-1)
        return keypoint, self.read_rows(PRESENT, rows)

    def read_frame_numbers(self, shard: int) -> NDArray[np.int32]:
        """(rows,) number of each row's frame in its recording.

        Raises AclnetError as `read_shard`.
        """
        rows = slice(shard * self.shard_rows, (shard + 1) * self.shard_rows)
        return self.read_rows(INDEX, rows)

    def sequence(self, sample: int | str) -> SkeletonSequence:
        """One sequence by its row in `samples` or its id, as it is stored (normalised).

        The raw coordinates are keypoint @ rotation + centre (columns of those names), see
        `aclnet.pipelines.steps.normalise.denormalise`, unless body size was removed. Raises
        AclnetError for an unknown id and for damaged data.
        """
        row = self.row_of(sample) if isinstance(sample, str) else int(sample)
        return self._sequence(row, self.read_rows)

    def sequences(self, samples: NDArray[np.int64]) -> Iterator[SkeletonSequence]:
        """The sequences of many rows in ascending order; one shard is decoded at a time."""
        shards = self.shard_of[samples]
        for shard in np.unique(shards).tolist():
            begin = shard * self.shard_rows
            rows = slice(begin, begin + self.shard_rows)
            blocks = {name: self.read_rows(name, rows) for name in self._arrays}
            for row in samples[shards == shard].tolist():
                yield self._sequence(row, partial(_part, blocks, begin))

    def packed_rows(self) -> Iterator[dict[str, NDArray[Any]]]:
        """Each shard's rows of sequences, in the order of the samples, without other rows.

        The arrays are named `keypoint`, `present`, `index` and, if the store has it, `score`.
        """
        starts = self.column("start").astype(np.int64)
        sizes = self.column("n_persons").astype(np.int64) * self.column("n_frames")
        for shard in np.unique(self.shard_of).tolist():
            begin = shard * self.shard_rows
            used = np.zeros(self.shard_rows, np.bool_)
            for sample in np.flatnonzero(self.shard_of == shard):
                used[starts[sample] - begin :][: sizes[sample]] = True
            rows = slice(begin, begin + self.shard_rows)
            yield {n.partition("/")[2]: self.read_rows(n, rows)[used] for n in self._arrays}

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

    def frame_arrays(self) -> dict[str, FrameArray]:
        """The arrays of frames by name, for example `frames/keypoint`."""
        return {
            name: FrameArray(
                array.shape, str(array.dtype), array.nbytes, self.stored_bytes(f"{name}/")
            )
            for name, array in self._arrays.items()
        }

    def stored_bytes(self, below: str = "") -> int:
        """Size on disk of all files that the manifest lists, or of those below a folder."""
        return sum(f.bytes for name, f in self._files.items() if name.startswith(below))

    def _frame_arrays(self) -> list[str]:
        return sorted(f"frames/{name}" for name, _ in self._group["frames"].arrays())  # type: ignore[union-attr]

    def _check_frames(self) -> None:
        """Raises ValueError if the arrays of frames do not agree with the attributes."""
        missing = [name for name in (KEYPOINT, PRESENT, INDEX) if name not in self._arrays]
        if missing:
            raise ValueError(f"there is no {missing[0]}")
        joints = self.layout.num_joints
        shapes: dict[str, tuple[int, ...]] = {KEYPOINT: (joints, self.coordinates)}
        shapes |= {PRESENT: (), INDEX: (), SCORE: (joints,)}
        rows = len(self.manifest.shards) * self.shard_rows
        for name, array in self._arrays.items():
            soundness.check_frames(name, array, rows, self.shard_rows, shapes[name])

    def read_rows(self, name: str, rows: slice) -> NDArray[Any]:
        """Rows of an array of frames that are in one shard; fixed point becomes float32."""
        array = self._arrays[name]
        block = self._read(name, array, rows, rows.start // self.shard_rows)
        if block.dtype == np.int16:
            return decode_int16(block, float(array.attrs["scale"]))
        return block

    def _read(self, name: str, array: Any, rows: slice, shard: int) -> NDArray[Any]:  # noqa: ANN401 - zarr's own type
        """Rows of an array that are in one file."""
        file = zarr_io.shard_file(name, shard, array.ndim)
        content = self._content(file)
        with self._decoding(file):
            return zarr_io.decode(array, file, content, rows)

    def _read_whole(self, name: str, array: Any) -> NDArray[Any]:  # noqa: ANN401 - zarr's own type
        """All of a column, of a mask or of keys."""
        with self._described():
            for file in zarr_io.column_files(name, array):
                self._listed(file)
        with self._decoding(name if array.shape[0] > array.chunks[0] else file):
            return zarr_io.read_column(name, array, self._content)

    @contextmanager
    def _decoding(self, file: str) -> Iterator[None]:
        """Raises AclnetError that names a file for errors of its decoding in the block."""
        try:
            yield
        except zarr_io.DECODE_ERRORS as error:
            raise self._damaged(
                f"{self.path / file} does not decode ({shown(error, 300)})"
            ) from None

    def _content(self, name: str) -> bytes:
        """The content of a file, which is compared with the manifest: size, and once the hash."""
        file, compare = self._listed(name), name not in self._compared
        try:
            content = self._source.read(name, file, compare=compare)
        except DamagedFileError as fault:
            raise self._damaged(fault) from None
        self._compared.add(name)
        return content

    def _listed(self, name: str) -> manifests.File:
        """Entry of a file in the manifest; raises AclnetError if it does not list the file."""
        try:
            return self._files[name]
        except KeyError:
            raise self._damaged(f"{self.path / manifests.NAME} lacks {name}") from None

    @contextmanager
    def _described(self) -> Iterator[None]:
        """Raises AclnetError for metadata in the block that do not describe the store."""
        try:
            yield
        except zarr_io.DECODE_ERRORS as error:
            raise self._undescribed(error) from None

    def _undescribed(self, why: object) -> AclnetError:
        return self._damaged(
            f"{self.path / zarr_io.METADATA} describes no store ({shown(why, 300)})"
        )

    def _damaged(self, problem: object) -> AclnetError:
        return AclnetError(
            f"{problem}; `aclnet verify {self.path}` shows all damage, `aclnet prepare` with "
            "--overwrite writes the store again"
        )

    def row_of(self, sample_id: str) -> int:
        """The row of a sample in `samples`; raises AclnetError that suggests a similar id."""
        ids = self.column("id")
        found = np.flatnonzero(ids == sample_id)
        if not len(found):
            known = ids.tolist()
            raise AclnetError(
                f"{self.path} has no sample {sample_id!r}{did_you_mean(sample_id, known)}; "
                f"its ids are {first_of(known, 3)}"
            )
        return int(found[0])


def _part(blocks: dict[str, NDArray[Any]], begin: int, name: str, rows: slice) -> NDArray[Any]:
    """Copies of the store's rows in a shard's blocks, which outlive the shard."""
    return blocks[name][rows.start - begin : rows.stop - begin].copy()
