"""Files of each kind from values, and small files from large ones."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tempfile
import zipfile
import zlib
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


KEPT = tempfile.TemporaryDirectory(prefix="aclnet-fuzz-")
"""Folders that are made once for each process and deleted at its end."""
_times = count(10**18, 1000)


def half(data: bytes) -> bool:
    """True for half of all inputs, always the same half."""
    return bool(zlib.crc32(data) & 1)


def repaired_zip(data: bytes) -> bytes:
    """A zip archive with correct checksums of its members, for half of all inputs.

    The code behind the checksum is therefore fuzzed too, because an attacker can repair checksums.
    """
    if not half(data):
        return data
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members, place = archive.infolist(), archive.start_dir
    except Exception:  # whatever zipfile raises, the parser gets the same bytes
        return data
    content = bytearray(data)
    for member in members:
        place = data.find(b"PK\x01\x02", place)
        if place < 0:
            break
        local = data[member.header_offset : member.header_offset + 30]
        if len(local) == 30 and member.compress_type == zipfile.ZIP_STORED:
            name, extra = struct.unpack("<HH", local[26:30])
            begin = member.header_offset + 30 + name + extra
            checksum = zlib.crc32(data[begin : begin + member.file_size])
            content[place + 16 : place + 20] = struct.pack("<I", checksum)
        place += 46
    return bytes(content)


def put(file: Path, data: bytes) -> None:
    """Writes a file with a new time, so that caches notice it."""
    file.write_bytes(data)
    touch(file)


def touch(file: Path) -> None:
    """Gives a file a new time."""
    moment = next(_times)
    os.utime(file, ns=(moment, moment))


def packed(arrays: Mapping[str, Any]) -> bytes:
    """A `.npz` file that is not compressed."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy(array: Any) -> bytes:
    """A `.npy` file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def pickled(value: object, protocol: int = 4) -> bytes:
    """A pickle."""
    return pickle.dumps(value, protocol)


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip archive that is not compressed."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


HOSTILE = (
    b"cos\nsystem\n(S'true'\ntR.",
    b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.",
    b"\x80\x04\x8c\x05numpy\x8c\x07fromfile\x93\x8c\x0b/etc/passwd\x85R.",
    b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93K\x00\x85\x8c\x05numpy\x8c\x05dtype\x93R.",
)
"""Pickles that call functions."""


def head(lines: int) -> Callable[[bytes], bytes]:
    """The first lines of a text."""
    return lambda data: b"".join(data.splitlines(keepends=True)[:lines])


def few(data: bytes, entries: int = 2) -> bytes:
    """JSON with the first entries of its list, or of the lists in its object."""

    def cut(value: Any) -> Any:
        return value[:entries] if isinstance(value, list) else value

    content = json.loads(data)
    if isinstance(content, dict):
        return json.dumps({key: cut(value) for key, value in content.items()}).encode()
    return json.dumps(cut(content)).encode()


def few_skeletons(data: bytes) -> bytes:
    """The first frame of NTU's text."""
    lines = data.splitlines()
    bodies = int(lines[1])
    return b"\n".join([b"1", *lines[1 : 2 + bodies * 27]]) + b"\n"


def _few_frames(value: Any) -> Any:
    """Cuts the arrays to two frames, and keeps a few annotations."""
    if isinstance(value, np.ndarray):
        return value[:, :2] if value.ndim == 4 else value[:2]
    if isinstance(value, dict):
        return {k: 2 if k == "total_frames" else _few_frames(v) for k, v in value.items()}
    return [_few_frames(v) for v in value[:2]] if isinstance(value, list) else value


def few_pickled(data: bytes, protocol: int = 4) -> bytes:
    """A pickle of few frames and annotations."""
    from aclnet.datasets.formats.unpickle import parse_pickle

    return pickled(_few_frames(parse_pickle(data, "seed")), protocol)


def few_rows(data: bytes) -> bytes:
    """The first rows of a `.npy` file."""
    return npy(np.load(io.BytesIO(data))[:2])


def few_agcn(data: bytes) -> bytes:
    """2s-AGCN's array with few frames."""
    return npy(np.load(io.BytesIO(data))[:, :, :2])


def few_ctr(data: bytes) -> bytes:
    """CTR-GCN's arrays with few frames."""
    with np.load(io.BytesIO(data)) as arrays:
        return packed({n: arrays[n][:, :2] if n[0] == "x" else arrays[n] for n in arrays})


def mat(*, compressed: bool) -> bytes:
    """UTD-MHAD's file for MATLAB."""
    from scipy.io import savemat

    file = io.BytesIO()
    savemat(file, {"d_skel": np.ones((20, 3, 2))}, do_compression=compressed)
    return file.getvalue()
