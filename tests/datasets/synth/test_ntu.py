"""Made-up `.skeleton` files: read back line by line with a reader of the test's own."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from itertools import combinations, permutations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from aclnet.datasets.spec import AclnetError, silent
from aclnet.datasets.synth import body, motion, ntu
from aclnet.datasets.synth.acting import person

TRAIN_PERFORMERS = {1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38}
SMALL = {"actions": [1, 10, 26, 58], "subjects": 3, "replications": 1}
# Bones as pairs, written down from the figure of the Kinect skeleton, not from the code.
BONES = [
    *[(0, 1), (1, 20), (20, 2), (2, 3)],
    *[(20, 4), (4, 5), (5, 6), (6, 7), (7, 21), (7, 22)],
    *[(20, 8), (8, 9), (9, 10), (10, 11), (11, 23), (11, 24)],
    *[(0, 12), (12, 13), (13, 14), (14, 15)],
    *[(0, 16), (16, 17), (17, 18), (18, 19)],
]


class MalformedError(Exception):
    """The file breaks the grammar, or holds a coordinate that is not a number."""


def parse(content: bytes) -> list[dict[int, tuple[list[str], np.ndarray]]]:
    """Frames as {body id: (head fields, (25, 12) joints)}; strict about every line."""
    try:
        lines = content.decode("ascii").split("\r\n")
    except UnicodeDecodeError as error:
        raise MalformedError from error
    if lines.pop() != "":
        raise MalformedError("no line end at the end of the file")
    place = iter(lines)

    def fields(count: int) -> list[str]:
        found = next(place, "").split(" ")
        if len(found) != count or "" in found:
            raise MalformedError(f"{found} has not {count} fields")
        return found

    frames = []
    for _ in range(int(fields(1)[0])):
        bodies = {}
        for _ in range(int(fields(1)[0])):
            head = fields(10)
            if fields(1) != ["25"]:
                raise MalformedError("joint count")
            joints = np.array([[float(v) for v in fields(12)] for _ in range(25)])
            if not np.isfinite(joints).all():
                raise MalformedError("not finite")
            bodies[int(head[0])] = (head, joints)
        frames.append(bodies)
    if next(place, None) is not None:
        raise MalformedError("lines left over")
    return frames


def write(folder, *, seed=7, damage=0.0, progress=silent, **settings):
    names = ntu.sample_names(**{**SMALL, **settings})
    summary = ntu.write_skeletons(folder, names, seed, damage, progress)
    assert summary.sequences == len(names)
    contents = {path.stem: path.read_bytes() for path in folder.glob("*.skeleton")}
    assert sorted(contents) == names
    return summary, contents


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write(tmp_path_factory.mktemp("synth"))


@pytest.mark.slow
def test_a_file_holds_the_generated_joints(written) -> None:
    for name, content in written[1].items():
        recording = ntu.synthesise(name, seed=7)
        frames = parse(content)
        assert len(frames) == recording.num_frames
        assert sum(map(len, frames)) == sum(len(b.frames) for b in recording.bodies)
        for tracked in recording.bodies:
            read = np.stack([frames[t][tracked.body_id][1] for t in tracked.frames])
            np.testing.assert_allclose(read[..., :3], tracked.joints, rtol=5e-7, atol=0)
            np.testing.assert_array_equal(read[..., 11], tracked.tracking)


@pytest.mark.slow
def test_columns_are_plausible(written) -> None:
    for content in written[1].values():
        for head, joints in (found for frame in parse(content) for found in frame.values()):
            assert int(head[0]) > 2**53
            assert all(int(head[i]) in range(5) for i in range(1, 7))
            assert all(-1 <= float(head[i]) <= 1 for i in (7, 8))
            norms = np.linalg.norm(joints[:, 7:11], axis=1)
            unoriented = [3, 15, 19, 21, 22, 23, 24]
            np.testing.assert_allclose(np.delete(norms, unoriented), 1, atol=1e-5)
            assert not norms[unoriented].any()
            assert set(joints[:, 11]) <= {1, 2}
            # the images are flipped upright and share the lateral axis with camera space
            order = np.argsort(joints[:, 0] / joints[:, 2])
            assert (np.diff(joints[order, 3]) >= -1e-3).all()
            order = np.argsort(joints[:, 1] / joints[:, 2])
            assert (np.diff(joints[order, 6]) <= 1e-3).all()
            assert (joints[:, 2] > 0.5).all()


def test_pixels_follow_the_pinhole_of_original_recordings(real_data) -> None:
    """Depth pixels of an original file, predicted from its joints by our camera."""
    path = real_data / "ntu_raw" / "S001C001P001R001A001.skeleton"
    for frame in parse(path.read_bytes()):
        for _, joints in frame.values():
            ours = ntu._project(joints[:, :3], ntu._DEPTH)
            np.testing.assert_allclose(ours, joints[:, 3:5], atol=3)
            ours = ntu._project(joints[:, :3], ntu._COLOUR)
            np.testing.assert_allclose(ours, joints[:, 5:7], atol=40)


@pytest.mark.parametrize("action", ntu.ACTIONS)
def test_bones_keep_their_lengths(action: int, bone_lengths) -> None:
    name = f"S001C001P001R001A{action:03}"
    scene = ntu.synthesise_scene(name, seed=3)
    assert len(scene) == (2 if action >= 50 else 1)
    for index, joints in enumerate(scene):
        made = person(3, "P001", index).body
        for first, second in BONES:
            lengths = np.linalg.norm(joints[:, first] - joints[:, second], axis=-1)
            child = second if body.PARENT[second] == first else first
            np.testing.assert_allclose(lengths, bone_lengths(made)[child], rtol=1e-9)
    lengths = motion.FRAMES
    assert lengths[0] <= scene.shape[1] <= lengths[1]


def test_bones_hold_for_impossible_targets(bone_lengths) -> None:
    rng = np.random.default_rng(0)
    made = body.Proportions.draw(rng)
    pose = body.Pose.standing(made, 50, 0.2)
    pose.hands += rng.normal(0, 1, pose.hands.shape)
    pose.feet += rng.normal(0, 1, pose.feet.shape)
    joints = body.solve(made, pose)
    lengths = np.linalg.norm(joints - joints[:, body.PARENT], axis=-1)
    np.testing.assert_allclose(lengths, np.tile(bone_lengths(made), (50, 1)), rtol=1e-9)


def test_angles_turn_as_documented() -> None:
    made = body.Proportions.draw(np.random.default_rng(0))

    def moved(angle: str) -> np.ndarray:
        upright, turned = body.Pose.standing(made, 1, 0.2), body.Pose.standing(made, 1, 0.2)
        getattr(turned, angle)[:] = 0.3
        return (body.solve(made, turned) - body.solve(made, upright))[0]

    head, right_shoulder = 3, 8
    assert moved("pitch")[head, 2] < -0.05, "forwards is -z"
    assert moved("roll")[head, 0] > 0.05, "right is +x"
    assert moved("nod")[head, 2] < -0.02
    assert moved("heading")[right_shoulder, 2] < -0.02, "turning left brings the right forwards"
    assert moved("twist")[right_shoulder, 2] < -0.02


def test_people_stand_upright_with_left_on_the_left() -> None:
    """Facing the camera, as an original recording has it: the left hand at smaller x."""
    upright = body.Proportions.draw(np.random.default_rng(1))
    joints = body.solve(upright, body.Pose.standing(upright, 1, 0.2))[0]
    assert joints[4, 0] < joints[8, 0]
    assert joints[12, 0] < joints[16, 0]
    heights = joints[[15, 13, 0, 1, 20, 2, 3], 1]
    assert (np.diff(heights) > 0).all()
    assert 0 < heights[0] < 0.1
    assert 0.8 * upright.stature < heights[-1] < upright.stature


def test_subjects_differ(bone_lengths) -> None:
    lengths = [bone_lengths(person(3, f"P{p:03}").body) for p in range(1, 41)]
    closest = min(np.abs(a - b).max() for a, b in combinations(lengths, 2))
    assert closest > 1e-3


def test_three_cameras_see_one_performance() -> None:
    views = [ntu.synthesise_scene(f"S001C00{c}P001R001A010", seed=3) for c in (1, 2, 3)]
    np.testing.assert_array_equal(views[0], views[1])
    np.testing.assert_array_equal(views[0], views[2])
    again = ntu.synthesise_scene("S001C001P001R002A010", seed=3)
    assert again.shape != views[0].shape or not np.allclose(again, views[0])


def test_joints_near_the_truth_but_noisy() -> None:
    """Distances between joints survive the change to camera space, up to the noise."""
    name = "S001C002P001R001A010"  # seen from the front
    errors = []
    for seed in range(6):
        truth = ntu.synthesise_scene(name, seed=seed)[0]
        recording = ntu.synthesise(name, seed=seed)
        seen = max(recording.bodies, key=lambda tracked: len(tracked.frames))
        spans = np.linalg.norm(seen.joints[:, 3] - seen.joints[:, 0], axis=-1)
        errors.append(
            spans - np.linalg.norm(truth[seen.frames, 3] - truth[seen.frames, 0], axis=-1)
        )
    deviation = np.concatenate(errors).std()
    assert 0.001 < deviation < 0.03


@pytest.mark.slow
def test_the_bytes_depend_on_seed_and_name_alone(written, tmp_path) -> None:
    contents = written[1]
    assert write(tmp_path / "same")[1] == contents
    more = write(tmp_path / "more", actions=[10, 26], subjects=4, replications=2)[1]
    common = contents.keys() & more.keys()
    assert common
    assert all(more[name] == contents[name] for name in common)
    other = write(tmp_path / "other", seed=8)[1]
    assert all(other[name] != contents[name] for name in contents)


def test_no_two_files_are_the_same(written) -> None:
    contents = written[1]
    assert len({hashlib.sha256(c).digest() for c in contents.values()}) == len(contents)


def is_damaged(content: bytes) -> bool:
    try:
        return not any(parse(content))
    except (MalformedError, ValueError):
        return True


@pytest.mark.slow
def test_damage_is_real_and_nothing_else_is_touched(written, tmp_path) -> None:
    whole = written[1]
    share = 2 * len(ntu.DAMAGES) / len(whole)
    summary, contents = write(tmp_path / "a", damage=share)
    assert sorted(summary.damaged.values()) == sorted(2 * ntu.DAMAGES)
    for name, content in contents.items():
        assert is_damaged(content) == (name in summary.damaged), summary.damaged.get(name)
        assert (content == whole[name]) == (name not in summary.damaged)
    again, same = write(tmp_path / "b", damage=share)
    assert again.damaged == summary.damaged
    assert same == contents


@pytest.mark.parametrize(
    ("kind", "evidence"),
    [
        ("truncated", lambda c, whole: whole.startswith(c) and c),
        ("joint count", lambda c, whole: c.split(b"\r\n").count(b"24") == 1),
        ("nan", lambda c, whole: c.count(b"NaN") == 1),
        ("empty", lambda c, whole: not c),
        ("garbage", lambda c, whole: not c.isascii()),
        ("no body", lambda c, whole: len(parse(c)) == len(parse(whole))),
    ],
)
def test_each_kind_of_damage(kind, evidence, written, tmp_path) -> None:
    summary, contents = write(tmp_path, damage=0.5)
    names = [name for name, dealt in summary.damaged.items() if dealt == kind]
    assert names
    assert all(evidence(contents[name], written[1][name]) for name in names)


@pytest.mark.parametrize("subjects", [2, 3, 10, 40])
def test_names_fill_both_sides_of_both_protocols(subjects: int) -> None:
    names = ntu.sample_names(subjects=subjects)
    performers = {int(name[9:12]) for name in names}
    assert len(performers) == subjects
    assert performers & TRAIN_PERFORMERS
    assert performers - TRAIN_PERFORMERS
    assert {int(name[5:8]) for name in names} == {1, 2, 3}
    assert {int(name[17:]) for name in names} == set(ntu.ACTIONS)
    assert names == sorted(set(names))


def test_names_leave_out_what_ntu_lists_as_missing() -> None:
    table = (files("aclnet.datasets.tables") / "ntu60_missing.txt").read_text().split()
    names = ntu.sample_names(subjects=40, setups=17)
    product = 40 * 17 * 3 * 2 * len(ntu.ACTIONS)
    missing = {name for name in table if int(name[17:]) in ntu.ACTIONS}
    assert missing
    assert not missing & set(names)
    assert len(names) == product - len(missing)
    assert {int(name[1:4]) for name in names} == set(range(1, 18))


def test_families_are_disjoint() -> None:
    members = [action for family in motion.FAMILIES.values() for action in family]
    assert len(members) == len(set(members)) >= 12
    assert len(motion.FAMILIES) >= 4
    assert all(len(family) >= 2 for family in motion.FAMILIES.values())
    assert set(members) == set(ntu.ACTIONS)


def test_two_person_classes_show_two_bodies() -> None:
    for action in ntu.ACTIONS:
        recording = ntu.synthesise(f"S002C001P003R001A{action:03}", seed=1)
        longest = sorted((len(b.frames) for b in recording.bodies), reverse=True)
        assert (len(longest) > 1 and longest[1] > 31) == (action in motion.FAMILIES["two people"])


@pytest.mark.slow
def test_mishaps_of_the_sensor_occur() -> None:
    names = ntu.sample_names(actions=[10, 58], subjects=20)
    recordings = [ntu.synthesise(name, seed=1) for name in names]
    shares = {
        "frame without a body": np.mean([_has_empty_frame(r) for r in recordings]),
        "third body": np.mean([len(r.bodies) > 2 for r in recordings]),
        "inferred joint": np.mean([(b.tracking == 1).any() for r in recordings for b in r.bodies]),
        "body that returns": np.mean(
            [any((np.diff(b.frames) > 1).any() for b in r.bodies) for r in recordings]
        ),
        "body under a new id": np.mean([_is_renamed(r) for r in recordings]),
    }
    assert all(share > 0.02 for share in shares.values()), shares
    assert all((np.diff(b.frames) > 0).all() for r in recordings for b in r.bodies)


def _has_empty_frame(recording: ntu.Recording) -> bool:
    seen = np.concatenate([tracked.frames for tracked in recording.bodies])
    return len(np.unique(seen)) < recording.num_frames


def _is_renamed(recording: ntu.Recording) -> bool:
    """Does one body go for good where another comes, within a few centimetres of it?"""
    return any(
        0 < later.frames[0] - earlier.frames[-1] < 20
        and np.linalg.norm(later.joints[0, 0] - earlier.joints[-1, 0]) < 0.3
        for earlier, later in permutations(recording.bodies, 2)
    )


@pytest.mark.slow
def test_classes_are_confused_within_families() -> None:
    """The planted structure, across people, as a linear classifier sees it."""
    names = ntu.sample_names(subjects=12, cameras=1)
    features = np.stack([_summary(ntu.synthesise_scene(name, seed=0)) for name in names])
    action = np.array([int(name[17:]) for name in names])
    train = np.isin([int(name[9:12]) for name in names], list(TRAIN_PERFORMERS))
    classifier = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.05)
    found = classifier.fit(features[train], action[train]).predict(features[~train])
    right = found == action[~train]
    family = {a: name for name, members in motion.FAMILIES.items() for a in members}
    pairs = zip(found, action[~train], strict=True)
    same_family = np.array([family[a] == family[b] for a, b in pairs])
    assert 0.5 < right.mean() < 0.95
    # by chance 3 of 15 wrong answers lie in the family
    assert same_family[~right].mean() > 0.6


def _summary(scene: np.ndarray) -> np.ndarray:
    """Means, deviations and speeds of the joints of people turned to face the camera."""
    people = []
    joints = scene - scene[0, 0, 1]
    across = joints[0, 0, 8] - joints[0, 0, 4]
    angle = np.arctan2(across[2], across[0])
    c, s = np.cos(angle), np.sin(angle)
    joints = joints @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]).T
    for one in (joints[0], joints[1] if len(joints) > 1 else np.zeros_like(joints[0])):
        people += [one.mean(0), one.std(0), np.abs(np.diff(one, axis=0)).mean(0)]
    return np.concatenate(people).ravel()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"actions": [2]}, "choose at least one"),
        ({"actions": []}, "choose at least one"),
        ({"subjects": 1}, "subjects is 1: give a number from 2 to 40"),
        ({"setups": 18}, "setups is 18"),
        ({"replications": 3}, "replications is 3"),
        ({"cameras": 0}, "cameras is 0"),
        ({"damage": 1.5}, "damage is 1.5"),
    ],
)
def test_mistakes_are_explained(settings, message, tmp_path) -> None:
    with pytest.raises(AclnetError, match=message):
        write(tmp_path, **{"actions": None, **settings})
    assert not any(tmp_path.iterdir())


def test_an_unwritable_folder_is_explained(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AclnetError, match="cannot write into"):
        write(tmp_path / "file")


def test_progress_counts_every_file(tmp_path) -> None:
    calls: list[tuple[str, int, int]] = []
    summary, _ = write(tmp_path, progress=lambda *step: calls.append(step))
    count = summary.sequences
    assert calls == [("write", i + 1, count) for i in range(count)]
