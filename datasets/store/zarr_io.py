"""Every call into zarr, so that only this module depends on zarr's version."""

from __future__ import annotations

import warnings
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numcodecs import blosc
from zarr.abc.buffer import Buffer
from zarr.buffer import cpu
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import MemoryStore, StorePath

from aclnet.datasets.formats.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

# Blosc alone silently decodes a flipped bit to wrong numbers; the checksum detects it.
_CODECS = [BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"), Crc32cCodec()]
_CHECKSUM_BYTES = 4
_CHUNK_BYTES = 3 << 19  # 4,096 rows of 25 joints; reading half as many at a time was a tenth slower

COLUMN_ROWS = 1 << 18
"""Rows of a chunk of a column. Blosc compresses at most 2 GB, and a text may have 4 kB."""

Group = zarr.Group
"""zarr's type of an open group, for the signatures of other modules."""
METADATA = "zarr.json"
"""File of a group's or an array's metadata."""
UNFINISHED = ".partial"
"""Suffix of zarr's files that are being written; they stay if the process is killed."""
DECODE_ERRORS = (
    ValueError,
    RuntimeError,
    OSError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    MemoryError,
    SystemError,  # Blosc raises it for sizes that damaged bytes announce
)
"""Exceptions that zarr and its codecs raise on damaged chunks and metadata."""

_EMPTY = (2**64 - 1, 2**64 - 1)
"""Offset and length, in the index of a shard, of a chunk that has fill values alone."""

# An absent file must mean damage, never "all fill".
_WHOLE: Any = {"write_empty_chunks": True}


def create_group(path: Path, attributes: dict[str, Any]) -> None:
    """An empty Zarr v3 group."""
    zarr.create_group(path, attributes=attributes, overwrite=True)


def set_attributes(path: Path, name: str, attributes: dict[str, Any]) -> None:
    """Adds attributes to the array or group `name` of the group at `path` ("" for itself)."""
    node: Any = zarr.open_group(path, mode="r+")
    (node[name] if name else node).attrs.update(attributes)


def consolidate(path: Path) -> None:
    """Copies all metadata into the root, so that opening takes one read.

    It also keeps zarr from warning about the file beside the arrays (manifest.json).
    """
    with warnings.catch_warnings():
        # it is not yet part of the format, but all readers support it
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(path)


def can_be_opened(path: Path, names: Iterable[str]) -> bool:
    """True if the group at `path` and these arrays exist, with readable metadata."""
    try:
        open_group(path)
        for name in names:
            open_array(path, name)
            open_group((path / name).parent)
    except DECODE_ERRORS:
        return False
    return True


def create_frames(
    path: Path,
    name: str,
    *,
    shards: int,
    shard_rows: int,
    row_shape: tuple[int, ...],
    dtype: str,
    fill: float,
    axes: tuple[str, ...],
) -> None:
    """An array of `shards` x `shard_rows` rows, one file per shard, inner chunks of about 1 MB.

    `axes` names its dimensions, as xarray needs.
    """
    row_bytes = int(np.prod(row_shape, dtype=int)) * np.dtype(dtype).itemsize
    chunk_rows = shard_rows
    while chunk_rows % 2 == 0 and chunk_rows * row_bytes > _CHUNK_BYTES:
        chunk_rows //= 2
    zarr.open_group(path, mode="r+").create_array(
        name,
        shape=(shards * shard_rows, *row_shape),
        shards=(shard_rows, *row_shape),
        chunks=(chunk_rows, *row_shape),
        dtype=dtype,
        compressors=_CODECS,
        fill_value=fill,
        dimension_names=axes,
        config=_WHOLE,
    )


def create_column(
    path: Path,
    name: str,
    values: NDArray[Any],
    axes: tuple[str, ...],
    order: NDArray[np.int64] | None = None,
) -> None:
    """An array of one row per sample, in chunks of `COLUMN_ROWS` rows, or fewer if it is shorter.

    `order` (rows,) tells which row comes first, second, ...; None: as they are. Strings become
    variable-length UTF-8.
    """
    text = values.dtype.kind in "UOT"
    rows = min(max(1, len(values)), COLUMN_ROWS)
    array = zarr.open_group(path, mode="r+").create_array(
        name,
        shape=values.shape,
        chunks=(rows, *(max(1, int(n)) for n in values.shape[1:])),
        dtype=str if text else values.dtype,
        compressors=_CODECS,
        dimension_names=axes,
        config=_WHOLE,
        overwrite=True,  # a resumed preparation writes its columns again
    )
    if order is None:
        order = np.arange(len(values))
    for number, begin in enumerate(range(0, len(values) if values.size else 0, rows)):
        chunk = slice(begin, begin + rows)
        chosen = order[chunk]
        if text:
            texts = (values[row] for row in chosen)  # a copy of all would take as much as `values`
            _write_texts(path / shard_file(name, number, 1), texts, rows)
        else:
            array[chunk] = values[chosen]


def _write_texts(file: Path, texts: Iterable[str], rows: int) -> None:
    """Writes a chunk of `rows` texts; those that are not given are empty.

    It needs a third of the memory that zarr does, which makes Python objects of all texts (6 MB
    instead of 18 MB for 50,000 ids). The bytes are the same.
    """
    content = bytearray(rows.to_bytes(4, "little"))
    for text in islice(chain(texts, repeat("")), rows):
        encoded = text.encode()
        content += len(encoded).to_bytes(4, "little") + encoded
    values = np.frombuffer(content, dtype=np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary:
        temporary.write_bytes(_encoder(values.shape, values.dtype, _CODECS)(values))


class _Files(dict[str, Buffer]):
    """Contents of files, for zarr's store in memory."""

    def __missing__(self, name: str) -> Buffer:
        raise ValueError(f"{name} was not read")  # zarr takes a KeyError for a chunk of fill values


def _held(name: str, content: bytes) -> MemoryStore:
    """A zarr store of one file."""
    return MemoryStore(_Files({name: cpu.Buffer.from_bytes(content)}), read_only=True)


def open_metadata(content: bytes) -> zarr.Group:
    """The group whose consolidated metadata `content` is; decode its arrays with `decode`.

    Raises one of DECODE_ERRORS.
    """
    return zarr.open_group(_held(METADATA, content), mode="r", zarr_format=3, use_consolidated=True)


def decode(array: Any, file: str, content: bytes, rows: slice) -> NDArray[Any]:  # noqa: ANN401 - zarr's own type
    """Rows of an array of `open_metadata` that are in one file, from the content of the file.

    Raises one of DECODE_ERRORS.
    """
    place = StorePath(_held(file, content), array.path)
    return np.asarray(zarr.Array(zarr.AsyncArray(array.metadata, place))[rows])


def read_column(name: str, array: Any, read: Callable[[str], bytes]) -> NDArray[Any]:  # noqa: ANN401 - zarr's own type
    """All of an array that `create_column` wrote; raises one of DECODE_ERRORS for another array.

    `read` returns the content of a file of the group. The announced size is compared with the files
    first, because zarr allocates all of it. Stores of earlier versions have columns of any length
    in one chunk.
    """
    text = array.dtype.kind in "TO"
    parts = []
    for number, file in enumerate(column_files(name, array)):
        content = read(file)
        if text:
            _check_texts(content, array)
        rows = array.chunks[0]
        part = decode(array, file, content, slice(number * rows, (number + 1) * rows))
        # Python's strings of one chunk at a time take less memory than those of all
        parts.append(np.array(part.tolist(), dtype=str) if text else part)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def column_files(name: str, array: Any) -> Iterator[str]:  # noqa: ANN401 - zarr's own type
    """Paths, relative to the group, of the files of an array that `create_column` wrote.

    Damaged metadata can announce any number of them. Raises ValueError for another array.
    """
    whole = tuple(max(1, n) for n in array.shape)
    if array.shards or array.chunks not in (whole, (COLUMN_ROWS, *whole[1:])):
        raise ValueError(f"{name} is not in one piece, nor in pieces of {COLUMN_ROWS:,} rows")
    for number in range(-(-whole[0] // array.chunks[0])):
        yield shard_file(name, number, array.ndim)


def _check_texts(chunk: bytes, array: Any) -> None:  # noqa: ANN401 - zarr's own type
    """Raises ValueError if the first bytes of a chunk announce another number of texts."""
    if [type(codec) for codec in array.compressors] != [type(codec) for codec in _CODECS]:
        raise ValueError("its texts have another compression")
    begin = blosc.decompress(chunk[:-_CHECKSUM_BYTES])[:4]
    if int.from_bytes(begin, "little") != array.chunks[0]:
        raise ValueError(f"it does not have {array.chunks[0]} texts")


def create_epochs(
    path: Path, name: str, shape: tuple[int, ...], dtype: str, fill: float, axes: tuple[str, ...]
) -> None:
    """An array with one row, and one chunk, per epoch."""
    zarr.open_group(path, mode="r+").create_array(
        name,
        shape=shape,
        chunks=(1, *shape[1:]),
        dtype=dtype,
        compressors=_CODECS,
        fill_value=fill,
        dimension_names=axes,
    )


def open_group(path: Path) -> zarr.Group:
    """The group at `path`, read-only."""
    return zarr.open_group(path, mode="r")


def open_array(path: Path, name: str, mode: str = "r") -> Any:  # noqa: ANN401 - zarr's own type
    """Array `name` of the group at `path`."""
    return zarr.open_array(path / name, mode=mode)


def write_epoch(array: Any, epoch: int, row: NDArray[Any]) -> None:  # noqa: ANN401 - zarr's own type
    """Writes one row of an array of `create_epochs`, also if it is all fill."""
    array.with_config(_WHOLE)[epoch] = row


def chunk_of_row(array: Any, row: int) -> str:  # noqa: ANN401 - zarr's own type
    """Path, relative to the array, of the chunk that holds a row from its first column on."""
    place = (row // array.chunks[0], *[0] * (array.ndim - 1))
    return str(array.metadata.encode_chunk_key(place))


def write_shard(path: Path, name: str, shard: int, rows: Callable[[slice], NDArray[Any]]) -> None:
    """Writes one whole shard; no other task may write its file.

    `rows` returns the rows of a part of the shard. It is called for one inner chunk after another,
    so that only one is in memory at a time; zarr would need all, decoded and encoded. The file has
    the encoded chunks, then their offsets and lengths (Zarr's specification of sharding, version
    1.0). Raises ValueError for another number of rows.
    """
    array = open_array(path, name)
    file = path / shard_file(name, shard, array.ndim)
    file.parent.mkdir(parents=True, exist_ok=True)
    encode = _encoder(array.chunks, array.dtype, array.compressors)
    fill = np.broadcast_to(array.fill_value, array.chunks)
    step, places = array.chunks[0], []
    with replacing(file) as temporary, temporary.open("wb") as stream:
        for first in range(0, array.shards[0], step):
            chunk = rows(slice(first, first + step))
            if len(chunk) != step:
                raise ValueError(f"a chunk of {name} has {step} rows, not {len(chunk)}")
            if np.array_equal(chunk, fill, equal_nan=True):
                places.append(_EMPTY)
                continue
            begin = stream.tell()
            places.append((begin, stream.write(encode(chunk))))
        index = np.array(places, dtype="<u8")
        stream.write(_encoder(index.shape, index.dtype, [Crc32cCodec()])(index))


def _encoder(
    shape: tuple[int, ...], dtype: np.dtype[Any], compressors: Sequence[Any]
) -> Callable[[NDArray[Any]], bytes]:
    """A function that encodes chunks as zarr does."""
    files: dict[str, Buffer] = {}
    array = zarr.create_array(
        MemoryStore(files),
        shape=shape,
        chunks=shape,
        dtype=dtype,
        compressors=compressors,
        config=_WHOLE,
    )
    file = shard_file("", 0, len(shape)).removeprefix("/")

    def encode(chunk: NDArray[Any]) -> bytes:
        array[:] = chunk
        return files[file].to_bytes()

    return encode


def shard_file(name: str, shard: int, ndim: int) -> str:
    """Path, relative to the group, of the file of a shard (or of a column, which is one shard)."""
    return "/".join([name, "c", str(shard), *["0"] * (ndim - 1)])
