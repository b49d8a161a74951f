"""Synthetic people in the `.skeleton` files of NTU RGB+D.

Files and names follow the grammar of the originals (Shahroudy et al., "NTU RGB+D: A large scale
dataset for 3D human activity analysis", CVPR 2016, and the readers published with it). They
therefore pass through the same code as real data. Their content is synthetic: results on it say
nothing about people.

Random numbers are keyed by the seed and by what is drawn: a person by the performer, a performance
by the name without the camera, noise by the whole name. A file therefore has the same bytes in
every set of files, unless `damage` picks the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.spec import AclnetError, silent
from aclnet.datasets.synth import kinect
from aclnet.datasets.synth.acting import person, play
from aclnet.datasets.synth.body import PARENT, FloatArray
from aclnet.datasets.synth.damage import deal_damage
from aclnet.datasets.synth.motion import MOVEMENTS, num_people
from aclnet.datasets.synth.request import Request, Summary, check_range
from aclnet.datasets.synth.seeding import choose, rng_for
from aclnet.datasets.synth.writing import write_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from aclnet.datasets.spec import Progress
    from aclnet.datasets.synth.request import Generate

ACTIONS = tuple(MOVEMENTS)
"""Numbers of the actions that can be generated, in the order of the families."""
DAMAGES = ("truncated", "joint count", "nan", "empty", "garbage", "no body")
"""Kinds of damage of a file."""

X_SUB_TRAIN = (1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38)
_X_SUB_TEST = tuple(p for p in range(1, 41) if p not in X_SUB_TRAIN)
_SUBJECTS = (2, 40)
_NUM_SETUPS = 17

# Pinhole models fitted to original recordings: focal length and centre in pixels. The colour camera
# is 5 cm beside the depth camera.
_DEPTH = (366.5, 256.0, 209.0, 0.0)
_COLOUR = (1057.0, 956.0, 540.0, 0.053)
_ORIENTED = [j for j in range(25) if j not in (3, 15, 19, 21, 22, 23, 24)]
"""Kinect reports no orientation (four zeros) for head, feet, fingertips and thumbs."""

_TRACK_NOISE = 0.005

_BODY_LINE = "%d 0 %d %d %d %d 0 %.7g %.7g 2\r\n25\r\n"
_JOINT_LINE = " ".join(["%.7g"] * 11) + " %d\r\n"
_BODY = _BODY_LINE + 25 * _JOINT_LINE


@dataclass(slots=True)
class Recording:
    """Content of one file."""

    name: str
    num_frames: int
    bodies: list[kinect.TrackedBody]
    """Bodies in the order in which the file lists them within a frame."""


def sample_names(
    *,
    actions: Iterable[int] | None = None,
    subjects: int = 10,
    setups: int = 1,
    replications: int = 2,
    cameras: int = 3,
) -> list[str]:
    """Names `SsssCcccPpppRrrrAaaa` of a set of recordings, sorted.

    actions: action numbers, by default all ACTIONS. subjects: 2 to 40; two of three are on the
    training side of X-Sub while there are any left. setups: in how many of the 17 each subject
    appears. replications: 1 or 2. cameras: 1 to 3; 1 alone leaves X-View without a training side.
    Names that NTU RGB+D lists as missing are left out.

    Raises AclnetError for a number out of range.
    """
    chosen = ACTIONS if actions is None else tuple(actions)
    if not chosen or not set(chosen) <= set(ACTIONS):
        known = ", ".join(map(str, sorted(ACTIONS)))
        raise AclnetError(f"actions {list(chosen)}: choose at least one of {known}")
    check_range("subjects", subjects, *_SUBJECTS)
    check_range("setups", setups, 1, _NUM_SETUPS)
    check_range("replications", replications, 1, 2)
    check_range("cameras", cameras, 1, 3)
    performers = _performers(subjects)
    names = [
        f"S{(index + turn) % _NUM_SETUPS + 1:03}C{c:03}P{p:03}R{r:03}A{a:03}"
        for (index, p), turn, c, r, a in product(
            enumerate(performers),
            range(setups),
            range(1, cameras + 1),
            range(1, replications + 1),
            dict.fromkeys(chosen),
        )
    ]
    return sorted(set(names) - _missing())


def write_skeletons(
    folder: Path,
    names: Sequence[str],
    seed: int,
    damage: float = 0.0,
    progress: Progress = silent,
) -> Summary:
    """Writes the recordings of those names into `folder`, which is created if it does not exist.

    names: as from `sample_names`. seed: not negative. damage: share of the files to damage; the
    choice depends on the seed and the names.

    Raises AclnetError for a value out of range or a folder that cannot be written.
    """
    check_range("damage", damage, 0, 1)
    damaged = deal_damage(seed, damage, names, DAMAGES, names)
    with write_errors(f"into {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        for done, name in enumerate(names, start=1):
            content = encode(synthesise(name, seed=seed))
            if name in damaged:
                content = _spoil(content, damaged[name], rng_for(seed, "damage", name))
            (folder / f"{name}.skeleton").write_bytes(content)
            progress("write", done, len(names))
    return Summary(len(names), damaged)


def choose_names(request: Request) -> list[str]:
    """The recordings of a request, spread over all actions, people and cameras, sorted."""
    request.require_subjects(*_SUBJECTS)
    setups = min(_NUM_SETUPS, -(-request.sequences // (80 * request.subjects)))
    names = sample_names(subjects=request.subjects, setups=setups)
    return choose(request.seed, names, request.sequences)


def _skeletons(folder: Path, request: Request, progress: Progress = silent) -> Summary:
    """Writes `.skeleton` files; a `Generate`."""
    names = choose_names(request)
    return write_skeletons(folder, names, request.seed, request.damage, progress)


FORMS: dict[str, dict[str, Generate]] = {
    "ntu60": {"skeleton": _skeletons},
    "ntu120": {"skeleton": _skeletons},
}


def synthesise(name: str, *, seed: int) -> Recording:
    """The recording of that name in memory, as `encode` would write it."""
    setup, camera = name[:4], int(name[5:8])
    scene = synthesise_scene(name, seed=seed)
    view = kinect.Camera.draw(camera, rng_for(seed, "camera", setup, str(camera)))
    num_frames, bodies = kinect.record(scene, view, rng_for(seed, "noise", name))
    return Recording(name, num_frames, bodies)


def synthesise_tracks(name: str, *, seed: int) -> FloatArray:
    """(M, T, 25, 3) people of that recording in camera space, metres, with noise, nobody lost."""
    setup, camera = name[:4], int(name[5:8])
    view = kinect.Camera.draw(camera, rng_for(seed, "camera", setup, str(camera)))
    seen = view.see(synthesise_scene(name, seed=seed))
    return seen + rng_for(seed, "noise", name).normal(0, _TRACK_NOISE, seen.shape)


def synthesise_scene(name: str, *, seed: int) -> FloatArray:
    """(M, T, 25, 3) joints on the stage in metres, without noise, as all three cameras see them."""
    setup, performer, replication, action = name[:4], name[8:12], int(name[13:16]), int(name[17:20])
    if action not in MOVEMENTS:
        raise AclnetError(f"{name}: action {action} is not one of {sorted(ACTIONS)}")
    # a performer has the same partner in every recording
    people = [person(seed, performer, index) for index in range(num_people(action))]
    return play(action, people, rng_for(seed, "performance", setup, name[8:]), replication)


def encode(recording: Recording) -> bytes:
    """The recording as a `.skeleton` file, lines ending in CR LF."""
    frames: list[list[str]] = [[] for _ in range(recording.num_frames)]
    for body in recording.bodies:
        for frame, row in zip(body.frames.tolist(), _body_rows(body), strict=True):
            frames[frame].append(_BODY % tuple(row))
    lines = [f"{recording.num_frames}\r\n"]
    for bodies in frames:
        lines += [f"{len(bodies)}\r\n", *bodies]
    return "".join(lines).encode("ascii")


def _body_rows(body: kinect.TrackedBody) -> Iterable[list[float]]:
    """The values of _BODY for each frame of a body."""
    joints = body.joints.astype(np.float64)
    columns = (joints, _project(joints, _DEPTH), _project(joints, _COLOUR), _orientation(joints))
    table = np.concatenate([*columns, body.tracking[..., None]], axis=-1)
    spine = joints[:, 20] - joints[:, 0]
    lean = np.clip(1.3 * spine[:, [0, 2]] / np.linalg.norm(spine, axis=1, keepdims=True), -1, 1)
    # A hand that is tracked is seen open (2), otherwise not tracked (1) or unknown (0).
    known = body.tracking[:, [7, 11]] == kinect.TRACKED
    raised = joints[:, [7, 11], 1] > joints[:, [1], 1]
    state = np.where(known, np.where(raised, 2, 0), 1)
    hands = np.stack([state != 0, state], axis=-1).reshape(-1, 4)
    # The id exceeds 2^53, so it must not become a float in the table.
    for head, row in zip(
        np.concatenate([hands, lean], axis=1).tolist(),
        table.reshape(len(table), -1).tolist(),
        strict=True,
    ):
        yield [body.body_id, *head, *row]


def _project(joints: FloatArray, camera: tuple[float, float, float, float]) -> FloatArray:
    focal, centre_x, centre_y, offset = camera
    x = centre_x + focal * (joints[..., 0] + offset) / joints[..., 2]
    y = centre_y - focal * joints[..., 1] / joints[..., 2]
    return np.stack([x, y], axis=-1)


def _orientation(joints: FloatArray) -> FloatArray:
    """(n, 25, 4) unit quaternions w x y z that turn +y onto the bone from the parent.

    Before that comes half a turn about y, since people face the sensor.
    """
    bones = joints - joints[:, PARENT]
    bones[:, 0] = bones[:, 1]
    bones /= np.maximum(np.linalg.norm(bones, axis=-1, keepdims=True), 1e-9)
    across = np.maximum(np.hypot(bones[..., 0], bones[..., 2]), 1e-9)
    half = np.arctan2(across, bones[..., 1]) / 2
    sine = np.sin(half) / across
    quaternion = np.zeros((*joints.shape[:2], 4))
    turn = np.stack(
        [np.zeros_like(half), sine * bones[..., 0], np.cos(half), sine * bones[..., 2]], axis=-1
    )
    quaternion[:, _ORIENTED] = turn[:, _ORIENTED]
    return quaternion


def _spoil(content: bytes, kind: str, rng: np.random.Generator) -> bytes:
    lines = content.split(b"\r\n")
    if kind == "truncated":
        return content[: int(len(content) * rng.uniform(0.3, 0.9))]
    if kind == "empty":
        return b""
    if kind == "garbage":
        return rng.bytes(min(len(content), 4096))
    if kind == "no body":
        return b"\r\n".join([lines[0], *[b"0"] * int(lines[0]), b""])
    count = lines.index(b"25")
    if kind == "joint count":
        lines[count] = b"24"
        del lines[count + 25]
    else:
        joint = count + 1 + int(rng.integers(25))
        lines[joint] = b"NaN " + lines[joint].split(b" ", 1)[1]
    return b"\r\n".join(lines)


def _performers(count: int) -> list[int]:
    """Performers of both sides of X-Sub, two of training to one of test while there are any."""
    train, test = list(X_SUB_TRAIN), list(_X_SUB_TEST)
    order: list[int] = []
    while len(order) < count:
        side = test if test and (len(order) % 3 == 1 or not train) else train
        order.append(side.pop(0))
    return order


@cache
def _missing() -> frozenset[str]:
    table = files("aclnet.datasets.tables") / "ntu60_missing.txt"
    return frozenset(table.read_text().split())
