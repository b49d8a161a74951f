"""Coverage-guided fuzzing of every parser: files and texts from outside, mutated many times.

A parser may return a value, or raise AclnetError or DamageError with a message. Anything else is a
finding: another exception, a warning, a crash of the process, more than `SECONDS` or `MEGABYTES`,
a read outside the folder of the input, a write, a new process, a connection.

    python -m tests.stress.fuzz                              # list the targets
    python -m tests.stress.fuzz json --inputs 5000 --seed 1  # one target
    python -m tests.stress.fuzz all --inputs 100000          # all targets, so many together

Atheris (`pip install 'aclnet[stress]'`) generates the inputs and measures the coverage of aclnet.
`tests/stress/test_fuzz.py` examines some inputs of each target without Atheris.

Modules of aclnet are imported inside functions: Atheris can only measure what is imported later.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import io
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from aclnet.datasets.spec import Source

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 10
"""Time limit of one input."""
MEGABYTES = 1536
"""Limit of the memory that one input takes."""
LONGEST_MESSAGE = 5000
"""Characters of a message that can still be read."""
_MAX_RESTARTS = 10
"""Crashes of the process, of one target, after which the rest of its inputs is given up."""
_STATE = "state.json"
_times = count(10**18, 1000)


class Case(NamedTuple):
    """A parser that is ready to be fuzzed."""

    seeds: list[bytes]
    """Inputs that the mutations begin with."""
    parse: Callable[[bytes], object]
    typed: bool = False
    """Is an input what a user types? Then a message may repeat the input, however long it is."""

    def warm_up(self) -> None:
        """Parses some seeds unguarded: what is imported first may write caches."""
        for seed in self.seeds[:3]:
            with warnings.catch_warnings(action="ignore"), suppress(Exception):
                self.parse(seed)


# --- What a parser may do -----------------------------------------------------------------------


class Forbidden(BaseException):
    """What no parser may do; not an Exception, so that no handler passes over it."""


_PROCESSES = {
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn"),
    *("subprocess.Popen", "socket.connect", "socket.getaddrinfo", "webbrowser.open"),
}
"""Audit events of programs that are started and of connections."""
_CHANGES = {
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.symlink", "os.link", "os.truncate"),
    *("os.chmod", "os.chown", "os.utime"),
}
"""Audit events of changes of files, whose arguments are paths."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class _Guard:
    """Raises Forbidden, while it is active, on what no parser may do."""

    def __init__(self) -> None:
        self.folder: str | None = None
        """The only place where files may be changed; None: the guard is not active."""
        self.seen: list[str] = []
        code = (ROOT, sys.prefix, sys.base_prefix, os.path.realpath(sys.prefix))
        system = ("/proc/", "/sys/", "/dev/", "/usr/share/zoneinfo", "/etc/localtime")
        self._readable = (*map(str, code), *system)

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event in _PROCESSES:
            self._refuse(f"{event}{args!r}"[:200])
        if event in _CHANGES:
            # the last argument is the open folder, if any, that the paths are relative to
            base = f"/proc/self/fd/{args[-1]}" if isinstance(args[-1], int) else ""
            for path in args:
                if isinstance(path, str | bytes | os.PathLike):
                    place = Path(base if args[-1] != -1 else "", os.fsdecode(path))
                    if not self._is_inside(place):
                        self._refuse(f"{event} {place}"[:200])
        if event == "open":
            self._check_open(*args)

    def _check_open(self, path: object, mode: object, flags: object) -> None:
        if not isinstance(path, str | bytes | os.PathLike) or self._is_inside(path):
            return
        name = os.path.realpath(os.fsdecode(path))
        writes = isinstance(flags, int) and flags & _WRITING
        writes = writes or (isinstance(mode, str) and any(letter in mode for letter in "wax+"))
        if name.endswith(os.devnull) or "__pycache__" in name:
            return
        if writes or not name.startswith(self._readable):
            self._refuse(f"{'write' if writes else 'read'} {name}")

    def _is_inside(self, path: str | bytes | os.PathLike[str]) -> bool:
        name = os.path.realpath(os.fsdecode(path))
        return self.folder is not None and f"{name}/".startswith(f"{self.folder}/")

    def _refuse(self, what: str) -> None:
        self.seen.append(what)
        raise Forbidden(what)


@cache
def _guard() -> _Guard:
    guard = _Guard()
    sys.addaudithook(guard)  # no hook can be taken away again, so there is one
    return guard


@contextmanager
def guarded(folder: Path) -> Iterator[list[str]]:
    """Inside, what no parser may do is refused, and listed."""
    guard = _guard()
    guard.folder, guard.seen = os.path.realpath(folder), []
    try:
        yield guard.seen
    finally:
        guard.folder = None


def examine(case: Case, data: bytes, folder: Path) -> Finding | None:
    """What is wrong with how a parser takes an input, if anything."""
    from aclnet.datasets.spec import AclnetError, DamageError

    before = _peak_megabytes()
    problem: BaseException | None = None
    with warnings.catch_warnings(), guarded(folder) as forbidden:
        warnings.simplefilter("error")
        try:
            case.parse(data)
        except (AclnetError, DamageError) as error:
            length = len(str(error).strip())
            if not length or (length > LONGEST_MESSAGE and not case.typed):
                problem = error
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # whatever it is, it is the finding
            problem = error
    if problem is not None:
        return _finding(problem)
    if forbidden:
        return Finding("Forbidden", forbidden[0], "")
    if _peak_megabytes() - before > MEGABYTES:
        return Finding("memory", f"{_peak_megabytes() - before:.0f} MB", "")
    return None


class Finding(NamedTuple):
    """What a parser did wrong."""

    kind: str
    """Name of the exception, or `hang`, `crash`, `memory`."""
    text: str
    place: str
    """Function and line of aclnet, or of this file."""
    trace: str = ""
    input: str = ""
    """Path of the input, where it was saved."""

    @property
    def key(self) -> str:
        """The same for findings that are alike."""
        return f"{self.kind} {self.place}"


def _finding(error: BaseException) -> Finding:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f.filename.startswith(str(ROOT)) and ".venv" not in f.filename]
    last = (ours or frames)[-1]
    place = f"{Path(last.filename).name}:{last.lineno} {last.name}"
    trace = "".join(traceback.format_exception(error))[-4000:]
    return Finding(type(error).__name__, str(error)[:300], place, trace)


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# --- Mutations that know what files look like ---------------------------------------------------

_TOKENS = (
    *(b"nan", b"-inf", b"1e999", b"-1", b"0", b"1e-400", b"0x10", b"1_0", b"9" * 25, b"9" * 5000),
    *(b"2147483647", b"4294967296", b"-9223372036854775808", b"99999999", b"1e18", b"0.5"),
    *(b"null", b"true", b"{}", b"[]", b'""', b"''", b"[" * 3000, b'{"a":' * 2000, b"[[", b"}"),
    *(b"\x00", b"\xff" * 4, b"\xef\xbb\xbf", b"\r\n", b"\r", b"\n\n", b"\xe2\x80\xa8", b"\x1b[2J"),
    *("é".encode(), "²".encode(), "٣".encode(), b"\\ud800", b"\xed\xa0\x80", b"%s", b"\\u0000"),
    *(b"../../../etc/passwd", b"/etc/passwd", b"..", b"~", b"a" * 300, b",", b";", b'"', b"="),
    *(b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\xff" * 8, b"\xff" * 7 + b"\x7f"),
)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")


def mutate(data: bytes, rng: np.random.Generator, others: Sequence[bytes] = ()) -> bytes:
    """The input with one to four changes; `others` are inputs to take parts of."""
    for _ in range(int(rng.integers(1, 5))):
        change = _CHANGES_OF_BYTES[int(rng.integers(len(_CHANGES_OF_BYTES)))]
        data = change(data, rng, others)
    return data


def _place(data: bytes, rng: np.random.Generator) -> int:
    """A place in a file, often near either end: headers and lists of contents stand there."""
    size = len(data)
    near = int(rng.integers(min(size, 200) + 1))
    return (near, size - near, int(rng.integers(size + 1)))[int(rng.integers(3))]


def _token(rng: np.random.Generator) -> bytes:
    return _TOKENS[int(rng.integers(len(_TOKENS)))]


def _flip(data: bytes, rng: np.random.Generator, _: Sequence[bytes]) -> bytes:
    place = min(_place(data, rng), len(data) - 1)
    if place < 0:
        return data
    return data[:place] + bytes([data[place] ^ 1 << int(rng.integers(8))]) + data[place + 1 :]


def _overwrite(data: bytes, rng: np.random.Generator, _: Sequence[bytes]) -> bytes:
    place = _place(data, rng)
    token = rng.bytes(int(rng.integers(1, 9))) if rng.random() < 0.5 else _token(rng)
    return data[:place] + token + data[place + len(token) :]


def _insert(data: bytes, rng: np.random.Generator, _: Sequence[bytes]) -> bytes:
    place = _place(data, rng)
    return data[:place] + _token(rng) + data[place:]


def _delete(data: bytes, rng: np.random.Generator, _: Sequence[bytes]) -> bytes:
    place = _place(data, rng)
    length = int(rng.integers(1, 9)) if rng.random() < 0.7 else int(rng.integers(len(data) + 1))
    return data[:place] + data[place + length :]


def _duplicate(data: bytes, rng: np.random.Generator, _: Sequence[bytes]) -> bytes:
    place = _place(data, rng)
    length, times = int(rng.integers(1, 65)), int(rng.integers(1, 4))
    return data[:place] + data[place : place + length] * times + data[place:]


def _cut(data: bytes, rng: np.random.Generator, _: Sequence[bytes]) -> bytes:
    return data[: _place(data, rng)]


def _splice(data: bytes, rng: np.random.Generator, others: Sequence[bytes]) -> bytes:
    if not others:
        return data
    other = others[int(rng.integers(len(others)))]
    return data[: _place(data, rng)] + other[_place(other, rng) :]


def _renumber(data: bytes, rng: np.random.Generator, _: Sequence[bytes]) -> bytes:
    """Another token, or another number of the same file, in place of a number."""
    begin = int(rng.integers(len(data) + 1)) if len(data) > 4000 else 0
    found = list(_NUMBER.finditer(data, begin, begin + 4000))
    if not found:
        return data
    old = found[int(rng.integers(len(found)))]
    new = found[int(rng.integers(len(found)))][0] if rng.random() < 0.3 else _token(rng)
    return data[: old.start()] + new + data[old.end() :]


def _lines(data: bytes, rng: np.random.Generator, _: Sequence[bytes]) -> bytes:
    """Two lines exchanged, one left out or one doubled."""
    lines = data.split(b"\n")
    one, two = (int(rng.integers(len(lines))) for _ in range(2))
    match int(rng.integers(3)):
        case 0:
            lines[one], lines[two] = lines[two], lines[one]
        case 1:
            del lines[one]
        case _:
            lines.insert(two, lines[one])
    return b"\n".join(lines)


_ODD = (
    *(None, True, -1, 0, 1, 1.5, 1e308, 10**30, 2**31, 10**9, 10**12, 99_999, "", "x", "é", "../x"),
    *([], {}, [[]], [0], [-1], [10**9], ["a", "a"], {"a": 1}, "float64", "NaN", float("nan")),
)
"""Values that stand for others in JSON."""


def _restructure(data: bytes, rng: np.random.Generator, _: Sequence[bytes]) -> bytes:
    """Of JSON and pickles, a value exchanged for another one, or left out."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return _restructured_pickle(data, rng)
    return json.dumps(_with_a_change(content, _ODD, rng)).encode()


def _restructured_pickle(data: bytes, rng: np.random.Generator) -> bytes:
    from aclnet.datasets.formats.unpickle import parse_pickle

    if data[:1] not in b"\x80(}]":
        return data
    try:
        content = parse_pickle(data, "seed")
        return pickled(_with_a_change(content, _odd_arrays(), rng), int(rng.integers(6)))
    except Exception:  # no pickle, or one that only an unpickler without limits reads
        return data


@cache
def _odd_arrays() -> tuple[Any, ...]:
    shapes = ((), (0,), (2,), (2, 2), (1, 2, 17, 2), (1, 2, 25, 3), (2, 0, 25, 3))
    arrays = [np.ones(shape, dtype) for shape in shapes for dtype in ("f4", "i8", "?", "S3", "U2")]
    special = [np.full(2, np.nan), np.full(3, 1e300), np.array([-1, 2**62]), np.float32(1)]
    return (*_ODD, *arrays, *special, np.int64(-1), np.str_("x"), b"x", 2**70, ("a", 1), 1j)


def _with_a_change(content: Any, odd: Sequence[Any], rng: np.random.Generator) -> Any:
    """Plain values, one of which is changed."""
    nodes: list[tuple[Any, Any]] = []
    waiting = [content] if isinstance(content, dict | list) else []
    while waiting and len(nodes) < 3000:
        node = waiting.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node))
        nodes += [(node, key) for key in keys]
        waiting += [node[key] for key in keys if isinstance(node[key], dict | list)]
    if not nodes:
        return odd[int(rng.integers(len(odd)))]
    node, key = nodes[int(rng.integers(len(nodes)))]
    other, place = nodes[int(rng.integers(len(nodes)))]
    match int(rng.integers(5)):
        case 0:
            del node[key]
        case 1:
            node[key] = other[place] if not isinstance(other[place], dict | list) else [1]
        case _:
            node[key] = odd[int(rng.integers(len(odd)))]
    return content


def _rearrange(data: bytes, rng: np.random.Generator, _: Sequence[bytes]) -> bytes:
    """Of `.npy` and `.npz` files, an array with another shape or dtype, or none."""
    if data[:2] not in (b"PK", b"\x93N"):
        return data
    try:
        with warnings.catch_warnings(action="ignore"):
            loaded = np.load(io.BytesIO(data))
            if isinstance(loaded, np.ndarray):
                return npy(_another_array(loaded, rng))
            arrays = {name: loaded[name] for name in loaded.files}
            name = list(arrays)[int(rng.integers(len(arrays)))]
            if rng.random() < 0.1:
                del arrays[name]
            else:
                arrays[name] = _another_array(arrays[name], rng)
            return packed(arrays)
    except Exception:  # numpy raises about anything on damaged files
        return data


def _another_array(array: Any, rng: np.random.Generator) -> Any:
    changes: list[Callable[[], Any]] = [
        lambda: array.astype("f8"),
        lambda: array.astype("f2"),
        lambda: array.astype("i4"),
        lambda: array.astype("?"),
        lambda: array.astype("U4"),
        lambda: array.astype(">f4"),
        lambda: array.astype("c8"),
        lambda: array.reshape(-1),
        lambda: array[None],
        lambda: array[:0],
        lambda: array[..., :0],
        lambda: array[:1],
        lambda: np.concatenate([array, array]),
        lambda: np.asfortranarray(array),
        lambda: np.full_like(array, rng.choice([np.nan, np.inf, -1, 0, 1e30, 2**31 - 1])),
        lambda: array[()] if array.ndim == 0 else array[0],
    ]
    return changes[int(rng.integers(len(changes)))]()


_CHANGES_OF_BYTES = (
    *(_flip, _overwrite, _insert, _delete, _duplicate, _cut, _splice, _renumber, _lines),
    *(_renumber, _restructure, _restructure, _rearrange, _rearrange),
)


# --- Checksums that hold for changed bytes ------------------------------------------------------


def _half(data: bytes) -> bool:
    """True for half of all inputs, always the same half."""
    return bool(zlib.crc32(data) & 1)


def repaired_zip(data: bytes) -> bytes:
    """A zip archive with the checksums of what its members hold now, for half of all inputs.

    So what lies behind the checksum is fuzzed as well: who makes a file on purpose repairs it too.
    """
    if not _half(data):
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


# --- Files --------------------------------------------------------------------------------------


def put(file: Path, data: bytes) -> None:
    """Writes a file with a time of its own, so that caches notice it."""
    file.write_bytes(data)
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
    import pickle

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


# --- Raw formats --------------------------------------------------------------------------------


def check_sequence(sequence: Any, source: Source) -> None:
    """AssertionError where a sequence is not what `SkeletonSequence` says."""
    from aclnet.datasets.spec.layouts import get_layout

    keypoint, present = sequence.keypoint, sequence.present
    persons, frames = present.shape
    joints = get_layout(source.spec.source_layout).num_joints
    assert keypoint.shape == (persons, frames, joints, source.spec.dimensions)
    assert (keypoint.dtype, present.dtype) == (np.float32, np.bool_)
    assert np.isfinite(keypoint).all()
    assert sequence.frame_index.shape == (frames,)
    assert 0 <= sequence.label < len(source.spec.class_names)
    if sequence.score is not None:
        assert sequence.score.shape == keypoint.shape[:3]
        assert np.isfinite(sequence.score).all()


def read_raw(dataset: str, raw: Path) -> None:
    """Opens raw data and reads all that is there, as `aclnet prepare` does."""
    from aclnet.datasets.registry import get_dataset, open_raw
    from aclnet.datasets.spec import Rejection

    source = open_raw(get_dataset(dataset), raw)
    items, rejections = source.scan()
    source.splits()
    source.fingerprint()
    source.tracked()
    source.normalisation()
    results = [source.read(item) for item in items[:5]]
    for result in (*results, *rejections):
        if isinstance(result, Rejection):
            assert 0 < len(str(result).strip()) <= LONGEST_MESSAGE, str(result)[:80]
        else:
            check_sequence(result, source)


def raw(
    dataset: str,
    form: str,
    victim: str = "",
    shrink: Callable[[bytes], bytes] = lambda data: data,
    more: Sequence[bytes] = (),
    repair: Callable[[bytes], bytes] = lambda data: data,
) -> Callable[[Path], Case]:
    """Generated recordings, one of whose files is fuzzed.

    Args:
        victim: pattern of the file; empty: the largest one.
        shrink: makes a small file of the generated one.
        more: seeds beside that file.
        repair: what is done to an input before it is written.
    """

    def make(folder: Path) -> Case:
        from aclnet.datasets.synth import Request, get_generator

        place = folder / dataset
        get_generator(dataset, form)(place, Request(sequences=2, subjects=2, seed=1))
        _thin_out(place)
        files = sorted(file for file in place.rglob(victim or "*") if file.is_file())
        file = max(files, key=lambda file: file.stat().st_size)
        first = shrink(file.read_bytes())

        def parse(data: bytes) -> None:
            put(file, repair(data))
            read_raw(dataset, place)

        return Case([first, *more], parse)

    return make


def _thin_out(place: Path) -> None:
    """Leaves three files of folders that have a file a frame."""
    for folder in [place, *(path for path in place.rglob("*") if path.is_dir())]:
        files = sorted(file for file in folder.iterdir() if file.is_file())
        if len(files) > 10:
            for file in files[3:]:
                file.unlink()


def head(lines: int) -> Callable[[bytes], bytes]:
    """The first lines of a text."""
    return lambda data: b"".join(data.splitlines(keepends=True)[:lines])


def few(*keys: str, entries: int = 2) -> Callable[[bytes], bytes]:
    """The first entries of a list in JSON, which is found by keys."""

    def shrink(data: bytes) -> bytes:
        content = json.loads(data)
        holder = {"": content}
        for key in ("", *keys[:-1]):
            holder = holder[key]
        if not keys:
            return json.dumps(content[:entries]).encode()
        holder[keys[-1]] = holder[keys[-1]][:entries]
        return json.dumps(content).encode()

    return shrink


def _few_skeletons(data: bytes) -> bytes:
    """The first frame of NTU's text."""
    lines = data.splitlines()
    bodies = int(lines[1])
    return b"\n".join([b"1", *lines[1 : 2 + bodies * 27]]) + b"\n"


def _few_frames(value: Any) -> Any:
    """The same with arrays of two frames and a few annotations."""
    if isinstance(value, np.ndarray):
        return value[:, :2] if value.ndim == 4 else value[:2]
    if isinstance(value, dict):
        return {k: 2 if k == "total_frames" else _few_frames(v) for k, v in value.items()}
    return [_few_frames(v) for v in value[:2]] if isinstance(value, list) else value


def _few_pickled(data: bytes) -> bytes:
    from aclnet.datasets.formats.unpickle import parse_pickle

    return pickled(_few_frames(parse_pickle(data, "seed")))


def _pickled_anew(protocol: int) -> Callable[[bytes], bytes]:
    def shrink(data: bytes) -> bytes:
        from aclnet.datasets.formats.unpickle import parse_pickle

        return pickled(_few_frames(parse_pickle(data, "seed")), protocol)

    return shrink


def _few_rows(data: bytes) -> bytes:
    return npy(np.load(io.BytesIO(data))[:2])


def _few_agcn(data: bytes) -> bytes:
    return npy(np.load(io.BytesIO(data))[:, :, :2])


def _few_ctr(data: bytes) -> bytes:
    with np.load(io.BytesIO(data)) as arrays:
        return packed({n: arrays[n][:, :2] if n[0] == "x" else arrays[n] for n in arrays})


def _few_mat(data: bytes) -> bytes:
    from scipy.io import loadmat, savemat

    file = io.BytesIO()
    savemat(file, {"d_skel": loadmat(io.BytesIO(data))["d_skel"][:, :, :2]})
    return file.getvalue()


def _packed_mat() -> bytes:
    from scipy.io import savemat

    file = io.BytesIO()
    savemat(file, {"d_skel": np.ones((20, 3, 2))}, do_compression=True)
    return file.getvalue()


def _person(joints: int) -> list[float]:
    return [float(n) for n in range(3 * joints)]


def _poses() -> list[bytes]:
    """What pose estimators write, one small file of each."""
    person = [[float(n), 2.0] for n in range(17)]
    instances = [{"keypoints": person, "keypoint_scores": [0.5] * 17}]
    mmpose = [{"frame_id": 1, "instances": instances}, {"frame_id": 2, "instances": []}]
    marks = [{"x": 0.1, "y": 0.2, "z": 0.3, "visibility": 0.9}] * 33
    contents: list[Any] = [
        {"meta_info": {}, "instance_info": mmpose},
        mmpose,
        [{"image_id": 3, "category_id": 1, "keypoints": _person(17), "score": 0.5}],
        [{"image_id": "a3.jpg", "category_id": 1, "keypoints": _person(17), "score": 0.5}],
        {"3.jpg": {"version": 0.1, "bodies": [{"joints": _person(18)}]}},
        {"3.jpg": {"people": [{"pose_keypoints_2d": _person(18)}]}},
        [marks],
        [[marks], []],
        [{"pose_world_landmarks": [marks], "pose_landmarks": [marks]}],
        {"people": []},
    ]
    return [json.dumps(content).encode() for content in contents]


_INDEX = (
    b"id,file,label,subject,camera,setup,replication,width,height,condition,split\n"
    b"a,clip_00000.npy,walk,1,2,3,4,640,480,bag,train+gallery\n"
    b'b,"clip_00001.npy",run,,,,,,,,test\n',
    b"\xef\xbb\xbfid;file;label\na;b;c\n",
    b"id,file,label\n\na,../x.npy,1\nb,\\\\x\\y.npy,2\n",
)
_TOML = (
    b'title = "t"\nlayout = "own.json"\nunits = "px"\ncolumns = "0:54"\n',
    b'layout = "../../../../etc/passwd.json"\n',
    b'units = "m"\nlayout = "coco"\n',
)


def _own_layout() -> bytes:
    from aclnet.datasets.spec.layouts import get_layout

    values = get_layout("sbu").model_dump(mode="json")
    values.pop("name")
    return json.dumps(values).encode()


def _recording_npz() -> bytes:
    keypoint = np.ones((2, 3, 15, 3), np.float32)
    return packed(
        {"keypoint": keypoint, "score": keypoint[..., 0], "present": keypoint[..., 0, 0] > 0}
    )


def _beside_index(
    name: str,
    seeds: Callable[[], Sequence[bytes]],
    repair: Callable[[bytes], bytes] = lambda data: data,
) -> Callable[[Path], Case]:
    """A file beside the index of a folder of one's own data."""

    def make(folder: Path) -> Case:
        place = folder / "custom"
        place.mkdir()
        rows = b"a,a.npy,walk\nb,b.csv,run\n" + b"c,c.npz,run\n" * (name == "c.npz")
        (place / "index.csv").write_bytes(b"id,file,label\n" + rows)
        (place / "dataset.toml").write_bytes(b'layout = "own.json"\n')
        (place / "own.json").write_bytes(_own_layout())
        (place / "a.npy").write_bytes(npy(np.ones((2, 15, 3), np.float32)))
        (place / "b.csv").write_bytes(b",".join([b"0.5"] * 45) + b"\n")

        def parse(data: bytes) -> None:
            put(place / name, repair(data))
            read_raw("custom", place)

        return Case(list(seeds()), parse)

    return make


def _zip_of_recordings(folder: Path) -> Case:
    from aclnet.datasets.synth import Request, get_generator

    get_generator("ntu60")(folder / "ntu60", Request(sequences=2, subjects=2, seed=1))
    contents = {
        f"nturgb+d_skeletons/{file.name}": _few_skeletons(file.read_bytes())
        for file in sorted((folder / "ntu60").rglob("*.skeleton"))
    }
    archive = folder / "skeletons.zip"

    def parse(data: bytes) -> None:
        put(archive, repaired_zip(data))
        read_raw("ntu60", archive)

    return Case([zipped(contents), zipped({"../../x.skeleton": b"1\n0\n"})], parse)


# --- datasets/formats ---------------------------------------------------------------------------


def _json(_: Path) -> Case:
    from aclnet.datasets.formats.json_text import parse_json

    seeds = [b'{"a": [1, -2.5e3, null, "\\u00e9"]}', b"[[[]]]", '"é"'.encode("utf-16")]
    return Case(seeds, parse_json)


def _npy(_: Path) -> Case:
    from aclnet.datasets.formats.npy import parse_npy
    from aclnet.datasets.spec import DamageError

    def parse(data: bytes) -> None:
        with suppress(DamageError):
            parse_npy(data, text=True)
        parse_npy(data)

    arrays: list[Any] = [
        np.ones((2, 3), np.float32),
        np.asfortranarray(np.ones((2, 3), ">i2")),
        np.array(["a", "é"]),
        np.ones(()),
        np.zeros((0, 3)),
        np.array([True]),
        np.ones(2, [("a", "f4")]),
    ]
    version_2 = io.BytesIO()
    np.lib.format.write_array(version_2, arrays[0], version=(2, 0))
    return Case([*map(npy, arrays), version_2.getvalue()], parse)


def _npy_rows(folder: Path) -> Case:
    from aclnet.datasets.formats.npy_rows import open_npy

    def parse(data: bytes) -> None:
        put(folder / "rows.npy", data)
        rows = open_npy(folder / "rows.npy")
        for row in {0, len(rows) // 2, len(rows) - 1}:
            rows.read(row)

    return Case([npy(np.ones((3, 2, 2), "f4")), npy(np.ones(0)), npy(np.ones((2, 0)))], parse)


def _npz(folder: Path) -> Case:
    from aclnet.datasets.formats.npy import load_npz, parse_npz
    from aclnet.datasets.spec import DamageError

    names = ("ids", "x", "y")

    def parse(data: bytes) -> None:
        data = repaired_zip(data)
        with suppress(DamageError):
            parse_npz(data, names, 2**20)
        put(folder / "some.npz", data)
        load_npz(folder / "some.npz", names, 2**20, text=("ids",))

    return Case(_some_npz(), parse)


def _some_npz() -> list[bytes]:
    arrays = {"ids": np.array(["a", "b"]), "x": np.ones((2, 2), "f4"), "y": np.ones(2, int)}
    compressed = io.BytesIO()
    np.savez_compressed(compressed, **arrays)
    return [packed(arrays), compressed.getvalue()]


def _npz_rows(folder: Path) -> Case:
    from aclnet.datasets.formats.npy_rows import open_npz
    from aclnet.datasets.spec import AclnetError, DamageError

    def parse(data: bytes) -> None:
        put(folder / "rows.npz", repaired_zip(data))
        for name in ("ids", "x", "y"):
            with suppress(AclnetError, DamageError):
                rows = open_npz(folder / "rows.npz", name, text=name == "ids")
                for row in (len(rows) - 1, 0):
                    rows.read(row)

    return Case(_some_npz(), parse)


def _pickle(folder: Path) -> Case:
    from aclnet.datasets.formats.unpickle import load_pickle

    def parse(data: bytes) -> None:
        put(folder / "some.pkl", data)
        load_pickle(folder / "some.pkl")

    value = {
        "split": {"train": ["a"]},
        "annotations": [{"x": np.ones((2, 2), "f4"), "n": np.float32(1), "t": (1, "é", b"b")}],
        "names": np.array(["a", "b"]),
    }
    seeds = [pickled(value, protocol) for protocol in range(6)]
    return Case([*seeds, *HOSTILE], parse)


def _zip(folder: Path) -> Case:
    from aclnet.datasets.formats.files import read_file, walk_files
    from aclnet.datasets.spec import DamageError

    (folder / "in").mkdir()

    def parse(data: bytes) -> None:
        put(folder / "in" / "some.zip", repaired_zip(data))
        for path, _ in list(walk_files(folder / "in"))[:5]:
            with suppress(DamageError):
                read_file(folder / "in", path, 2**20)

    compressed = io.BytesIO()
    with zipfile.ZipFile(compressed, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a/b.txt", b"text" * 50)
        archive.writestr("c.txt", b"text" * 50, zipfile.ZIP_BZIP2)
        archive.writestr("d.txt", b"text" * 50, zipfile.ZIP_DEFLATED)
    names = {"a/b.txt": b"text", "../x": b"", "/etc/passwd": b"", "inner.zip/x": b"", "d/": b""}
    return Case([zipped(names), compressed.getvalue()], parse)


# --- Stores and what is made of them ------------------------------------------------------------


@cache
def _store() -> Path:
    """A small store of made-up people, made once for each process, and beside it its `.wip`.

    The work folder holds what is there when all shards are written but nothing else.
    """
    from aclnet.datasets.synth import Request, get_generator

    folder = Path(_keep.name)
    request = Request(sequences=6, subjects=4, seed=1)
    get_generator("custom", "npy")(folder / "raw", request)
    for file in sorted((folder / "raw").glob("*.npy")):
        file.write_bytes(npy(np.load(file)[:4]))
    _prepare(folder / "raw", folder / "some.zarr")
    with suppress(_StoppedError):
        _prepare(folder / "raw", folder / "half.zarr", until="_put_into_place")
    return folder / "some.zarr"


_keep = tempfile.TemporaryDirectory(prefix="aclnet-fuzz-")
"""What is made once for each process; deleted at its end."""


class _StoppedError(Exception):
    """The end of a preparation before its end."""


def _prepare(raw: Path, out: Path, until: str = "") -> None:
    """Prepares raw recordings, until a function of `stages` is called, if one is named."""
    from aclnet.datasets.registry import get_dataset, open_raw
    from aclnet.pipelines.prepare import stages
    from aclnet.pipelines.prepare.executor import open_executor
    from aclnet.pipelines.prepare.options import PrepareOptions

    def stop(*_: object) -> None:
        raise _StoppedError

    original = getattr(stages, until) if until else None
    if until:
        setattr(stages, until, stop)
    try:
        with open_executor() as execute:
            source = open_raw(get_dataset("custom"), raw)
            stages.prepare(source, out, PrepareOptions(), execute)
    finally:
        if until:
            setattr(stages, until, original)


def _read_store(path: Path) -> None:
    """Reads all of a store in every way."""
    from aclnet.datasets.spec import AclnetError
    from aclnet.datasets.store.store import Store
    from aclnet.datasets.store.summary import summarise
    from aclnet.datasets.store.verify import verify

    with suppress(AclnetError):
        for problem in verify(path):
            assert problem.strip()
    store = Store(path)
    assert len(store.samples) == len(store)
    store.splits  # noqa: B018 - reads the masks
    for row in range(min(len(store), 3)):
        store.sequence(row)
    summarise(store)


def store_file(name: str, *more: bytes) -> Callable[[Path], Case]:
    """A file of a store; half of the inputs come with a manifest that fits them."""

    def make(folder: Path) -> Case:
        path = folder / "some.zarr"
        shutil.copytree(_store(), path)
        manifest = json.loads((path / "manifest.json").read_bytes())

        def parse(data: bytes) -> None:
            put(path / name, data)
            if name != "manifest.json":
                _describe(manifest, name, data if _half(data) else b"")
                put(path / "manifest.json", json.dumps(manifest).encode())
            _read_store(path)

        return Case([(path / name).read_bytes(), *more], parse)

    return make


def _describe(manifest: dict[str, Any], name: str, data: bytes) -> None:
    """Notes the size and hash of a file in a manifest."""
    for files in (manifest["files"], *(shard["files"] for shard in manifest["shards"])):
        if name in files:
            files[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def checked_chunk(name: str) -> Callable[[Path], Case]:
    """A chunk of a store with its checksum at the end, which is right for half of the inputs."""

    def make(folder: Path) -> Case:
        from google_crc32c import value

        case = store_file(name)(folder)

        def parse(data: bytes) -> None:
            whole = data[:-4] + struct.pack("<I", value(data[:-4])) if len(data) > 4 else data
            case.parse(whole if _half(data[:-4]) else data)

        return Case(case.seeds, parse)

    return make


def unfinished(name: str) -> Callable[[Path], Case]:
    """A file of an unfinished preparation, which is then resumed."""

    def make(folder: Path) -> Case:
        pristine, raw, work = (folder / name for name in ("pristine", "raw", "some.zarr.wip"))
        shutil.copytree(_store().with_name("half.zarr.wip"), pristine)
        shutil.copytree(_store().with_name("raw"), raw)

        def parse(data: bytes) -> None:
            for path in (work, folder / "some.zarr"):
                shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(pristine, work)
            put(work / name, data)
            _prepare(raw, folder / "some.zarr")

        return Case([(pristine / name).read_bytes()], parse)

    return make


def export(form: str, suffix: str) -> Callable[[Path], Case]:
    """An exported store, read back as raw data."""

    def make(folder: Path) -> Case:
        from aclnet.datasets.store.store import Store

        file = folder / f"export{suffix}"
        _write_export(Store(_store()), form, file)
        seed = file.read_bytes()
        if form == "npz":
            with zipfile.ZipFile(file) as archive:
                seed = zipped({name: archive.read(name) for name in archive.namelist()})
        if form == "pyskl":
            seed = _few_pickled(seed)

        def parse(data: bytes) -> None:
            put(file, repaired_zip(data) if form == "npz" else data)
            read_raw("custom", file)

        return Case([seed], parse)

    return make


def _hdf5_sealed(folder: Path) -> Case:
    """An HDF5 export with changed bytes, sealed again: they reach HDF5's own library."""
    from aclnet.datasets.exports.hdf5 import seal
    from aclnet.datasets.store.store import Store

    whole, file = folder / "whole.h5", folder / "export.h5"
    _write_export(Store(_store()), "hdf5", whole)

    def parse(data: bytes) -> None:
        file.unlink(missing_ok=True)  # HDF5 keeps the one before open
        file.write_bytes(data)
        if len(data) > 512:
            seal(file)
        moment = next(_times)
        os.utime(file, ns=(moment, moment))
        read_raw("custom", file)

    return Case([whole.read_bytes()], parse)


def _write_export(store: Any, form: str, file: Path) -> None:
    from aclnet.datasets.exports.hdf5 import write_hdf5
    from aclnet.datasets.exports.npz import write_npz
    from aclnet.datasets.exports.pyskl import write_pyskl
    from aclnet.datasets.exports.recordings import recordings

    if form == "hdf5":
        write_hdf5(store, file)
    elif form == "npz":
        write_npz(store, file, store.default_protocol)
    else:
        write_pyskl(store, recordings(store, np.ones(len(store), bool)), file)


def _hdf5_values(folder: Path) -> Case:
    """An HDF5 export with other values of one array or attribute, sealed again.

    Of an input, the first byte chooses the array, the second its dtype and shape; the others are
    its values.
    """
    import h5py

    from aclnet.datasets.exports.hdf5 import seal
    from aclnet.datasets.store.store import Store

    whole, file = folder / "whole.h5", folder / "export.h5"
    _write_export(Store(_store()), "hdf5", whole)
    names: list[str] = []
    with h5py.File(whole) as opened:
        opened.visititems(lambda n, o: names.append(n) if isinstance(o, h5py.Dataset) else None)
        names += [f"@{name}" for name in opened.attrs]

    def parse(data: bytes) -> None:
        file.unlink(missing_ok=True)  # HDF5 keeps the one before open
        shutil.copyfile(whole, file)
        if len(data) > 2:
            with h5py.File(file, "r+") as opened, suppress(OSError, ValueError, TypeError):
                _exchange(opened, names[data[0] % len(names)], data[1], data[2:])
        seal(file)
        moment = next(_times)
        os.utime(file, ns=(moment, moment))
        read_raw("custom", file)

    seeds = [bytes([n, kind]) + bytes(range(64)) for n in range(len(names)) for kind in (0, 7)]
    return Case(seeds, parse)


def _exchange(opened: Any, name: str, kind: int, values: bytes) -> None:
    """Exchanges an array, or an attribute (`@name`), of an HDF5 file for other values."""
    import h5py

    text = values.decode("latin1").replace("\0", "0")
    if name.startswith("@"):
        numbers = np.frombuffer(values, np.uint8)
        opened.attrs[name[1:]] = (text, numbers, len(text), text.encode("latin1"))[kind % 4]
        return
    old = opened[name]
    shape, dtype = old.shape, old.dtype
    if kind & 1:
        shape = (shape, (len(values) // 8,), (), (2, 2, 2))[kind // 2 % 4]
    if kind & 16:
        dtype = [np.dtype(d) for d in ("f8", "i4", "u8", "S3", "?")][kind // 32 % 5]
    del opened[name]
    if h5py.check_string_dtype(dtype):
        size = int(np.prod(shape))
        parts = [text[n : n + 5] for n in range(size)]
        opened.create_dataset(name, data=np.array(parts, object).reshape(shape), dtype=dtype)
        return
    size = int(np.prod(shape)) * dtype.itemsize
    filled = (values * (size // max(1, len(values)) + 1))[:size]
    opened.create_dataset(name, data=np.frombuffer(filled, dtype).reshape(shape))


# --- Runs ---------------------------------------------------------------------------------------


@cache
def _run() -> Path:
    """A run that was not trained, with every file that is read: made once for each process."""
    from aclnet.datasets.spec.layouts import get_layout
    from aclnet.runs.config import build_config
    from aclnet.runs.record import RunRecord, SplitRecord, StoreRecord
    from aclnet.runs.run import Run

    path = Path(_keep.name) / "run"
    record = RunRecord(
        name="run",
        store=StoreRecord(path=str(path.parent / "no.zarr"), digest="0" * 64),
        dataset="custom",
        layout=get_layout("sbu"),
        channels=3,
        normalisation="x",
        class_names=["a", "b"],
        split=SplitRecord(protocol="own", fold=(1, 2)),
        init_from=None,
        environment={"torch": "2"},
        result={"top1": 0.5, "unknown": {"threshold": 0.5}},
    )
    run = Run.begin(path, build_config("demo"), record)
    history = run.history
    history.create(2, ["a", "b"])
    ones = {"confusion/train": np.ones((2, 2), int), "affinity": np.ones((2, 2), np.float32)}
    more = {"family": np.ones((2, 2), bool), "temperature": np.ones(2, np.float32)}
    history.write(0, ones | more)
    history.write_prototypes(np.ones((2, 4), np.float32))
    return path


def _run_json(folder: Path) -> Case:
    from aclnet.runs.record import record_digest
    from aclnet.runs.run import Run

    path = folder / "run"
    shutil.copytree(_run(), path)

    def parse(data: bytes) -> None:
        with suppress(ValueError, RecursionError):
            values = json.loads(data)
            if _half(data) and isinstance(values, dict):  # the digest of what is there now
                values.pop("sha256", None)
                data = json.dumps({**values, "sha256": record_digest(values)}).encode()
        put(path / "run.json", data)
        _use_run(Run(path))

    return Case([(path / "run.json").read_bytes()], parse)


def _use_run(run: Any) -> None:
    """Asks a run for all that its record and configuration say."""
    from aclnet.datasets.spec import AclnetError
    from aclnet.retrieval.identify import threshold_of

    names = ("score_names", "test_split", "result", "split_file", "fold", "test_scores", "selected")
    for name in names:
        with suppress(AclnetError):
            getattr(run, name)
    threshold_of(run)
    if run.record.result and "top1" in run.record.result:
        float(run.record.result["top1"])
    with suppress(AclnetError):
        run.open_store()
    with suppress(AclnetError):
        run.weights()


def _config_toml(folder: Path) -> Case:
    from aclnet.runs.record import record_digest
    from aclnet.runs.run import Run

    path = folder / "run"
    shutil.copytree(_run(), path)
    record = json.loads((path / "run.json").read_bytes())
    record.pop("sha256")

    def parse(data: bytes) -> None:
        record["config_sha256"] = hashlib.sha256(data).hexdigest()
        whole = {**record, "sha256": record_digest(record)}
        put(path / "run.json", json.dumps(whole).encode())
        put(path / "config.toml", data)
        run = Run(path)
        run.config.digest()
        run.config.to_toml()

    return Case([(path / "config.toml").read_bytes()], parse)


def history_file(name: str) -> Callable[[Path], Case]:
    """A file of a run's history."""

    def make(folder: Path) -> Case:
        from aclnet.datasets.spec import AclnetError
        from aclnet.runs.history import KINDS, History

        path = folder / "history.zarr"
        shutil.copytree(_run() / "history.zarr", path)

        def parse(data: bytes) -> None:
            put(path / name, data)
            history = History(path)
            for kind in (*KINDS, "prototype"):
                with suppress(AclnetError):
                    history.read_all(kind)
            with suppress(AclnetError):
                history.trained  # noqa: B018 - reads the metadata of all arrays

        return Case([(path / name).read_bytes()], parse)

    return make


def _saved(state: object) -> bytes:
    import torch

    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


@cache
def _released() -> bytes:
    """A checkpoint as the released code writes it, of the smallest network."""
    from aclnet.exchange.official import write_official
    from aclnet.models.aclnet import ACLNet

    network = ACLNet(num_joints=2, num_classes=2, in_channels=3, base_channels=8)
    state = {f"model.{name}": value for name, value in network.state_dict().items()}
    file = Path(_keep.name) / "released.pth"
    write_official(file, state, {"epoch": 1, "lr": 0.1})
    return file.read_bytes()


def _wrapped_checkpoint(content: bytes, pickle: bytes) -> bytes:
    """A checkpoint with another pickle in it."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    name = next(name for name in members if name.endswith("data.pkl"))
    return zipped(members | {name: pickle})


def _pickle_in(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        return archive.read(name)


def _tensors() -> dict[str, Any]:
    import torch

    shapes = {
        "backbone.gcn.0.gcn.A": (1, 2, 2),
        "backbone.data_bn.weight": (6,),
        "cls_head.fc_cls.weight": (2, 8),
    }
    return {name: torch.ones(shape) for name, shape in shapes.items()}


def _zeros(shape: tuple[int, ...]) -> Any:
    import torch

    return torch.zeros(shape)


def _official(folder: Path) -> Case:
    from aclnet.exchange.official import read_official

    file = folder / "model.pth"

    def parse(data: bytes) -> None:
        put(file, repaired_zip(data))
        read_official(file)

    tensors = {"meta": {"a": np.float64(1)}, "state_dict": _tensors()}
    return Case([_saved(tensors), _saved({"state_dict": {}}), *HOSTILE], parse)


def _official_pickle(folder: Path) -> Case:
    """The pickle inside a checkpoint."""
    from aclnet.exchange.official import read_official

    file, whole = folder / "model.pth", _released()
    small = _saved({"meta": {"a": np.float64(1), "b": [1, "x"]}, "state_dict": _tensors()})

    def parse(data: bytes) -> None:
        content = whole if len(data) > 5000 else small
        put(file, _wrapped_checkpoint(content, data))
        read_official(file)

    return Case([_pickle_in(small), _pickle_in(whole), *HOSTILE], parse)


def _official_values(folder: Path) -> Case:
    """A checkpoint, one of whose tensors is another one.

    Of an input, the first two bytes choose the tensor, the third what becomes of it; the others are
    its new name.
    """
    import torch

    from aclnet.exchange.official import read_official

    file = folder / "model.pth"
    whole = torch.load(io.BytesIO(_released()), weights_only=True)["state_dict"]
    names = list(whole)
    changes: list[Callable[[Any], Any]] = [
        lambda tensor: tensor.bool(),
        lambda tensor: tensor.to(torch.complex64),
        lambda tensor: tensor.to(torch.float8_e4m3fn),
        lambda tensor: tensor.double().requires_grad_(),
        lambda tensor: tensor.reshape(-1),
        lambda tensor: tensor[None],
        lambda tensor: tensor[:0] if tensor.ndim else tensor,
        lambda tensor: tensor.to_sparse() if tensor.ndim else tensor,
        lambda tensor: tensor.expand(3, *tensor.shape),
        lambda tensor: torch.nn.Parameter(tensor.float()),
        lambda tensor: tensor.new_empty(0).expand(1000, 0),
        lambda _: None,
        lambda _: {"a": 1},
        lambda tensor: tensor.to("meta"),
        lambda tensor: torch.full_like(tensor, -1),
    ]

    def parse(data: bytes) -> None:
        state = dict(whole)
        if len(data) > 2:
            name = names[(data[0] * 256 + data[1]) % len(names)]
            changed = changes[data[2] % len(changes)](state[name])
            if len(data) > 3:
                del state[name]
                name = data[3:].decode("latin1")
            state[name] = changed
        put(file, _saved({"state_dict": state}))
        read_official(file)

    texts = (b"", b"backbone.gcn.0.gcn.A", b"cls_head.fc_cls.weight", b"backbone.data_bn.weight")
    seeds = [bytes([0, n, n]) + texts[n % 4] for n in range(len(changes))]
    return Case([b"", *seeds], parse)


def _checkpoint(folder: Path) -> Case:
    from aclnet.runs.run import Run

    path = folder / "run"
    shutil.copytree(_run(), path)
    (path / "checkpoints").mkdir()
    run = Run(path)

    def parse(data: bytes) -> None:
        put(path / "checkpoints/last.pt", repaired_zip(data))
        run.weights()

    state = {"network": {f"model.{name}": value for name, value in _tensors().items()}, "epoch": 1}
    return Case([_saved(state), _saved([1]), _saved({"network": 3}), *HOSTILE], parse)


def _split_csv(folder: Path) -> Case:
    from aclnet.datasets.store.store import Store
    from aclnet.runs.splits import file_splits

    store, file = Store(_store()), folder / "sides.csv"
    shutil.copytree(_store(), folder / "some.zarr")
    store = Store(folder / "some.zarr")
    ids = [str(name) for name in store.column("id")]
    sides = ["train", "val", "test", "train", "test", "train"]
    rows = [f"{name},{side}" for name, side in zip(ids, sides, strict=True)]
    people = [f"{name},train+gallery" for name in ids[:3]] + [f'"{ids[3]}",probe']

    def parse(data: bytes) -> None:
        put(file, data)
        file_splits(store, file)

    seeds = ["\n".join(["id,split", *rows]), "\ufeff" + "\r\n".join(["split,id", *people])]
    return Case(
        [*(seed.encode() for seed in seeds), "\n".join(["id,split", *people]).encode()], parse
    )


def _demo_people(folder: Path) -> Case:
    """What a folder of the demonstration says of its people."""
    from aclnet import demo

    def parse(data: bytes) -> None:
        put(folder / "people.json", data)
        demo._claim(folder, demo.People())

    demo._claim(folder, demo.People())
    return Case([(folder / "people.json").read_bytes()], parse)


def _scores(folder: Path) -> Case:
    from aclnet.runs.scores import Scores

    def parse(data: bytes) -> None:
        put(folder / "scores.npz", repaired_zip(data))
        found = Scores.load(folder / "scores.npz")
        if len(found):
            found.result()
            found.per_class([str(n) for n in range(found.scores.shape[1])])

    return Case([packed(_score_arrays())], parse)


def _score_arrays() -> dict[str, Any]:
    return {
        "ids": np.array(["a", "b"]),
        "scores": np.array([[0.25, 0.75], [0.5, 0.5]], np.float32),
        "labels": np.array([1, 0]),
    }


def score_file(suffix: str) -> Callable[[Path], Case]:
    """Scores that another toolkit wrote."""

    def make(folder: Path) -> Case:
        from aclnet.exchange.score_files import Order, read_scores

        file, order = folder / f"scores{suffix}", Order(["a", "b"], [0, 1])

        def parse(data: bytes) -> None:
            put(file, repaired_zip(data) if suffix == ".npz" else data)
            read_scores(file, order)

        rows = [np.array([0.25, 0.75], np.float32), np.array([0.5, 0.5], np.float32)]
        pickles = [pickled(rows), pickled(np.stack(rows), 2), pickled([[0.5, 0.5]] * 2), *HOSTILE]
        return Case([packed(_score_arrays())] if suffix == ".npz" else pickles, parse)

    return make


def order_file(suffix: str) -> Callable[[Path], Case]:
    """The order of the samples of scores without ids."""

    def make(folder: Path) -> Case:
        from aclnet.exchange.score_files import read_order

        file = folder / f"order{suffix}"

        def parse(data: bytes) -> None:
            put(file, data)
            read_order(f"{file}:val" if suffix == ".pkl" else str(file))

        annotations = [{"frame_dir": "a", "label": 1}, {"frame_dir": "b", "label": np.int64(2)}]
        content = {"split": {"val": ["a", "b"]}, "annotations": annotations}
        named = {"split": {"val": ["a"]}, "annotations": [{"filename": "a", "label": 1}]}
        return Case(
            [pickled(content), pickled(named, 2)] if suffix == ".pkl" else [b"a\nb\n\n c \n"], parse
        )

    return make


def _score_tables(folder: Path) -> Case:
    from aclnet.runs.run import Run

    path = folder / "run"
    shutil.copytree(_run(), path)
    run = Run(path)
    run.test_scores.parent.mkdir()

    def parse(data: bytes) -> None:
        put(run.test_scores.with_suffix(".views.csv"), data)
        run.load_tables(run.test_scores)

    return Case([b"condition,gallery_condition,18,36\nnm,,0.5,0.25\nbg,x,,1\n"], parse)


# --- Settings -----------------------------------------------------------------------------------


def _recipe(folder: Path) -> Case:
    from aclnet.runs.config import build_config

    file = folder / "own.toml"
    (folder / "other.toml").write_bytes(b'extends = "own.toml"\n')

    def parse(data: bytes) -> None:
        put(file, data)
        build_config(str(file)).to_toml()

    seeds = [
        b'extends = "demo"\nseed = 3\n[model]\nsize = 16\n[about]\ntitle = "t"\nwhose = "ours"\n',
        b'extends = "other.toml"\n[streams.b]\noptim.epochs = 3\n[loss.families]\nstart = 0\n',
        b'settings = "official"\ntask = "gait"\n[data]\ninterval = [0.5, 1]\nmodality = "bm"\n',
        b'select = "val"\n[augment]\nrotate = 0.3\n[optim]\nlr = 0.1\nwarmup_epochs = 2.5\n',
    ]
    return Case(seeds, parse)


def _set(_: Path) -> Case:
    from aclnet.runs.config import build_config

    def parse(data: bytes) -> None:
        settings = data.decode("utf-8", "surrogateescape").split("\n")
        build_config("demo", settings[:5]).digest()

    texts = (
        "optim.epochs=30",
        "data.modality=bm\nloss.weight=0.2",
        "data.interval=[0.5,1]",
        'model={size="tiny"}',
        "loss.families.source=val\ntask=gait",
        "seed=1979-05-27T07:32:00Z",
        "a.b.c.d=1",
    )
    return Case([text.encode() for text in texts], parse, typed=True)


def _grid(_: Path) -> Case:
    from aclnet.runs.splits import Fold
    from aclnet.training.sweep import parse_grid

    def parse(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")
        if "=" in text:
            parse_grid(text)
        else:
            Fold.parse(text)

    return Case(
        [b"loss.weight=0,0.1", b"data.interval=[0.5,1],[1,1]", b"2/4", b"components"],
        parse,
        typed=True,
    )


def _layout(folder: Path) -> Case:
    from aclnet.datasets.spec.layouts import get_layout

    def parse(data: bytes) -> None:
        put(folder / "own.json", data)
        layout = get_layout(str(folder / "own.json"))
        layout.resolve("+".join([*layout.joints, *layout.parts]) or "hands")

    return Case([_own_layout(), b"{}", b"[]"], parse)


# --- Targets ------------------------------------------------------------------------------------

_pyskl = partial(raw, shrink=_few_pickled, more=HOSTILE)
_arrays = partial(raw, form="arrays", shrink=_few_rows)

TARGETS: dict[str, Callable[[Path], Case]] = {
    "json": _json,
    "npy": _npy,
    "npy-rows": _npy_rows,
    "npz": _npz,
    "npz-rows": _npz_rows,
    "pickle": _pickle,
    "zip": _zip,
    "layout": _layout,
    "custom-npy": raw("custom", "npy", "clip_00000.npy", _few_rows),
    "custom-csv": raw("custom", "csv", "clip_00000.csv", head(3)),
    "custom-json": raw("custom", "mediapipe", "clip_00000.json", few(entries=1)),
    "custom-poses": raw("custom", "coco", "clip_00000.json", few(), _poses()),
    "custom-openpose": raw("custom", "openpose", "clip_00000*json"),
    "custom-index": raw("custom", "npy", "index.csv", more=_INDEX),
    "custom-toml": _beside_index("dataset.toml", lambda: _TOML),
    "custom-classes": _beside_index("classes.txt", lambda: (b"walk\nrun\n", b"\n run\r\n")),
    "custom-layout": _beside_index("own.json", lambda: [_own_layout()]),
    "custom-array": _beside_index(
        "a.npy", lambda: [npy(np.ones((1, 2, 15, 4), "f8")), npy(np.ones((2, 15, 3), "i2"))]
    ),
    "custom-npz": _beside_index("c.npz", lambda: [_recording_npz()], repaired_zip),
    "casia-b-csv": raw("casia-b", "csv", "*.csv", head(3)),
    "casia-b-opengait": raw("casia-b", "opengait", "*.pkl", _few_pickled, HOSTILE),
    "casia-b-json": raw("casia-b", "json", "*.json", few()),
    "finegym-pyskl": _pyskl("finegym", "pyskl"),
    "kinetics-json": raw("kinetics", "json", "", few("data", entries=1)),
    "kinetics-labels": raw("kinetics", "json", "kinetics_train_label.json"),
    "kinetics-pyskl": _pyskl("kinetics", "pyskl", "k400_hrnet.pkl"),
    "kinetics-kpfile": _pyskl("kinetics", "pyskl", "clips_*.pkl"),
    "msr-action3d": raw("msr-action3d", "text", "*.txt", head(40)),
    "ntu60-skeleton": raw("ntu60", "skeleton", "", _few_skeletons),
    "ntu60-zip": _zip_of_recordings,
    "ntu60-pyskl": _pyskl("ntu60", "pyskl"),
    "ntu60-hrnet": raw("ntu60", "hrnet", "*.pkl", _pickled_anew(2)),
    "ntu60-ctr": raw("ntu60", "ctr", "*.npz", _few_ctr, repair=repaired_zip),
    "ntu60-agcn": raw("ntu60", "agcn", "", _few_agcn),
    "ntu60-agcn-labels": raw("ntu60", "agcn", "val_label.pkl", more=HOSTILE),
    "nw-ucla": raw("nw-ucla", "json", "*.json", few("skeletons")),
    "pkummd-text": raw("pkummd", "text", "0*.txt", head(3)),
    "pkummd-labels": raw("pkummd", "text", "Train_Label*/*.txt"),
    "pkummd-splits": raw("pkummd", "text", "cross-subject.txt", head(8)),
    "pkummd-pyskl": _pyskl("pkummd", "pyskl"),
    "biwi-text": raw("biwi", "text", "*skel.txt"),
    "ias-lab-text": raw("ias-lab", "text", "*skel.txt"),
    "kgbd-text": raw("kgbd", "text", "*.txt", head(40)),
    "ks20-text": raw("ks20", "text", "*.txt"),
    "biwi-arrays": _arrays("biwi", victim="source_x*"),
    "biwi-ids": _arrays("biwi", victim="frame_id*"),
    "casia-b-3d-arrays": raw("casia-b-3d", "arrays", "source_y*"),
    "sbu": raw("sbu", "text", "*.txt", head(3)),
    "utd-mhad": raw("utd-mhad", "mat", "*.mat", _few_mat, [_packed_mat()]),
    "export-hdf5": export("hdf5", ".h5"),
    "export-hdf5-sealed": _hdf5_sealed,
    "export-hdf5-values": _hdf5_values,
    "export-npz": export("npz", ".npz"),
    "export-pyskl": export("pyskl", ".pkl"),
    "store-manifest": store_file("manifest.json"),
    "store-metadata": store_file("zarr.json"),
    "store-column-metadata": store_file("samples/start/zarr.json"),
    "store-ids": checked_chunk("samples/id/c/0"),
    "store-starts": checked_chunk("samples/start/c/0"),
    "store-frames": checked_chunk("frames/keypoint/c/0/0/0"),
    "prepare-plan": unfinished("plan.json"),
    "prepare-fragment": unfinished("fragments/000000/table.json"),
    "prepare-array": unfinished("fragments/000000/keypoint.npy"),
    "prepare-receipt": unfinished("shards/000000.json"),
    "run-json": _run_json,
    "config-toml": _config_toml,
    "demo-people": _demo_people,
    "checkpoint": _checkpoint,
    "history-group": history_file("zarr.json"),
    "history-array": history_file("temperature/zarr.json"),
    "history-chunk": history_file("confusion/train/c/0/0/0"),
    "scores": _scores,
    "score-tables": _score_tables,
    "score-file-npz": score_file(".npz"),
    "score-file-pkl": score_file(".pkl"),
    "order-text": order_file(".txt"),
    "order-pkl": order_file(".pkl"),
    "official": _official,
    "official-pickle": _official_pickle,
    "official-values": _official_values,
    "split-csv": _split_csv,
    "recipe": _recipe,
    "set": _set,
    "grid": _grid,
}
"""What makes the case of each target, in an empty folder."""
UNBOUNDED = {"export-hdf5-sealed"}
"""Targets with findings that are known and stay: of files that were damaged on purpose and sealed
again, HDF5's own library takes minutes, or gigabytes."""
CAMPAIGN = [name for name in TARGETS if name not in UNBOUNDED]
SLOW = {"prepare": 0.05, "store": 0.2, "history": 0.3, "official-values": 0.1, "official": 0.4}
"""Shares of targets whose inputs take longer, by how their names begin; others have 1."""


def share(name: str) -> float:
    """Inputs of a target relative to those of others."""
    return next((part for begin, part in SLOW.items() if name.startswith(begin)), 1.0)


# --- The campaign -------------------------------------------------------------------------------


@dataclass(slots=True)
class Result:
    """What came of a target."""

    target: str
    inputs: int = 0
    """How many were examined."""
    seconds: float = 0.0
    slowest: float = 0.0
    """Seconds of the slowest input."""
    findings: list[Finding] = field(default_factory=list)


def run_all(inputs: int, seed: int, out: Path | None = None) -> list[Result]:
    """Fuzzes the targets of `CAMPAIGN`, one after another, with so many inputs together.

    Inputs that are findings are kept below `out`, None: `fuzz-findings` in the working folder.
    """
    whole = sum(map(share, CAMPAIGN))
    results = []
    for name in CAMPAIGN:
        result = run_target(name, round(inputs * share(name) / whole), seed, out)
        print(_line(result), flush=True)  # noqa: T201 - the campaign's report
        results.append(result)
    return results


def run_target(name: str, inputs: int, seed: int, out: Path | None = None) -> Result:
    """Fuzzes one target in processes of its own: a new one whenever an input ends the process."""
    if importlib.util.find_spec("atheris") is None:
        raise SystemExit(
            "fuzzing needs Atheris, which has wheels for Linux on x86-64: "
            "pip install 'aclnet[stress]'"
        )
    out = (out or Path("fuzz-findings")).absolute()
    out.mkdir(parents=True, exist_ok=True)
    result = Result(name)
    begun = time.monotonic()
    for turn in range(_MAX_RESTARTS + 1):
        _one_process(result, inputs - result.inputs, seed + 1000 * turn, out)
        if result.inputs >= inputs:
            break
    result.seconds = time.monotonic() - begun
    return result


def _one_process(result: Result, inputs: int, seed: int, out: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_fast_folder()) as folder:
        arguments = [result.target, "--inputs", str(inputs), "--seed", str(seed)]
        command = [sys.executable, "-m", "tests.stress.fuzz", *arguments, "--child", folder]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": folder}
        done = subprocess.run(
            [*command, "--out", str(out)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        state = _read_state(Path(folder))
    result.inputs += state["inputs"]
    result.slowest = max(result.slowest, state["slowest"])
    known = {finding.key for finding in result.findings}
    for values in state["findings"]:
        finding = Finding(*values)
        if finding.key not in known:
            result.findings.append(finding)
    if done.returncode:
        kind = {70: "hang", 71: "memory"}.get(done.returncode, "crash")
        text = f"status {done.returncode}: {done.stderr[-3000:]}"
        saved = re.findall(r"written to (\S+)", done.stderr)
        result.findings.append(Finding(kind, text, "", input=saved[-1] if saved else ""))
        result.inputs += not state["inputs"]  # a target that ends at once ends too


def _fast_folder() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _read_state(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / _STATE).read_bytes())  # type: ignore[no-any-return]
    except OSError:
        return {"inputs": 0, "slowest": 0.0, "findings": []}


def _line(result: Result) -> str:
    lines = [
        f"{result.target:24} {result.inputs:7,} inputs  {result.seconds:6.1f} s  "
        f"slowest {result.slowest:5.2f} s  {len(result.findings)} findings"
    ]
    lines += [
        f"  {found.kind} at {found.place}: {found.text}  [{found.input}]"
        for found in result.findings
    ]
    return "\n".join(lines)


class _Examiner:
    """Examines what Atheris generates, and notes what came of it."""

    def __init__(self, name: str, inputs: int, folder: Path, out: Path) -> None:
        self.name, self.wanted, self.out = name, inputs, out
        self.state = folder / _STATE
        self.folder = folder / "case"
        self.folder.mkdir()
        self.done, self.slowest = 0, 0.0
        self.findings: dict[str, Finding] = {}
        self.case = TARGETS[name](self.folder)
        self.case.warm_up()

    def __call__(self, data: bytes) -> None:
        begun = time.monotonic()
        finding = examine(self.case, data, self.folder)
        self.slowest = max(self.slowest, time.monotonic() - begun)
        self.done += 1
        if finding and finding.key not in self.findings:
            digest = hashlib.sha256(finding.key.encode()).hexdigest()[:8]
            file = self.out / f"{self.name}-{digest}.bin"
            file.write_bytes(data)
            told = f"{finding.key}\n{finding.text}\n{finding.trace}"
            file.with_suffix(".txt").write_bytes(told.encode(errors="backslashreplace"))
            self.findings[finding.key] = finding._replace(input=str(file), trace="")
            self._note()
        if self.done % 50 == 0 or self.done >= self.wanted:
            self._note()
        if self.done >= self.wanted:
            os._exit(0)  # Atheris itself ends the process so, but says nothing

    def _note(self) -> None:
        values = {
            "inputs": self.done,
            "slowest": self.slowest,
            "findings": list(self.findings.values()),
        }
        self.state.write_text(json.dumps(values))


def _fuzz(name: str, inputs: int, seed: int, folder: Path, out: Path) -> None:
    """Fuzzes a target in this process, which ends."""
    import atheris

    sys.dont_write_bytecode = True
    os.chdir(folder)
    with atheris.instrument_imports(include=["aclnet"], enable_loader_override=False):
        examiner = _Examiner(name, inputs, folder, out)
    seeds = examiner.case.seeds
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, content in enumerate(seeds):
        (corpus / f"{number}").write_bytes(content)

    def change(data: bytes, max_size: int, number: int) -> bytes:
        rng = np.random.default_rng(number)
        if rng.random() < 0.5:
            return bytes(atheris.Mutate(data, max_size))
        return mutate(data, rng, seeds)[:max_size]

    longest = max(4096, 2 * max(map(len, seeds)))
    limit = MEGABYTES + round(_peak_megabytes())
    arguments = [
        *("-runs=-1", f"-seed={seed + 1}", f"-max_len={longest}", f"-timeout={SECONDS}"),
        *(
            f"-rss_limit_mb={limit}",
            f"-artifact_prefix={out}/{name}-",
            "-verbosity=0",
            "-keep_seed=1",
        ),
        str(corpus),
    ]
    atheris.Setup([sys.argv[0], *arguments], examiner, custom_mutator=change)
    atheris.Fuzz()


def main() -> None:
    """Fuzzes a target, or all, as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.fuzz", description=__doc__)
    parser.add_argument("target", nargs="?", choices=[*TARGETS, "all"], metavar="TARGET")
    parser.add_argument("--inputs", type=int, default=1000, help="inputs to examine")
    parser.add_argument("--seed", type=int, default=0, help="seed of the mutations")
    parser.add_argument("--out", type=Path, help="where inputs that are findings are kept")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.target is None:
        print("\n".join(TARGETS))  # noqa: T201 - what was asked for
    elif asked.child:
        _fuzz(asked.target, asked.inputs, asked.seed, asked.child, asked.out)
    else:
        results = (
            run_all(asked.inputs, asked.seed, asked.out)
            if asked.target == "all"
            else [run_target(asked.target, asked.inputs, asked.seed, asked.out)]
        )
        if asked.target != "all":
            print(_line(results[0]))  # noqa: T201 - the report
        print(f"{sum(result.inputs for result in results):,} inputs")  # noqa: T201
        sys.exit(any(result.findings for result in results))


if __name__ == "__main__":
    main()
