"""Parser of NTU RGB+D's `.skeleton` text files.

`_parse_fast` reads a file as one array of bytes and gives up on anything unusual; `_parse_strict`
then reads the file line by line and reports the problem and its line. Files that the fast parser
accepts give the same result in the strict one.

Numbers become float64, correctly rounded, then float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aclnet.datasets.spec import DamageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_JOINTS = 25
_BODY_FIELDS = 10
_JOINT_FIELDS = 12
# lines of one body in one frame: its fields, the joint count, the joints
_BLOCK_LINES = 2 + NUM_JOINTS

# No recording comes near these limits; they keep a hostile file from filling the memory.
_MAX_BODY_FRAMES = 2**18
_MAX_METRES = 1e6


class _Blocks(NamedTuple):
    """A parsed file: B blocks, one per body and frame, in the order of the file."""

    frame: list[int]
    """Frame of each block, from 0."""
    body: list[bytes]
    """Body id of each block."""
    line: list[int]
    """Line of each block's body fields, from 1."""
    xyz: NDArray[np.float64]
    """(B, V, 3) positions."""


class Bodies(NamedTuple):
    """The bodies of a recording."""

    keypoint: NDArray[np.float32]
    """(M, T, V, 3) in metres."""
    present: NDArray[np.bool_]
    """(M, T) whether a body is in a frame."""
    frame_index: NDArray[np.int32]
    """(T,) numbers of the frames with a body."""
    ids: list[str]
    """(M,) body ids."""


def parse_bodies(data: bytes) -> Bodies:
    """The bodies in a `.skeleton` file; raises DamageError with the line if the file is invalid."""
    return _gather(_parse_fast(data) or _parse_strict(data))


def _gather(blocks: _Blocks) -> Bodies:
    """Sorts the blocks by body and by frame with a body."""
    if not blocks.frame:
        raise DamageError("no body in any frame", kind="no person")
    number = {body: m for m, body in enumerate(dict.fromkeys(blocks.body))}
    frame_index, frame = np.unique(np.array(blocks.frame, np.int32), return_inverse=True)
    body = np.array([number[body] for body in blocks.body])
    shape = (len(number), len(frame_index))
    if shape[0] * shape[1] > _MAX_BODY_FRAMES:
        raise DamageError(f"{shape[0]} bodies in {shape[1]} frames are too many for the sensor")

    _check_coordinates(blocks)
    present = np.zeros(shape, np.bool_)
    present[body, frame] = True
    if present.sum() != len(body):
        raise _twice(blocks)
    keypoint = np.zeros((*shape, NUM_JOINTS, 3), np.float32)
    keypoint[body, frame] = blocks.xyz
    return Bodies(keypoint, present, frame_index, [body.decode() for body in number])


def _check_coordinates(blocks: _Blocks) -> None:
    is_sound = np.abs(blocks.xyz) <= _MAX_METRES  # false for NaN too
    if not is_sound.all():
        block, joint, axis = np.argwhere(~is_sound)[0].tolist()
        raise DamageError(
            f"{'xyz'[axis]} of joint {joint} is {blocks.xyz[block, joint, axis]:g}, not a position",
            blocks.line[block] + 2 + joint,
        )


def _twice(blocks: _Blocks) -> DamageError:
    seen = set()
    for key, line in zip(zip(blocks.frame, blocks.body, strict=True), blocks.line, strict=True):
        if key in seen:
            return DamageError(f"body {key[1].decode()} is in frame {key[0]} twice", line)
        seen.add(key)
    raise AssertionError("no block occurs twice")


# The strict parser


def _parse_strict(data: bytes) -> _Blocks:
    """Reads the file line by line; raises DamageError."""
    if not data.strip():
        raise DamageError("the file is empty")
    lines = _Lines(data)
    blocks = _Blocks([], [], [], np.empty(0))
    xyz: list[float] = []
    for frame in range(lines.count("the number of frames")):
        for _ in range(lines.count(f"the number of bodies in frame {frame}")):
            blocks.frame.append(frame)
            blocks.body.append(lines.body_id(frame))
            blocks.line.append(lines.number)
            joints = lines.count("the number of joints")
            if joints != NUM_JOINTS:
                raise DamageError(f"{joints} joints, {NUM_JOINTS} expected", lines.number)
            for joint in range(NUM_JOINTS):
                xyz += lines.position(joint)
    lines.end()
    return blocks._replace(xyz=np.array(xyz, np.float64).reshape(-1, NUM_JOINTS, 3))


class _Lines:
    """The lines of a file, one after another, without blank lines at the end."""

    def __init__(self, data: bytes) -> None:
        self._lines = data.rstrip().split(b"\n")
        self.number = 0
        """Number of the line that was read last, from 1."""

    def count(self, what: str) -> int:
        (field,) = self._fields(1, what)
        try:
            return _count(field)
        except ValueError:
            raise DamageError(f"{what} expected, found {_quote(field)}", self.number) from None

    def body_id(self, frame: int) -> bytes:
        field = self._fields(_BODY_FIELDS, f"a body of frame {frame}")[0]
        if not _is_body_id(field):
            raise DamageError(f"a body id expected, found {_quote(field)}", self.number)
        return field

    def position(self, joint: int) -> list[float]:
        fields = self._fields(_JOINT_FIELDS, f"joint {joint}")[:3]
        try:
            return [_decimal(field) for field in fields]
        except ValueError:
            found = _quote(b" ".join(fields))
            reason = f"x y z of joint {joint} expected, found {found}"
            raise DamageError(reason, self.number) from None

    def end(self) -> None:
        if self.number < len(self._lines):
            raise DamageError("there is more after the last frame", self.number + 1)

    def _fields(self, expected: int, what: str) -> list[bytes]:
        if self.number == len(self._lines):
            raise DamageError(f"the file ends before {what} (truncated?)", self.number)
        fields = self._lines[self.number].split()
        self.number += 1
        if len(fields) != expected:
            reason = f"{what}: {len(fields)} values in the line; {expected} expected"
            raise DamageError(reason, self.number)
        return fields


def _count(field: bytes) -> int:
    if field.isdigit() and len(field) <= 9:
        return int(field)
    raise ValueError


def _is_body_id(field: bytes) -> bool:
    return field.isdigit() and len(field) <= 20


def _decimal(field: bytes) -> float:
    if b"_" in field:  # float() accepts them as digit separators
        raise ValueError
    return float(field)


def _quote(field: bytes) -> str:
    return repr(field[:40].decode("ascii", "backslashreplace"))


# The fast parser

# numbers of fields in the lines of a block
_BLOCK_FIELDS = np.array([_BODY_FIELDS, 1] + [_JOINT_FIELDS] * NUM_JOINTS)
# indices of x, y, z of every joint among the fields after the first joint's x
_XYZ_FIELDS = (np.arange(NUM_JOINTS)[:, None] * _JOINT_FIELDS + np.arange(3)).ravel()


def _parse_fast(data: bytes) -> _Blocks | None:
    """The result of `_parse_strict`, or None if only the strict parser can decide."""
    fields = _tokenize(data)
    if fields is None:
        return None
    try:
        frame, line = _find_blocks(data, fields)
        if not frame:
            return None
        block = np.array(line) - 1
        line_first = np.concatenate(([0], fields.line_end[:-1] + 1))
        num_fields = fields.line_end - line_first + 1
        if (num_fields[block[:, None] + np.arange(_BLOCK_LINES)] != _BLOCK_FIELDS).any():
            return None
        body = fields.texts(data, line_first[block])
        xyz_fields = (line_first[block + 2][:, None] + _XYZ_FIELDS).ravel()
        xyz = _decimals(data, fields.begin(xyz_fields), fields.end[xyz_fields])
    except (IndexError, ValueError):
        return None
    if not all(map(_is_body_id, body)):
        return None
    return _Blocks(frame, body, line, xyz.reshape(-1, NUM_JOINTS, 3))


def _find_blocks(data: bytes, fields: _Fields) -> tuple[list[int], list[int]]:
    """Frame (from 0) and line (from 1) of each block, from the counts in the file.

    Raises ValueError or IndexError if a count is not a number, or if lines are missing.
    """
    ends = fields.end[fields.line_end].tolist()

    def count(line: int) -> int:  # for any line but the file's first
        return _count(data[ends[line - 1] + 1 : ends[line]].rstrip(b"\r"))

    frames: list[int] = []
    lines: list[int] = []
    line = 1
    for frame in range(_count(data[: ends[0]].rstrip(b"\r"))):
        num_bodies = count(line)
        line += 1
        for _ in range(num_bodies):
            if count(line + 1) != NUM_JOINTS:
                raise ValueError
            frames.append(frame)
            lines.append(line + 1)
            line += _BLOCK_LINES
    if line != len(ends):
        raise ValueError
    return frames, lines


class _Fields(NamedTuple):
    """Ends of a file's fields and lines, in bytes and in fields."""

    end: NDArray[np.intp]
    """Byte after each field; a carriage return before the line feed belongs to the field."""
    line_end: NDArray[np.intp]
    """Index of each line's last field."""

    def begin(self, fields: NDArray[np.intp]) -> NDArray[np.intp]:
        """First byte of fields, which must not be the first of the file."""
        return self.end[fields - 1] + 1

    def texts(self, data: bytes, fields: NDArray[np.intp]) -> list[bytes]:
        begin, end = self.begin(fields).tolist(), self.end[fields].tolist()
        return [data[i:j] for i, j in zip(begin, end, strict=True)]


def _tokenize(data: bytes) -> _Fields | None:
    """The fields, or None unless one space separates fields and LF or CR LF ends every line."""
    if not data.endswith(b"\n"):
        return None
    text = np.frombuffer(data, np.uint8)
    end = np.flatnonzero(text <= ord(" "))
    white = text[end]
    is_return = white == ord("\r")
    if is_return.any():
        at = end[is_return]
        if at[0] == 0 or (text[at - 1] <= ord(" ")).any() or (text[at + 1] != ord("\n")).any():
            return None
        end, white = end[~is_return], white[~is_return]
    is_line_end = white == ord("\n")
    is_regular = (is_line_end | (white == ord(" "))).all() and (end[1:] - end[:-1] > 1).all()
    return _Fields(end, np.flatnonzero(is_line_end)) if is_regular and end[0] > 0 else None


def _decimals(data: bytes, begin: NDArray[np.intp], end: NDArray[np.intp]) -> NDArray[np.float64]:
    """(N,) values of the fields data[begin:end], which start at byte 8 or later.

    Nearly all fields have the form -d.dddddddd with one to eight decimals. They are read eight
    digits at once within one 64-bit word: multiplications join neighbouring digits, pairs and fours
    (D. Lemire, "Quickly parsing eight digits", 2018). The integer is below 10^9, so its division by
    a power of ten is correctly rounded. All other fields go through `float`. Raises ValueError.
    """
    text = np.frombuffer(data, np.uint8)
    is_negative = text[begin] == ord("-")
    lead = begin + is_negative
    decimals = end - lead - 2

    # The eight bytes before the end, the last one on top; those before the decimals become "0".
    words = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))[end - 8]
    bits = decimals.astype(np.uint64) << _U(3)
    words = (words >> (_U(64) - bits) << (_U(64) - bits)) | (_ZEROS >> bits)
    # A digit is 0x30 to 0x39: its upper half is 3, also after adding 6.
    halves = (words & _UPPER) | (((words + _SIXES) & _UPPER) >> _U(4))
    whole = text[lead] - np.uint8(ord("0"))
    is_plain = (halves == _THREES) & (whole <= 9) & (text[lead + 1] == ord("."))
    is_plain &= (decimals >= 1) & (decimals <= 8)

    words &= _LOWER
    words = (words * _U(10 * 2**8 + 1) >> _U(8)) & _U(0x00FF00FF00FF00FF)
    words = (words * _U(100 * 2**16 + 1) >> _U(16)) & _U(0x0000FFFF0000FFFF)
    words = words * _U(10_000 * 2**32 + 1) >> _U(32)
    scale = _POWERS[np.clip(decimals, 0, 8)]
    values: NDArray[np.float64] = (whole * scale + words) / scale
    np.negative(values, out=values, where=is_negative)
    for i in np.flatnonzero(~is_plain).tolist():
        values[i] = _decimal(data[begin[i] : end[i]])
    return values


_U = np.uint64
_ZEROS = _U(0x3030303030303030)
_UPPER = _U(0xF0F0F0F0F0F0F0F0)
_LOWER = _U(0x0F0F0F0F0F0F0F0F)
_SIXES = _U(0x0606060606060606)
_THREES = _U(0x3333333333333333)
_POWERS = np.array([1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8])
