"""Files of pose estimators and sensors that hold the joints of one synthetic person.

Each function gives the content of a file from joints (T, V, C), or (1, V, C) for a single frame. If
the tool has a confidence, it is the last coordinate.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.synth.looks import HEIGHT, WIDTH

if TYPE_CHECKING:
    from aclnet.datasets.synth.body import FloatArray


_OPENPOSE = {"pose": 25, "hand_left": 21, "hand_right": 21, "face": 70}
"""Joints of each part, in the order of our layouts."""


def openpose(person: FloatArray) -> bytes:
    """A frame's file of one person (1, V, 3): the body, or all parts for large V."""
    found: dict[str, Any] = {"person_id": [-1]}
    start = 0
    for part, joints in _OPENPOSE.items():
        block = person[0, start : start + joints]
        found[f"{part}_keypoints_2d"] = np.round(block, 3).ravel().tolist()
        start += joints
    return json.dumps({"version": 1.3, "people": [found]}).encode()


def csv(values: FloatArray) -> bytes:
    """A table with a header: a column of frames' numbers, then x, y and z of each joint."""
    joints = range(values.shape[1])
    lines = [",".join(["frame", *(f"{axis}{j}" for j in joints for axis in "xyz")])]
    for frame, row in enumerate(values.reshape(len(values), -1).tolist()):
        lines.append(",".join([str(frame), *(f"{value:.5f}" for value in row)]))
    return ("\n".join(lines) + "\n").encode()


def coco_results(values: FloatArray) -> bytes:
    """COCO's results, one person per frame; frames without a joint are left out."""
    entries: list[dict[str, Any]] = [
        {
            "image_id": frame,
            "category_id": 1,
            "keypoints": np.round(person, 3).ravel().tolist(),
            "score": round(float(np.nanmean(person[:, 2])), 3),
        }
        for frame, person in enumerate(values)
    ]
    return json.dumps(entries).encode()


def mmpose(values: FloatArray) -> bytes:
    """MMPose's predictions of a video, frames from 1."""
    frames = [
        {"frame_id": number, "instances": _instances(person)}
        for number, person in enumerate(values, start=1)
    ]
    return json.dumps({"meta_info": {}, "instance_info": frames}).encode()


def _instances(person: FloatArray) -> list[dict[str, Any]]:
    rounded = np.round(person, 3)
    return [
        {
            "keypoints": rounded[:, :-1].tolist(),
            "keypoint_scores": rounded[:, -1].tolist(),
            "bbox_score": 0.9,
        }
    ]


def alphapose(values: FloatArray) -> bytes:
    """AlphaPose's results with tracking."""
    entries = [
        {
            "image_id": f"{frame}.jpg",
            "category_id": 1,
            "keypoints": np.round(person, 3).ravel().tolist(),
            "score": 2.5,
            "idx": 1,
        }
        for frame, person in enumerate(values)
    ]
    return json.dumps(entries).encode()


def alphapose_image(person: FloatArray) -> bytes:
    """AlphaPose's `sep-json` of `--format cmu`: a file for one image, one person (1, V, 3)."""
    people = [{"joints": np.round(person, 3).ravel().tolist()}]
    return json.dumps({"version": "AlphaPose v0.3", "bodies": people}).encode()


def deeplabcut(values: FloatArray) -> bytes:
    """DeepLabCut's table of one animal, here a person of COCO's joints."""
    joints = get_layout("coco").joints[: values.shape[1]]
    columns = [(joint, axis) for joint in joints for axis in ("x", "y", "likelihood")]
    lines = [
        ",".join(["scorer", *("DLC_resnet50" for _ in columns)]),
        ",".join(["bodyparts", *(joint for joint, _ in columns)]),
        ",".join(["coords", *(axis for _, axis in columns)]),
    ]
    for frame, row in enumerate(values.reshape(len(values), -1).tolist()):
        lines.append(",".join([str(frame), *(f"{value:.4f}" for value in row)]))
    return ("\n".join(lines) + "\n").encode()


def coco_annotations(values: FloatArray) -> bytes:
    """COCO's annotations; the visibility of found joints is 2."""
    images = [
        {
            "id": 100 + frame,
            "file_name": f"frame_{frame:06}.png",
            "width": WIDTH,
            "height": HEIGHT,
        }
        for frame in range(len(values))
    ]
    people: list[dict[str, Any]] = []
    for frame, person in enumerate(values):
        joints = np.column_stack([np.round(person[:, :2], 3), 2 * (person[:, 2] > 0)])
        one = {"id": frame, "image_id": 100 + frame, "category_id": 1, "track_id": 1}
        people.append({**one, "keypoints": joints.ravel().tolist()})
    categories = [{"id": 1, "name": "person"}]
    content = {"images": images, "annotations": people, "categories": categories}
    return json.dumps(content).encode()


def stgcn(values: FloatArray) -> bytes:
    frames = [
        {
            "frame_index": number,
            "skeleton": [
                {
                    "pose": np.round(person[:, :2] / [WIDTH, HEIGHT], 5).ravel().tolist(),
                    "score": np.round(person[:, 2], 3).tolist(),
                }
            ],
        }
        for number, person in enumerate(values, start=1)
    ]
    return json.dumps({"data": frames, "label": "", "label_index": 0}).encode()


def ultralytics(person: FloatArray) -> bytes:
    """A line of Ultralytics' labels, for one person (1, V, 3)."""
    joints = person[0] / [WIDTH, HEIGHT, 1]
    found = joints[person[0, :, 2] > 0, :2]
    low, high = (found.min(axis=0), found.max(axis=0)) if len(found) else np.zeros((2, 2))
    box = [*(low + high) / 2, *(high - low)]
    numbers = [f"{value:.6f}" for value in (*box, *joints.ravel())]
    return (" ".join(["0", *numbers]) + "\n").encode()


def mmpose_image(person: FloatArray) -> bytes:
    """MMPose's file of one image."""
    return json.dumps(_instances(person[0])).encode()


def kinect_v2(values: FloatArray) -> bytes:
    """Bodies of the SDK in the form of Newtonsoft's serialiser, one per frame."""
    names = get_layout("nturgb+d").joints
    frames = []
    for person in np.round(values, 5).tolist():
        joints = {
            name: {
                "JointType": v,
                "Position": dict(zip("XYZ", point, strict=True)),
                "TrackingState": 2,
            }
            for v, (name, point) in enumerate(zip(names, person, strict=False))
        }
        frames.append([{"Joints": joints, "IsTracked": True, "TrackingId": 72057594037930000}])
    return json.dumps(frames).encode()


def azure_kinect(values: FloatArray) -> bytes:
    frames = [
        {
            "frame_id": frame,
            "timestamp_usec": frame * 33_333,
            "num_bodies": 1,
            "bodies": [{"body_id": 1, "joint_positions": np.round(1000 * person, 2).tolist()}],
        }
        for frame, person in enumerate(values)
    ]
    return json.dumps({"joint_names": [], "bone_list": [], "frames": frames}).encode()


def holistic(values: FloatArray) -> bytes:
    """MediaPipe Holistic in the form of `MessageToDict`, in fractions of the image."""
    frames = []
    for person in values:
        shares = np.round(person[:, :2] / [WIDTH, HEIGHT], 5).tolist()
        points = [
            {"x": x, "y": y, "z": 0.0, "visibility": round(float(score), 3)}
            for (x, y), score in zip(shares, person[:, 2], strict=True)
        ]
        parts = {"pose_landmarks": points[:33]}
        parts |= {"left_hand_landmarks": points[33:54], "right_hand_landmarks": points[54:]}
        frames.append({key: {"landmark": part} for key, part in parts.items()})
    return json.dumps(frames).encode()


def long_csv(values: FloatArray) -> bytes:
    """A table with a line per joint, with the time."""
    lines = ["time,joint,x,y,z"]
    names = get_layout("kinect_v1").joints
    for frame, person in enumerate(values):
        for name, point in zip(names, person.tolist(), strict=False):
            lines.append(",".join([f"{frame / 30:.3f}", name, *(f"{v:.5f}" for v in point)]))
    return ("\n".join(lines) + "\n").encode()


def bvh(values: FloatArray) -> bytes:
    """Motion capture: every joint has a position in centimetres instead of angles."""
    layout = get_layout("kinect_v1")
    lines = ["HIERARCHY"]
    order: list[int] = []

    def write(joint: int, word: str) -> None:
        order.append(joint)
        lines.extend([f"{word} {layout.joints[joint]}", "{", "OFFSET 0 0 0"])
        lines.append("CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation")
        children = [j for j, parent in enumerate(layout.bone_parent) if parent == joint != j]
        for child in children:
            write(child, "JOINT")
        lines.extend(["}"] if children else ["End Site", "{", "OFFSET 0 0 0", "}", "}"])

    root = next(j for j, parent in enumerate(layout.bone_parent) if j == parent)
    write(root, "ROOT")
    order = order[: values.shape[1]]
    lines += ["MOTION", f"Frames: {len(values)}", "Frame Time: 0.0333333"]
    known = [min(parent, values.shape[1] - 1) for parent in layout.bone_parent]
    for person in 100 * values:
        row: list[float] = []
        for joint in order:
            at = min(joint, len(person) - 1)
            position = person[at] if joint == root else person[at] - person[known[joint]]
            row += [*position.tolist(), 0.0, 0.0, 0.0]
        lines.append(" ".join(f"{value:.4f}" for value in row))
    return ("\n".join(lines) + "\n").encode()


def c3d(values: FloatArray) -> bytes:
    """Markers of motion capture, named like Kinect's joints, in millimetres."""
    frames, points = values.shape[:2]
    labels = [name.ljust(16).encode() for name in get_layout("kinect_v1").joints[:points]]

    def entry(name: bytes, group: int, content: bytes) -> bytes:
        head = struct.pack("<bb", len(name), group) + name
        return head + struct.pack("<H", 2 + len(content)) + content

    def text(name: bytes, shape: tuple[int, ...], content: bytes) -> bytes:
        head = struct.pack(f"<bB{len(shape)}B", -1, len(shape), *shape)
        return entry(name, 1, head + content + b"\0")

    def number(name: bytes, form: str, value: float) -> bytes:
        kind = {"<h": 2, "<f": 4}[form]
        return entry(name, 1, struct.pack("<bB", kind, 0) + struct.pack(form, value) + b"\0")

    section = entry(b"POINT", -1, b"\0")
    section += number(b"USED", "<h", points) + number(b"FRAMES", "<h", frames)
    section += number(b"SCALE", "<f", -1.0) + number(b"RATE", "<f", 30.0)
    section += number(b"DATA_START", "<h", 4)
    section += text(b"LABELS", (16, points), b"".join(labels)) + text(b"UNITS", (2,), b"mm")
    section = b"\0\0\0T" + section + b"\0\0"
    blocks = 2
    section = section[:2] + bytes([blocks]) + section[3:]
    header = struct.pack("<BBHHHHHfH", 2, 0x50, points, 0, 1, frames, 0, -1.0, 2 + blocks)
    known = np.isfinite(values).all(axis=-1, keepdims=True)
    found = np.concatenate([1000 * values, np.where(known, 0, np.nan)], axis=-1).astype("<f4")
    return header.ljust(512, b"\0") + section.ljust(512 * blocks, b"\0") + found.tobytes()


def landmarks(values: FloatArray) -> bytes:
    """MediaPipe's landmarks of a person, a list per frame, in metres."""
    return json.dumps([_landmarks(person) for person in values]).encode()


def mediapipe_tasks(values: FloatArray) -> bytes:
    """The tasks of MediaPipe in Python: lists of persons, in the image and in metres."""
    return _of_tasks(values, "pose_landmarks", "pose_world_landmarks")


def mediapipe_js(values: FloatArray) -> bytes:
    """The tasks of MediaPipe in JavaScript."""
    return _of_tasks(values, "landmarks", "worldLandmarks")


def mediapipe_hands(values: FloatArray) -> bytes:
    """The hand task of MediaPipe, which has no visibility and writes 0."""
    known = np.concatenate([values, np.zeros_like(values[..., :1])], axis=-1)
    return _of_tasks(known, "hand_landmarks", "hand_world_landmarks")


def _of_tasks(values: FloatArray, image: str, world: str) -> bytes:
    shares = 0.5 + 0.2 * values[..., :2]
    in_image = np.concatenate([shares, values[..., 2:]], axis=-1)
    frames = [
        {"timestamp_ms": 33 * t, image: [_landmarks(in_image[t])], world: [_landmarks(values[t])]}
        for t in range(len(values))
    ]
    return json.dumps(frames).encode()


def _landmarks(person: FloatArray) -> list[dict[str, float]]:
    keys = ("x", "y", "z", "visibility")
    return [dict(zip(keys, point, strict=True)) for point in np.round(person, 5).tolist()]


def mediapipe_csv(values: FloatArray) -> bytes:
    """Landmarks in a table, a line per frame with its time in seconds."""
    names = [f"{axis}{v}" for v in range(1, values.shape[1] + 1) for axis in "xyzv"]
    lines = [",".join(["time", *names])]
    for frame, row in enumerate(values.reshape(len(values), -1).tolist()):
        lines.append(",".join([f"{frame / 30:.3f}", *(f"{value:.5f}" for value in row)]))
    return ("\n".join(lines) + "\n").encode()


def skeleton(values: FloatArray) -> bytes:
    """Kinect v2's text in the form of NTU's recordings: one body with all joints tracked."""
    lines = [str(len(values))]
    for person in values.tolist():
        lines += ["1", "72057594037930000 0 1 1 1 1 0 0 0 2", str(len(person))]
        lines += [" ".join([*(f"{v:.7g}" for v in joint), *"00000000", "2"]) for joint in person]
    return ("\n".join(lines) + "\n").encode()
