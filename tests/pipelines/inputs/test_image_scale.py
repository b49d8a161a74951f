"""2-D joints in units of their image."""

from __future__ import annotations

import torch

from aclnet.pipelines.inputs.image_scale import scale_to_image

SIZE = torch.tensor([[200, 100], [50, 400]])


def test_corners_of_each_image_are_at_one():
    first, second = [[0.0, 100], [200, 0], [100, 50]], [[0.0, 400], [50, 0], [25, 200]]
    corners = torch.tensor([[first], [second]])
    found = scale_to_image(corners, SIZE, scored=False)
    assert found[:, 0].tolist() == [[[-1, 1], [1, -1], [0, 0]]] * 2


def test_joints_without_confidence_are_missing():
    x = torch.tensor([[[[50.0, 50, 0.5], [50, 50, 0.01], [50, 50, 0.02], [0, 0, 0.9]]]])
    before = x.clone()
    found = scale_to_image(x, SIZE[:1], scored=True)
    scores = x[0, 0, :, 2].tolist()
    assert found[0, 0, :, 2].tolist() == scores
    assert found[0, 0, :, :2].tolist() == [[-0.5, 0], [0, 0], [-0.5, 0], [-1, -1]]
    assert torch.equal(x, before)


def test_without_confidences_zeros_are_missing():
    x = torch.tensor([[[[0.0, 0], [0, 50]]]])
    assert scale_to_image(x, SIZE[:1], scored=False).tolist() == [[[[0, 0], [-1, 0]]]]
