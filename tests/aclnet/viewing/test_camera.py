"""Places of known points in the picture."""

from __future__ import annotations

import numpy as np
import pytest

from aclnet.datasets.spec.layouts import get_layout
from aclnet.viewing.camera import Camera, camera_for

LAYOUT = get_layout("nturgb+d")


def somebody(up: tuple[int, int, int], left: tuple[int, int, int]) -> np.ndarray:
    """(1, 1, 25, 3) a standing person: head above the legs, left hand on the left."""
    joints = np.zeros((1, 1, 25, 3), np.float32)
    height = {"Head": 1.6, "Neck": 1.5, "SpineMid": 1.1, "SpineBase": 0.9}
    for name, joint in zip(LAYOUT.joints, joints[0, 0], strict=True):
        lateral = 0.3 * (name.endswith("Left") - name.endswith("Right"))
        tall = 0.4 if "Knee" in name or "Foot" in name or "Ankle" in name else 1.2
        joint[:] = height.get(name, tall) * np.array(up) + lateral * np.array(left)
    return joints + np.float32(5)


@pytest.mark.parametrize(
    ("up", "left"),
    [
        ((0, 1, 0), (-1, 0, 0)),  # Kinect
        ((0, 0, 1), (0, 1, 0)),  # z upwards, looking along x
        ((0, -1, 0), (1, 0, 0)),  # y downwards, as of images
        ((1, 0, 0), (0, 0, 1)),
    ],
)
def test_people_stand_upright_and_face_the_viewer(up, left):
    joints = somebody(up, left)
    camera = camera_for(joints, LAYOUT)
    places = dict(zip(LAYOUT.joints, camera.project(joints[0, 0]), strict=True))
    assert places["Head"][1] > places["SpineBase"][1] > places["FootLeft"][1]
    # a person who faces us has the left hand on our right
    assert places["HandLeft"][0] > places["SpineMid"][0] > places["HandRight"][0]
    assert np.abs(camera.project(joints)).max() <= 1
    np.testing.assert_allclose(camera.base @ camera.base.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(camera.base) == pytest.approx(1), "no mirror image"
    feet = camera.project(joints[0, 0, [15]])[0, 1] * camera.radius
    assert camera.floor == pytest.approx(feet, abs=0.02)


def test_the_user_says_what_is_up():
    joints = somebody((0, 1, 0), (-1, 0, 0))
    camera = camera_for(joints, LAYOUT, up="-y")
    head, foot = camera.project(joints[0, 0, [3, 15]])
    assert head[1] < foot[1]


def test_turns_of_known_points():
    camera = Camera(np.eye(3), np.array([1.0, 0, 0]), 2.0)
    right, up, near = np.eye(3) * 2 + [1, 0, 0]
    quarter = np.pi / 2
    for point, azimuth, elevation, place in (
        (right, 0, 0, (1, 0)),
        (up, 0, 0, (0, 1)),
        (near, 0, 0, (0, 0)),
        (near, quarter, 0, (-1, 0)),  # from the right side, what was near is on the left
        (right, quarter, 0, (0, 0)),
        (near, 0, quarter, (0, -1)),  # from above, what is near is below
        (up, 0, quarter, (0, 0)),
    ):
        found = camera.project(point, azimuth, elevation)
        np.testing.assert_allclose(found, place, atol=1e-12)


def test_pixels_are_not_turned_and_grow_downwards():
    joints = np.array([[[[10, 20], [110, 20], [10, 220]]]], np.float32)
    camera = camera_for(joints, get_layout("coco"))
    top_left, top_right, bottom_left = camera.project(joints[0, 0], 0.5, 0.5)
    assert top_left[1] == top_right[1] > bottom_left[1]
    assert top_left[0] == bottom_left[0] < top_right[0]
    across, down = top_right[0] - top_left[0], top_left[1] - bottom_left[1]
    assert down == pytest.approx(2 * across)


def test_missing_joints_do_not_count():
    joints = somebody((0, 1, 0), (-1, 0, 0))
    holed = np.concatenate([joints, np.zeros_like(joints)], axis=1)
    whole, some = camera_for(joints, LAYOUT), camera_for(holed, LAYOUT)
    np.testing.assert_allclose(some.centre, whole.centre)
    assert some.radius == pytest.approx(whole.radius)
    assert camera_for(np.zeros_like(joints), LAYOUT).radius == 1
