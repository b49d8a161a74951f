"""Tracking: joins the persons of frames to tracks if a source lists persons frame by frame."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.spec import SkeletonSequence

    Track = list[tuple[int, int]]
    """(m, t) positions of one person in the lists of frames."""

MAX_DISTANCE = 0.3
"""Largest mean distance of joints between successive frames of one person, in body sizes."""
MAX_SPEED = 0.1
"""Body sizes that are added for each frame without the person: five metres per second at 30 frames
per second."""
FARTHEST = 1.0
"""Largest distance of joints in body sizes; a person who returns farther away is another person."""
MAX_GAP = 30
"""Frames of the recording after which a person who returns begins a new track."""
MIN_FRAMES = 5
"""A track with fewer frames is a false detection, unless all tracks are short."""
_MIN_SHARE = 0.5
"""Share of the longest track's frames from which a short track counts."""
_TINY = 1e-6


def best_tracks(sequence: SkeletonSequence, count: int = 2) -> SkeletonSequence:
    """The tracks with the highest summed confidence, or without confidences the longest.

    Persons are assigned to tracks from frame to frame so that the sum of distances is smallest
    (Kuhn, "The Hungarian method for the assignment problem", 1955). The distance is the mean over
    the joints that are seen in both frames, divided by the size of the body. The size is the
    diagonal of the box around its joints, but at least half the median diagonal. A distance of
    `_gate` or more, or no common joint, begins a new track. A joint at zero is missing.
    """
    score = sequence.score
    weight = sequence.present if score is None else score.sum(axis=2)
    tracks = _tracks(sequence)
    least = min(MIN_FRAMES, _MIN_SHARE * max(map(len, tracks)))
    tracks = [track for track in tracks if len(track) >= least]
    tracks.sort(key=lambda track: -sum(float(weight[m, t]) for m, t in track))  # the sort is stable
    shape = (min(count, len(tracks)), *sequence.present.shape[1:])
    present = np.zeros(shape, np.bool_)
    keypoint = np.zeros((*shape, *sequence.keypoint.shape[2:]), np.float32)
    kept = None if score is None else np.zeros((*shape, *score.shape[2:]), np.float32)
    for k, track in enumerate(tracks[:count]):
        m, t = np.array(track).T
        present[k, t] = True
        keypoint[k, t] = sequence.keypoint[m, t]
        if score is not None and kept is not None:
            kept[k, t] = score[m, t]
    return replace(sequence, keypoint=keypoint, present=present, score=kept)


def _tracks(sequence: SkeletonSequence) -> list[Track]:
    """Tracks in the order in which they begin."""
    keypoint, numbers = sequence.keypoint, sequence.frame_index
    size = _sizes(keypoint, sequence.present)
    tracks: list[Track] = []
    running: list[Track] = []
    for t, present in enumerate(sequence.present.T):
        here = np.flatnonzero(present)
        running = [track for track in running if numbers[t] - numbers[track[-1][1]] <= MAX_GAP]
        found: dict[int, int] = {}
        if running and len(here):
            m_before, t_before = np.array([track[-1] for track in running]).T
            larger = np.maximum(size[m_before, t_before][:, None], size[here, t])
            reach = larger * _gate(numbers[t] - numbers[t_before])[:, None]
            found = _same(keypoint[m_before, t_before], keypoint[here, t], reach)
        for place, m in enumerate(here.tolist()):
            if place in found:
                running[found[place]].append((m, t))
            else:
                tracks.append([(m, t)])
                running.append(tracks[-1])
    return tracks


def _gate(gap: NDArray[np.int32]) -> NDArray[np.float64]:
    """Distance in body sizes that separates persons, by the frames since the last sight."""
    gate: NDArray[np.float64] = np.minimum(MAX_DISTANCE + MAX_SPEED * (gap - 1), FARTHEST)
    return gate


def _same(
    before: NDArray[np.float32], now: NDArray[np.float32], reach: NDArray[np.floating]
) -> dict[int, int]:
    """Index of the earlier person (A, V, C) for each person of a frame (B, V, C) that has one.

    reach: (A, B) distance from which on persons are different.
    """
    from scipy.optimize import linear_sum_assignment

    both = (before != 0).any(axis=-1)[:, None] & (now != 0).any(axis=-1)
    apart = np.linalg.norm(before[:, None] - now, axis=-1)
    count = both.sum(axis=-1)
    mean = (apart * both).sum(axis=-1) / np.maximum(count, 1)
    # The cost is capped, so that a pair that is too far apart cannot influence other assignments.
    cost = np.where(count > 0, np.minimum(mean / reach, 1), 1)
    rows, columns = linear_sum_assignment(cost)
    near = cost[rows, columns] < 1
    return dict(zip(columns[near].tolist(), rows[near].tolist(), strict=True))


def _sizes(keypoint: NDArray[np.float32], present: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(M, T) diagonals of the boxes around seen joints, at least half the median diagonal."""
    seen = np.broadcast_to((keypoint != 0).any(axis=-1)[..., None], keypoint.shape)
    high = keypoint.max(axis=2, where=seen, initial=-np.inf)
    low = keypoint.min(axis=2, where=seen, initial=np.inf)
    diagonal: NDArray[np.float32] = np.linalg.norm(np.maximum(high - low, 0), axis=-1)
    return np.maximum(diagonal, max(float(np.median(diagonal[present])) / 2, _TINY))
