"""Files of pose estimators and sensors that hold the joints of one synthetic person.

Each function gives the content of a file from joints (T, V, C), or (1, V, C) of a frame, whose last
coordinate is the confidence where the tool has one.
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


def openpose(person: FloatArray) -> bytes:
    """A frame's file of one person (1, V, 3)."""
    keypoints = np.round(person, 3).ravel().tolist()
    people = [{"person_id": [-1], "pose_keypoints_2d": keypoints, "face_keypoints_2d": []}]
    return json.dumps({"version": 1.3, "people": people}).encode()


def csv(values: FloatArray) -> bytes:
    """A column of frames' numbers, then x, y and z of each joint, under a header."""
    joints = range(values.shape[1])
    lines = [",".join(["frame", *(f"{axis}{j}" for j in joints for axis in "xyz")])]
    for frame, row in enumerate(values.reshape(len(values), -1).tolist()):
        lines.append(",".join([str(frame), *(f"{value:.5f}" for value in row)]))
    return ("\n".join(lines) + "\n").encode()


def coco_results(values: FloatArray) -> bytes:
    """COCO's results, one person a frame; nothing is found in frames without a joint."""
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


def coco_annotations(values: FloatArray) -> bytes:
    """COCO's annotations; the visibility of what was found is 2."""
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
    """MediaPipe Holistic as `MessageToDict` gives it, in shares of the image."""
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
    """A line a joint, with the time."""
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
    """Markers of motion capture, called as Kinect's joints, in millimetres."""
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
    keys = ("x", "y", "z", "visibility")
    frames = [
        [dict(zip(keys, landmark, strict=True)) for landmark in person]
        for person in np.round(values, 5).tolist()
    ]
    return json.dumps(frames).encode()
