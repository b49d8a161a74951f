"""Recordings of a folder, and the reader of recordings with one file per frame."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from aclnet.datasets.formats.files import read_file
from aclnet.datasets.readers import keypoint_json, yolo_text
from aclnet.datasets.readers.image_names import frame_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from aclnet.datasets.readers.poses import Asked, Poses

SUFFIXES = (".npy", ".npz", ".csv", ".json", ".skeleton", ".bvh", ".c3d")
"""Suffixes of recordings."""
_FRAMES = ("_keypoints.json", ".json", ".txt")
"""Endings of frames' files. A folder's frames have the first ending that occurs: OpenPose's
`clip_000000000012_keypoints.json`, a JSON file per image, Ultralytics' labels."""
_MAX_BYTES = 2**22
"""Limit of a frame's file in bytes."""
_TRIES = 3
"""Number of files to read to tell frames from recordings; one of them may be damaged."""


def files_of_frames(paths: Iterable[str], folders: Iterable[str]) -> dict[str, list[str]]:
    """Files of frames in each of the folders that has some, sorted."""
    inside: dict[str, list[str]] = {folder: [] for folder in folders}
    for path in sorted(paths):
        inside.get(path.rpartition("/")[0], []).append(path)
    found = {}
    for folder, names in inside.items():
        end = next((end for end in _FRAMES if any(name.endswith(end) for name in names)), None)
        if end:
            found[folder] = [name for name in names if name.endswith(end)]
    return found


def find_recordings(root: Path, sizes: Mapping[str, int]) -> list[str]:
    """Paths of recordings, both files and folders of frames, sorted.

    sizes: bytes of each file. The content of JSON files tells whether a folder of them is one
    recording, with a file per frame, or several recordings.
    """
    folders = {path.rpartition("/")[0] for path in sizes} - {""}
    inside = files_of_frames(sizes, folders)
    frames = {folder: paths for folder, paths in inside.items() if _are_frames(root, paths, sizes)}
    used = {path for paths in frames.values() for path in paths}
    files = [path for path in sizes if path.lower().endswith(SUFFIXES) and path not in used]
    return sorted([*frames, *files])


def read_frames(root: Path, paths: list[str], asked: Asked) -> Poses:
    """The recording whose frames are the files `paths`, numbered by their names."""
    names = {path: PurePosixPath(path).name.removesuffix(_FRAMES[0]) for path in paths}
    numbers = frame_numbers([*names.values()])
    contents = ((numbers[name], read_file(root, path, _MAX_BYTES)) for path, name in names.items())
    if paths[0].endswith(".txt"):
        return yolo_text.frames_of_files(contents, asked)
    return keypoint_json.frames_of_files(contents, asked)


def _are_frames(root: Path, paths: list[str], sizes: Mapping[str, int]) -> bool:
    if paths[0].endswith(_FRAMES[0]):
        return True
    is_frame = yolo_text.is_frame if paths[0].endswith(".txt") else keypoint_json.is_frame
    tries = 0
    for path in paths:
        found = is_frame(read_file(root, path, _MAX_BYTES)) if sizes[path] <= _MAX_BYTES else False
        tries += found is not None
        if found or tries == _TRIES:
            return bool(found)
    return False
