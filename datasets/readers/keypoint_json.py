"""JSON of pose estimators, recognised by its content.

`parse` reads a file with a whole recording. `frames_of_files` reads files with one frame each:
OpenPose's, and those that AlphaPose, MMPose and Ultralytics write for images. Each tool has a
function. MediaPipe and Kinects have separate modules, because their results are saved in many
ways.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.formats.json_text import parse_json
from aclnet.datasets.readers import kinect_json, mediapipe
from aclnet.datasets.readers.image_names import frame_numbers, short
from aclnet.datasets.readers.poses import (
    LAYOUTS,
    Asked,
    Frames,
    Person,
    Poses,
    identity_of,
    joints_of,
    list_of,
    score_of,
    to_poses,
    value_of,
)
from aclnet.datasets.spec import DamageError, NobodyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_PERSON = {"bodies": "joints", "people": "pose_keypoints_2d"}
"""Keys of AlphaPose's lists of persons, and of the joints in them; the second is OpenPose's."""
_STGCN_IMAGE = (340, 256)
"""Size of Kinetics' videos in pixels; ST-GCN's coordinates are fractions of it."""


def parse(data: bytes, asked: Asked | None = None) -> Poses:
    """The persons of a recording in one file.

    Raises DamageError if no known tool wrote the file, or if its content does not fit the tool.
    """
    asked = asked or Asked()
    content = parse_json(data)
    read = _reader_of_object(content) if isinstance(content, dict) else None
    if isinstance(content, list):
        first = next((entry for entry in content if entry), None)
        if first is None:
            raise NobodyError
        read = _reader_of_list(content, first)
    if read is None:
        known = ", ".join(LAYOUTS)
        raise DamageError(
            f"{_described(content)}; this is not the form of any of these tools: {known}"
        )
    return read(content, asked)


def frame_of_file(data: bytes, where: str, asked: Asked) -> tuple[str, list[Person]]:
    """The tool that wrote a frame's file, and the frame's persons; empty if there are none."""
    try:
        content = parse_json(data)
    except DamageError as damage:
        raise DamageError(f"{where}: {damage.reason}", damage.line) from None
    if isinstance(content, dict) and "people" in content:
        people = list_of(content, "people", where)
        return "OpenPose", _present(_of_openpose(person, where, asked) for person in people)
    if isinstance(content, dict) and "bodies" in content:
        people = list_of(content, "bodies", where)
        found = (_of_triples(person, _PERSON["bodies"], where) for person in people)
        return "AlphaPose by image", _present(found)
    entries = content.get("instance_info") if isinstance(content, dict) else content
    if not isinstance(entries, list):
        raise DamageError(
            f"{where}: {_described(content)}; the persons of a frame are expected, in the form of "
            "OpenPose, AlphaPose, MMPose or Ultralytics"
        )
    if not entries:
        return "", []
    if _is_of_ultralytics(entries[0]):
        return "Ultralytics YOLO", _present(_of_ultralytics(entry, where) for entry in entries)
    return "MMPose", _present(_of_mmpose(entry, where) for entry in entries)


def is_frame(data: bytes) -> bool | None:
    """True if a file holds the persons of one frame; None for a file without persons or tool."""
    try:
        tool, _ = frame_of_file(data, "the file", Asked())
    except DamageError:
        return False
    return True if tool else None


def frames_of_files(contents: Iterable[tuple[int, bytes]], asked: Asked | None = None) -> Poses:
    """The recording from the number and content of each frame's file.

    Raises DamageError that names the frame.
    """
    asked = asked or Asked()
    frames: Frames = {}
    tool = ""
    for number, data in contents:
        found, frames[number] = frame_of_file(data, f"frame {number}", asked)
        if tool and found and found != tool:
            raise DamageError(f"frame {number} was written by {found}, other frames by {tool}")
        tool = tool or found
    return _in_space(to_poses(tool, frames, asked))


def _reader_of_object(content: dict[str, Any]) -> Callable[[Any, Asked], Poses] | None:
    if "instance_info" in content:
        return mmpose
    if "annotations" in content and "images" in content:
        return coco_annotations
    if isinstance(content.get("data"), list):
        return stgcn
    if "frames" in content and "joint_names" in content:
        return kinect_json.azure
    if content and all(isinstance(v, dict) and v.keys() & {*_PERSON} for v in content.values()):
        return alphapose_by_image
    if mediapipe.is_recording(content):
        return mediapipe.parse
    if kinect_json.is_recording(content):
        return kinect_json.bodies
    if content.keys() & {*_PERSON}:
        raise DamageError(
            "one frame of OpenPose or AlphaPose; the index must name the folder of the recording"
        )
    return None


def _reader_of_list(content: list[Any], first: object) -> Callable[[Any, Asked], Poses] | None:
    """The reader of a list of results; `first` is the first entry that is not empty."""
    if isinstance(first, dict):
        if "instances" in first or ("keypoint_scores" in first and "keypoints" in first):
            return mmpose
        if "image_id" in first:
            return coco_results if isinstance(first["image_id"], int) else alphapose
    listed = first[0] if isinstance(first, list) else first
    if _is_of_ultralytics(listed):
        return ultralytics
    if mediapipe.is_frame(first):
        return mediapipe.parse
    return kinect_json.bodies if kinect_json.is_recording(content) else None


def coco_results(entries: list[Any], asked: Asked) -> Poses:
    """Results of COCO's keypoint task: `image_id` a number, `keypoints` x, y, confidence, ..."""
    return _entries("COCO results", entries, int, asked)


def alphapose(entries: list[Any], asked: Asked) -> Poses:
    """AlphaPose's own form: COCO's results with image names, which have numbers, as `image_id`."""
    return _entries("AlphaPose", entries, str, asked)


def _entries(tool: str, entries: list[Any], kind: type[int | str], asked: Asked) -> Poses:
    listed: list[tuple[int | str, Any, str]] = []
    for place, entry in enumerate(entries):
        where = f"entry {place}"
        image: int | str = value_of(entry, "image_id", where)
        if type(image) is not kind:
            raise DamageError(f"{where}: `image_id` has another type than the first one")
        if asked.wants(image):
            listed.append((image, entry, where))
    _check_wanted(listed, asked)
    numbers = frame_numbers([image for image, *_ in listed if isinstance(image, str)])
    frames: Frames = {}
    for image, entry, where in listed:
        people = frames.setdefault(numbers[image] if isinstance(image, str) else image, [])
        people += _present([_of_triples(entry, "keypoints", where)])
    return to_poses(tool, frames, asked)


def _check_wanted(found: list[Any], asked: Asked) -> None:
    if asked.images and not found:
        raise DamageError(
            f"no image name begins with {short(asked.images)!r}, the value of `images`"
        )


def alphapose_by_image(content: dict[str, Any], asked: Asked) -> Poses:
    """AlphaPose with `--format cmu` or `open`: an object of images, each with its persons."""
    wanted = {image: entry for image, entry in content.items() if asked.wants(image)}
    _check_wanted([*wanted], asked)
    frames: Frames = {}
    numbers = frame_numbers([*wanted])
    for image, entry in wanted.items():
        key = next((key for key in _PERSON if key in entry), "")
        if not isinstance(entry.get(key), list):
            raise DamageError(f"{short(image)} has no list of persons")
        people = (_of_triples(person, _PERSON[key], image) for person in entry[key])
        frames[numbers[image]] = _present(people)
    return to_poses("AlphaPose by image", frames, asked)


def coco_annotations(content: dict[str, Any], asked: Asked) -> Poses:
    """COCO's annotations: `images` with `file_name`, `annotations` with x, y, visibility, ...

    A visibility of 0 means that the joint was not found. Images without persons are frames too. As
    in CocoVID, a `frame_id` of the images takes precedence over the number in their names.
    """
    names: dict[Any, str] = {}
    ids: dict[Any, Any] = {}
    for place, image in enumerate(list_of(content, "images", "the file")):
        where = f"image {place}"
        name = value_of(image, "file_name", where)
        key = value_of(image, "id", where)
        if not isinstance(name, str) or type(key) not in (int, str):
            raise DamageError(f"{where}: `file_name` is not text, or `id` is not a number")
        if asked.wants(name):
            names[key], ids[key] = name, image.get("frame_id")
    _check_wanted([*names], asked)
    if len(set(names.values())) < len(names):
        raise DamageError("two images have the same `file_name`")
    told = [number for number in ids.values() if type(number) is int]
    if len(set(told)) < len(ids):
        numbers = frame_numbers([*names.values()])
        ids = {key: numbers[name] for key, name in names.items()}
    frames: Frames = {number: [] for number in ids.values()}
    for place, annotation in enumerate(list_of(content, "annotations", "the file")):
        where = f"annotation {place}"
        key = value_of(annotation, "image_id", where)
        if type(key) in (int, str) and key in ids and "keypoints" in annotation:
            frames[ids[key]] += _present([_of_annotation(annotation, where)])
    return to_poses("COCO annotations", frames, asked)


def _of_annotation(annotation: dict[str, Any], where: str) -> Person | None:
    joints = joints_of(annotation["keypoints"], 3, where)
    if joints is None:
        return None
    joints[joints[:, 2] == 0] = np.nan
    joints[:, 2] = np.where(joints[:, 2] > 0, 1, joints[:, 2])
    more = annotation.get("attributes")  # CVAT's
    return Person(joints, identity_of({**(more if isinstance(more, dict) else {}), **annotation}))


def mmpose(content: dict[str, Any] | list[Any], asked: Asked) -> Poses:
    """MMPose's predictions of a video, `frame_id` and `instances` with keypoints and scores.

    The predictions of one image are a list of instances.
    """
    meta: object = {}
    entries: object = content
    if isinstance(content, dict):
        entries, meta = content["instance_info"], content.get("meta_info")
    if not isinstance(entries, list):
        raise DamageError("`instance_info` is not a list")
    frames: Frames = {}
    if entries and isinstance(entries[0], dict) and "keypoints" in entries[0]:
        frames[0] = _present(_of_mmpose(entry, f"instance {i}") for i, entry in enumerate(entries))
        entries = []
    for place, entry in enumerate(entries):
        where = f"entry {place}"
        number = value_of(entry, "frame_id", where)
        if type(number) is not int or number in frames:
            raise DamageError(f"{where}: `frame_id` is not a unique frame number")
        instances = list_of(entry, "instances", where)
        frames[number] = _present(_of_mmpose(instance, where) for instance in instances)
    poses = _in_space(to_poses("MMPose", frames, asked))
    name = meta.get("dataset_name") if isinstance(meta, dict) else None
    return poses._replace(layout="h36m") if name == "h36m" else poses


def _in_space(poses: Poses) -> Poses:
    """The poses with the layout and units of MMPose's networks that lift poses to 3-D."""
    if poses.tool != "MMPose" or poses.keypoint.shape[-1] != 3:
        return poses
    layout = "h36m" if poses.keypoint.shape[2] == 17 else poses.layout
    return poses._replace(layout=layout, units="m")


def _of_mmpose(instance: object, where: str) -> Person | None:
    keypoints = value_of(instance, "keypoints", where)
    scores = value_of(instance, "keypoint_scores", where)
    if not keypoints:
        return None
    if not isinstance(keypoints, list) or not isinstance(scores, list):
        raise DamageError(f"{where}: a list of numbers is expected")
    if len(keypoints) != len(scores):
        raise DamageError(f"{where}: {len(scores)} scores do not fit its `keypoints`")
    sizes = {len(row) for row in keypoints if isinstance(row, list)}
    if sizes not in ({2}, {3}):
        raise DamageError(
            f"{where}: a keypoint does not have two coordinates, or three like all others"
        )
    (size,) = sizes
    rows = [row if isinstance(row, list) else [row] * size for row in keypoints]
    values = [v for row, score in zip(rows, scores, strict=True) for v in (*row, score)]
    joints = joints_of(values, size + 1, where)
    box = score_of(instance.get("bbox_score") if isinstance(instance, dict) else None)
    return None if joints is None else Person(joints, _identity(instance), box)


def _is_of_ultralytics(entry: object) -> bool:
    found = entry.get("keypoints") if isinstance(entry, dict) else None
    return isinstance(found, dict) and "x" in found


def ultralytics(content: list[Any], asked: Asked) -> Poses:
    """Ultralytics' `to_json` of each frame in one list, or of a single frame."""
    listed = [[frame] if isinstance(frame, dict) else frame or [] for frame in content]
    if isinstance(content[0], dict):
        listed = [content]
    frames: Frames = {}
    for number, entries in enumerate(listed):
        where = f"frame {number}"
        if not isinstance(entries, list):
            raise DamageError(f"{where} is not a list of persons")
        frames[number] = _present(_of_ultralytics(entry, where) for entry in entries)
    return to_poses("Ultralytics YOLO", frames, asked)


def _of_ultralytics(entry: object, where: str) -> Person | None:
    found = value_of(entry, "keypoints", where)
    columns = [list_of(found, key, where) for key in ("x", "y")]
    sure = list_of(found, "visible", where) if found.get("visible") else [1.0] * len(columns[0])
    columns.append(sure)
    if len({*map(len, columns)}) != 1:
        raise DamageError(f"{where}: x, y and `visible` are not lists of the same length")
    joints = joints_of([v for row in zip(*columns, strict=True) for v in row], 3, where)
    box = score_of(entry.get("confidence") if isinstance(entry, dict) else None)
    return None if joints is None else Person(joints, _identity(entry), box)


def stgcn(content: dict[str, Any], asked: Asked) -> Poses:
    """ST-GCN's clips of Kinetics: `pose` x, y in fractions of the image, and `score`."""
    frames: Frames = {}
    for place, frame in enumerate(content["data"]):
        where = f"frame {place}"
        number = value_of(frame, "frame_index", where)
        if type(number) is not int or number in frames:
            raise DamageError(f"{where}: `frame_index` is not a unique frame number")
        people = list_of(frame, "skeleton", where)
        frames[number] = _present(_of_stgcn(person, where) for person in people)
    return to_poses("ST-GCN", frames, asked)._replace(image=_STGCN_IMAGE)


def _of_stgcn(person: object, where: str) -> Person | None:
    pose, scores = (list_of(person, key, where) for key in ("pose", "score"))
    if len(pose) != 2 * len(scores):
        raise DamageError(f"{where}: {len(scores)} scores do not fit {len(pose)} coordinates")
    values = [v for joint in zip(pose[::2], pose[1::2], scores, strict=True) for v in joint]
    joints = joints_of(values, 3, where)
    if joints is None:
        return None
    joints[joints[:, 2] == 0] = np.nan  # like ST-GCN's feeder
    return Person(joints, _identity(person))


def _of_openpose(person: object, where: str, asked: Asked) -> Person | None:
    """The body, and the hands and the face if the layout has these joints."""
    body = _of_triples(person, "pose_keypoints_2d", where)
    parts = _OPENPOSE_PARTS.get(asked.joints or 0)
    if body is None or parts is None:
        return body
    assert isinstance(person, dict)  # the person has a body
    blocks = [body.joints]
    for key, joints in parts.items():
        found = joints_of(person.get(key), 3, where)
        blocks.append(np.full((joints, 3), np.nan) if found is None else found)
    return Person(np.concatenate(blocks), body.identity)


_HANDS = {"hand_left_keypoints_2d": 21, "hand_right_keypoints_2d": 21}
_OPENPOSE_PARTS = {67: _HANDS, 137: {**_HANDS, "face_keypoints_2d": 70}}
"""Parts that follow BODY_25, and their numbers of joints, by the number of all joints."""


def _of_triples(entry: object, key: str, where: str) -> Person | None:
    joints = joints_of(value_of(entry, key, where), 3, where)
    box = score_of(entry.get("score") if isinstance(entry, dict) else None)
    return None if joints is None else Person(joints, _identity(entry), box)


def _identity(entry: object) -> str:
    return identity_of(entry) if isinstance(entry, dict) else ""


def _present(people: Iterable[Person | None]) -> list[Person]:
    """The persons who have at least one joint."""
    return [person for person in people if person is not None]


def _described(content: object) -> str:
    """A description of a file's content, for a message."""
    if isinstance(content, dict):
        return f"an object with the keys {', '.join(map(short, [*content][:6])) or 'none'}"
    if isinstance(content, list) and content:
        return f"a list of {len(content)}, the first {_described(content[0])}"
    return f"a {type(content).__name__}"
