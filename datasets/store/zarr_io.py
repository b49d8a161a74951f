"""Every call into zarr: the differences between its versions end here."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numcodecs import blosc
from zarr.codecs import BloscCodec, Crc32cCodec

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

# Blosc alone decodes a flipped bit to wrong numbers without a word; the checksum catches it.
_CODECS = [BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"), Crc32cCodec()]
_CHECKSUM_BYTES = 4
_CHUNK_BYTES = 3 << 19  # 4,096 rows of 25 joints: halves of it read a tenth slower

METADATA = "zarr.json"
"""File of a group's or an array's metadata."""
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
    SystemError,  # of Blosc, which takes the sizes that damaged bytes announce
)
"""Exceptions that zarr and its codecs raise on damaged chunks and metadata."""

# A file that is absent must mean damage, never "all fill".
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

    It also keeps zarr from warning about the files that lie beside the arrays (manifest.json).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is no part of the format yet, all readers know it
        zarr.consolidate_metadata(path)


def can_be_opened(path: Path, names: Iterable[str]) -> bool:
    """Are the group at `path` and those arrays of it there, with metadata that can be read?"""
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
    """An array of `shards` x `shard_rows` rows, one file a shard, inner chunks of about 1 MB.

    `axes` names its dimensions, as xarray wants it.
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


def create_column(path: Path, name: str, values: NDArray[Any], axes: tuple[str, ...]) -> None:
    """A small array written in one piece; strings become variable-length UTF-8."""
    text = values.dtype.kind in "UO"
    array = zarr.open_group(path, mode="r+").create_array(
        name,
        shape=values.shape,
        chunks=tuple(max(1, int(n)) for n in values.shape),
        dtype=str if text else values.dtype,
        compressors=_CODECS,
        dimension_names=axes,
        config=_WHOLE,
        overwrite=True,  # a killed preparation writes its columns again
    )
    if values.size:
        array[...] = values.astype(object) if text else values


def read_column(path: Path, name: str, array: Any) -> NDArray[Any]:  # noqa: ANN401 - zarr's own type
    """All of an array that `create_column` wrote; one of DECODE_ERRORS where it is another one.

    What an array announces is compared with its file first: zarr makes room for all of it.
    """
    if array.shards or array.chunks != tuple(max(1, n) for n in array.shape):
        raise ValueError(f"{name} is not in one piece")
    if array.dtype.kind in "TO":
        _check_texts((path / shard_file(name, 0, array.ndim)).read_bytes(), array)
    return np.asarray(array[...])


def _check_texts(chunk: bytes, array: Any) -> None:  # noqa: ANN401 - zarr's own type
    """ValueError where a chunk holds another number of texts, which stands before them."""
    if [type(codec) for codec in array.compressors] != [type(codec) for codec in _CODECS]:
        raise ValueError("its texts are compressed in another way")
    begin = blosc.decompress(chunk[:-_CHECKSUM_BYTES])[:4]
    if int.from_bytes(begin, "little") != array.size:
        raise ValueError(f"it does not hold {array.size} texts")


def create_epochs(
    path: Path, name: str, shape: tuple[int, ...], dtype: str, fill: float, axes: tuple[str, ...]
) -> None:
    """An array of one row an epoch, one chunk a row."""
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
    """Writes one row of an array of `create_epochs`, also where it is all fill."""
    array.with_config(_WHOLE)[epoch] = row


def chunk_of_row(array: Any, row: int) -> str:  # noqa: ANN401 - zarr's own type
    """Path, relative to the array, of the chunk that holds a row from its first column on."""
    place = (row // array.chunks[0], *[0] * (array.ndim - 1))
    return str(array.metadata.encode_chunk_key(place))


def write_shard(path: Path, name: str, shard: int, block: NDArray[Any]) -> None:
    """Writes one whole shard: no other task touches its file."""
    array = open_array(path, name, "r+")
    rows = array.shards[0]
    if len(block) != rows:
        raise ValueError(f"a shard of {name} has {rows} rows, not {len(block)}")
    # zarr would read a file that is there first, and fail where it is damaged
    (path / shard_file(name, shard, array.ndim)).unlink(missing_ok=True)
    array[shard * rows : (shard + 1) * rows] = block


def shard_file(name: str, shard: int, ndim: int) -> str:
    """Path of the file of a shard (or of a column, which is one) relative to the group."""
    return "/".join([name, "c", str(shard), *["0"] * (ndim - 1)])
