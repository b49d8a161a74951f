"""JSON of Kinect skeletons: Azure Kinect's `offline_processor`, and bodies of Kinect v1 and v2 as
programs serialise them.

A recording of the SDKs is a list of frames, possibly under `frames`. A frame is a list of bodies,
an object with `bodies` or `skeletons`, or a body. A body has `Joints`, by name or in a list. A
joint has its `JointType` and `Position`, or `cameraX`, `cameraY` and `cameraZ` in the order of the
SDK, as in the package kinect2 of Node.js. All values are metres. Keys may be in capitals or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.readers.image_names import short
from aclnet.datasets.readers.poses import (
    Frames,
    Person,
    identity_of,
    joints_of,
    list_of,
    numbered_frames,
    to_poses,
)
from aclnet.datasets.spec import DamageError
from aclnet.datasets.spec.layouts import get_layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.readers.poses import Asked, Poses

_BODIES = ("bodies", "skeletons")
_AXES = ("x", "y", "z")
_LAYOUTS = ("nturgb+d", "kinect_v1")
_NOT_TRACKED = (0, "0", "nottracked")

_Joints = dict[str | int, list[Any]]
"""x, y and z by the name of a joint, or by its number in the SDK."""


def azure(content: dict[str, Any], asked: Asked) -> Poses:
    """The body tracking of Azure Kinect, `offline_processor`: millimetres, without confidences."""
    frames: Frames = {}
    for place, frame in enumerate(list_of(content, "frames", "the file")):
        where = f"frame {place}"
        number = frame.get("frame_id", place) if isinstance(frame, dict) else None
        if type(number) is not int or number in frames:
            raise DamageError(f"{where}: `frame_id` is not a unique frame number")
        bodies = (_of_azure(body, where) for body in list_of(frame, "bodies", where))
        frames[number] = [body for body in bodies if body is not None]
    return to_poses("Azure Kinect", frames, asked)._replace(units="m", score=None)


def _of_azure(body: object, where: str) -> Person | None:
    positions = list_of(body, "joint_positions", where)
    if not all(isinstance(joint, list) and len(joint) == 3 for joint in positions):
        raise DamageError(f"{where}: a joint is not x, y, z")
    joints = joints_of([v for joint in positions for v in (*joint, 1.0)], 4, where)
    if joints is None:
        return None
    joints[:, :3] /= 1000
    return Person(joints, identity_of(body) if isinstance(body, dict) else "")


def is_recording(content: list[Any] | dict[str, Any]) -> bool:
    """True if the first bodies look like those of an SDK."""
    frames = (frame for _, frame in numbered_frames(content))
    body = next((body for frame in frames for body in _bodies(frame) if body.get("joints")), {})
    listed = body.get("joints")
    joints = [*listed.values()] if isinstance(listed, dict) else listed
    if not isinstance(joints, list):
        return False
    first = _plain(joints[0])
    return bool(first.keys() & {"position", "camerax"}) or {*_AXES} <= first.keys()


def bodies(content: list[Any] | dict[str, Any], asked: Asked) -> Poses:
    """The bodies of a recording of Kinect v1 or v2; joints that were not tracked are missing."""
    found: dict[int, list[tuple[_Joints, str]]] = {}
    for number, frame in numbered_frames(content):
        where = f"frame {number}"
        if number in found:
            raise DamageError("two frames have the same number")
        listed = _bodies(frame)
        tracked = [
            body for body in listed if body.get("istracked", body.get("tracked")) is not False
        ]
        found[number] = [(_joints(body, where), _identity(body)) for body in tracked]
    layout = _layout({name for people in found.values() for joints, _ in people for name in joints})
    frames = {
        number: [
            Person(joints, identity)
            for person, identity in people
            if (joints := _placed(person, layout, f"frame {number}")) is not None
        ]
        for number, people in found.items()
    }
    return to_poses("Kinect", frames, asked)._replace(layout=layout, units="m", score=None)


def _bodies(frame: object) -> list[dict[str, Any]]:
    """Bodies of a frame, with normalised keys."""
    if isinstance(frame, dict):
        known = _plain(frame)
        listed = next((known[key] for key in _BODIES if key in known), None)
        frame = [frame] if "joints" in known else listed
    return [_plain(body) for body in frame] if isinstance(frame, list) else []


def _joints(body: dict[str, Any], where: str) -> _Joints:
    """The tracked joints of a body."""
    listed = body.get("joints")
    entries = listed.items() if isinstance(listed, dict) else enumerate(listed or [])
    found: _Joints = {}
    for key, joint in entries:
        known = _plain(joint)
        name = key if isinstance(listed, dict) else known.get("jointtype")
        position = _plain(known.get("position"))
        if "camerax" in known:
            name = key if name is None else name
            position = {axis: known.get(f"camera{axis}") for axis in _AXES}
        if not {*_AXES} <= position.keys() or not isinstance(name, str | int):
            keys = ", ".join(map(short, [*known][:6])) or "none"
            raise DamageError(
                f"{where}: a joint has the keys {keys}; `JointType` and `Position`, or `cameraX`, "
                "are expected, as in the SDK of Kinect. The units of other keys are not known: "
                "write a table with the columns frame, joint, x, y, z"
            )
        name = _name(name)
        if name in found:
            raise DamageError(f"{where}: joint {short(str(name))} occurs twice in a body")
        if _lower(known.get("trackingstate", "")) not in _NOT_TRACKED:
            found[name] = [position[axis] for axis in _AXES]
    return found


def _name(name: str | int) -> str | int:
    """A normalised name: `JointType_Head` and `head` are the same; numbers may be text."""
    if isinstance(name, int):
        return name
    plain = name.lower().replace("_", "").removeprefix("jointtype")
    return int(plain) if plain.isdecimal() and len(plain) < 3 else plain


def _layout(names: set[str | int]) -> str:
    """The layout of the Kinect that has all these joints."""
    words = {name for name in names if isinstance(name, str)}
    numbers = {name for name in names if isinstance(name, int)}
    for layout in _LAYOUTS if words else _LAYOUTS[::-1]:  # a body with 20 numbers is Kinect v1's
        joints = get_layout(layout).joints
        if words <= {*map(str.lower, joints)} and numbers <= {*range(len(joints))}:
            return layout
    known = {joint.lower() for layout in _LAYOUTS for joint in get_layout(layout).joints}
    strange = sorted(words - known) or sorted(words) or [f"number {max(numbers, key=abs)}"]
    raise DamageError(f"joint {short(strange[0])} is not a joint of Kinect v1 or v2")


def _placed(person: _Joints, layout: str, where: str) -> NDArray[np.float64] | None:
    """(V, 4) coordinates and 1, NaN if a joint is missing; None if all are missing."""
    names = [name.lower() for name in get_layout(layout).joints]
    placed: dict[int, list[Any]] = {
        names.index(name) if isinstance(name, str) else name: values
        for name, values in person.items()
    }
    values = [placed.get(v, [None] * 3) for v in range(len(names))]
    joints = joints_of([v for joint in values for v in (*joint, 1.0)], 4, where)
    return None if joints is None or np.isnan(joints).all() else joints


def _identity(body: dict[str, Any]) -> str:
    return identity_of({"tracking_id": body.get("trackingid")})


def _plain(entry: object) -> dict[str, Any]:
    """The object with keys without capitals and underscores; empty if it is not an object."""
    return {_lower(key): value for key, value in entry.items()} if isinstance(entry, dict) else {}


def _lower(value: Any) -> Any:  # noqa: ANN401 - as JSON has it
    return value.lower().replace("_", "") if isinstance(value, str) else value
