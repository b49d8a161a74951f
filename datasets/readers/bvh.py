"""BVH, the text format of motion capture: a hierarchy of joints, and their angles in each frame.

Positions follow from the offsets in the hierarchy and the rotations of all joints above. The format
has no unit; centimetres are usual. Ends of limbs (`End Site`) have no name and are left out.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aclnet.datasets.spec import DamageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

METRES = 0.01
"""Metres in a centimetre, the usual unit."""
_MAX_JOINTS = 1000
_MAX_CHANNELS = 6
"""Limit of a joint's channels: three of its position and three of its rotation."""
_MAX_NUMBERS = 2**26
_FRAMES_AT_ONCE = 2**12
"""Number of frames whose rotations are in memory together."""
_POSITIONS = {"Xposition": 0, "Yposition": 1, "Zposition": 2}
_ROTATIONS = {"Xrotation": 0, "Yrotation": 1, "Zrotation": 2}


class Hierarchy(NamedTuple):
    """The joints of a file, each after its parent."""

    joints: list[str]
    parents: list[int]
    """Parents of joints; the root is its own parent."""
    offsets: list[list[float]]
    channels: list[list[str]]


class Motion(NamedTuple):
    """A recording."""

    hierarchy: Hierarchy
    positions: NDArray[np.float64]
    """(T, V, 3) in the file's unit."""


def parse(data: bytes) -> Motion:
    """The recording in a file; raises DamageError with the line if the file is not BVH."""
    lines = data.decode("utf-8", "replace").splitlines()
    hierarchy, at = _hierarchy(lines)
    values = _values(lines, at, hierarchy)
    with np.errstate(all="ignore"):  # numbers out of range are found below
        blocks = range(0, len(values), _FRAMES_AT_ONCE)
        parts = [_positions(hierarchy, values[t : t + _FRAMES_AT_ONCE]) for t in blocks]
    positions = np.concatenate(parts)
    if not np.isfinite(positions).all():
        frame = int(np.argmin(np.isfinite(positions).all(axis=(1, 2))))
        raise DamageError(f"frame {frame} has a position that is out of range")
    return Motion(hierarchy, positions)


def read_hierarchy(data: bytes) -> Hierarchy:
    """The joints of a file, without its frames."""
    return _hierarchy(data.decode("utf-8", "replace").splitlines())[0]


def _hierarchy(lines: list[str]) -> tuple[Hierarchy, int]:
    """The joints, and the index of the line after `MOTION`."""
    found = Hierarchy([], [], [], [])
    above: list[int | None] = []
    joint: int | None = None
    for place, line in enumerate(lines):
        number, words = place + 1, line.split()
        match words:
            case [] | ["HIERARCHY"]:
                pass
            case ["ROOT" | "JOINT", *name] if name:
                joint = len(found.joints)
                if joint == _MAX_JOINTS:
                    raise DamageError(f"more than {_MAX_JOINTS} joints", number)
                parent = next((one for one in reversed(above) if one is not None), joint)
                found.joints.append(" ".join(name).rpartition(":")[2])
                found.parents.append(parent)
                found.offsets.append([])
                found.channels.append([])
            case ["End", "Site"]:
                joint = None
            case ["{"] if len(above) <= _MAX_JOINTS:
                above.append(joint)
            case ["}"] if above:
                above.pop()
            case ["OFFSET", *offset] if len(offset) == 3 and above:
                if joint is not None:
                    found.offsets[joint] = [_number(word, number) for word in offset]
            case ["CHANNELS", count, *channels] if (
                count == str(len(channels)) and joint is not None and len(channels) <= _MAX_CHANNELS
            ):
                unknown = {*channels} - {*_POSITIONS, *_ROTATIONS}
                if unknown:
                    raise DamageError(f"channel {min(unknown)!r} is not known", number)
                found.channels[joint] = channels
            case ["MOTION"] if found.joints and not above:
                lost = next((j for j, offset in enumerate(found.offsets) if not offset), None)
                if lost is not None:
                    raise DamageError(f"joint {found.joints[lost]} has no OFFSET", number)
                return found, place + 1
            case _:
                raise DamageError(f"{line.strip()[:40]!r} is not allowed in a hierarchy", number)
    raise DamageError("there is no MOTION after the hierarchy of joints", len(lines) or None)


def _values(lines: list[str], at: int, hierarchy: Hierarchy) -> NDArray[np.float64]:
    """(T, columns) angles and positions of all frames."""
    columns = sum(map(len, hierarchy.channels))
    most = _MAX_NUMBERS // max(columns, 3 * len(hierarchy.joints))
    head = [line.split() for line in lines[at : at + 2]]
    if len(head) < 2 or head[0][:1] != ["Frames:"] or head[1][:2] != ["Frame", "Time:"]:
        raise DamageError("`Frames:` and `Frame Time:` are expected after MOTION", at + 1)
    values = array("d")
    frames = 0
    for number, line in enumerate(lines[at + 2 :], start=at + 3):
        words = line.split()
        if not words:
            continue
        if len(words) != columns:
            raise DamageError(f"{len(words)} values; {columns} are expected", number)
        values.extend(_number(word, number) for word in words)
        frames += 1
        if frames > most:
            raise DamageError(f"more than {most:,} frames with this number of joints", number)
    told = head[0][1] if len(head[0]) == 2 else ""
    if not frames or told != str(frames):
        raise DamageError(f"{frames} frames, but `Frames:` is {told[:40] or 'empty'}", at + 1)
    return np.array(values).reshape(frames, columns)


def _number(word: str, line: int) -> float:
    try:
        value = float(word)
    except ValueError:
        raise DamageError(f"{word[:40]!r} is not a number", line) from None
    if not np.isfinite(value):
        raise DamageError(f"{word[:40]!r} is not finite", line)
    return value


def _positions(hierarchy: Hierarchy, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T, V, 3) positions of all joints, from the rotations of the joints above."""
    frames, joints = len(values), len(hierarchy.joints)
    positions = np.empty((frames, joints, 3))
    rotations = np.empty((frames, joints, 3, 3))
    column = 0
    for j, (parent, channels) in enumerate(zip(hierarchy.parents, hierarchy.channels, strict=True)):
        offset = np.tile(hierarchy.offsets[j], (frames, 1))
        rotation = np.tile(np.eye(3), (frames, 1, 1))
        for channel in channels:
            value = values[:, column]
            column += 1
            if channel in _POSITIONS:  # replaces the offset
                offset[:, _POSITIONS[channel]] = value
            else:
                rotation = rotation @ _about(_ROTATIONS[channel], np.radians(value))
        if parent == j:
            positions[:, j], rotations[:, j] = offset, rotation
        else:
            above = rotations[:, parent]
            positions[:, j] = positions[:, parent] + (above @ offset[..., None])[..., 0]
            rotations[:, j] = above @ rotation
    return positions


def _about(axis: int, angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T, 3, 3) rotations by angles (T,) about x, y or z."""
    matrix = np.zeros((len(angle), 3, 3))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix[:, axis, axis] = 1
    matrix[:, first, first] = matrix[:, second, second] = np.cos(angle)
    matrix[:, first, second] = -np.sin(angle)
    matrix[:, second, first] = np.sin(angle)
    return matrix
