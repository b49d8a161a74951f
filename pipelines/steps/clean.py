"""Cleaning: selection of the people among a sensor's bodies, and joining to tracks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aclnet.datasets.spec import AclnetError, Rejection, SkeletonSequence
from aclnet.pipelines.steps.tracking import best_tracks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Source

MIN_FRAMES = 12
"""A body seen in fewer frames is noise."""
MAX_ASPECT = 0.8
"""Width of a body, relative to its height, above which a frame is badly spread."""
MAX_BAD_SHARE = 0.69754
"""A body with at least this share of badly spread frames is noise."""
GHOST_SHARE = 0.25
"""Persons with less than this share of the highest confidence in a frame are ghosts: false
detections, or somebody far behind."""
MIN_FRAME_SUM = 1e-3
"""Frames at the ends whose coordinates sum to less, in absolute value, are empty."""


class _Body(NamedTuple):
    body_id: str
    keypoint: NDArray[np.float32]
    """(n, V, C) joints in the frames in which the body was seen."""
    start: int
    """First frame; the others are assumed to follow without a gap."""
    frame_index: NDArray[np.int32]
    """(n,) frames of the recording."""
    motion: np.float32

    @property
    def stop(self) -> int:
        return self.start + len(self.keypoint)


class _Track(NamedTuple):
    bodies: list[_Body]
    hull: tuple[int, int]
    """Half-open interval of frames that no further body may touch."""


def clean_ntu(sequence: SkeletonSequence) -> SkeletonSequence | Rejection:
    """Drops noise bodies of a Kinect recording and joins the others to two tracks, as PYSKL does.

    A recording of one body is returned unchanged. Otherwise bodies with few frames and bodies that
    are badly spread are dropped. One remaining body makes M = 1. More make M = 2, ordered by
    motion, even if all of them fit in the first track and the second stays empty (`present` all
    False, body id ""). `body_ids` holds the first body of each track. The frames of a body that
    leaves and returns are moved to close the gap, because PYSKL assumes a body without
    interruption.

    `keypoint` is (M, T, V, 3) in metres, with y up. The recording is rejected if no body remains.
    The thresholds and the order of steps are those of PYSKL's `ntu_preproc.py`, which took them
    from VA-CNN (Zhang et al., TPAMI 2019).
    """
    if len(sequence.keypoint) == 1:
        return sequence
    bodies = _by_motion(b for b in _bodies(sequence) if len(b.keypoint) >= MIN_FRAMES)
    if not bodies:
        return _rejection(sequence, f"no body is seen in at least {MIN_FRAMES} frames")
    bodies = _by_motion(b for b in map(_without_bad_spread, bodies) if b is not None)
    if not bodies:
        return _rejection(sequence, "every body has an implausible spread, like noise")
    if len(bodies) == 1:
        return _single(sequence, bodies[0])
    return _two_tracks(sequence, bodies)


def best_by_score(sequence: SkeletonSequence, count: int = 2) -> SkeletonSequence:
    """The persons with the highest summed confidence of each frame, the higher first.

    By default two, as ST-GCN's feeder of Kinetics chooses them (Yan et al., AAAI 2018), but from
    all persons of a frame, not only its first five. Equal persons keep the order of the file.
    """
    return _reordered(sequence, np.argsort(-_sums(sequence), axis=0, kind="stable")[:count])


def ghosts_last(sequence: SkeletonSequence) -> SkeletonSequence:
    """The persons of each frame in its order, except that ghosts come after all others.

    A detector may list a false detection first. The person whom a recording shows must not change
    places because of it.
    """
    sums = _sums(sequence)
    rank = np.where(sequence.present, sums < GHOST_SHARE * sums.max(axis=0), 2)
    return _reordered(sequence, np.argsort(rank, axis=0, kind="stable"))


def _sums(sequence: SkeletonSequence) -> NDArray[np.float32]:
    """(M, T) summed confidences, or 1 without confidences; absent persons are lower than any."""
    score = sequence.score
    sums = np.ones(sequence.present.shape) if score is None else score.sum(axis=2)
    return np.where(sequence.present, sums, -np.inf)


def _reordered(sequence: SkeletonSequence, order: NDArray[np.int64]) -> SkeletonSequence:
    """The persons of each frame in another order (M, T); persons not in the order are left out."""
    frames = np.arange(order.shape[1])
    return replace(
        sequence,
        keypoint=sequence.keypoint[order, frames],
        present=sequence.present[order, frames],
        score=None if sequence.score is None else sequence.score[order, frames],
    )


_TRACKS = "two-tracks"
CLEANERS: dict[str, Callable[[SkeletonSequence], SkeletonSequence | Rejection]] = {
    "ntu": clean_ntu,
    "two-by-score": best_by_score,
    "ghosts-last": ghosts_last,
    _TRACKS: best_tracks,
}
"""Cleaning steps by the name that a dataset or `PrepareOptions.track` uses."""


def clean(
    sequence: SkeletonSequence, source: Source, *, track: bool, persons: int | None
) -> SkeletonSequence | Rejection:
    """A sequence after the step that its source, or `track`, requires.

    persons: number of persons to keep, those with the highest summed confidence, or, without
    confidences, with the most frames; chosen per frame if persons have no identities.
    """
    step = step_of(source, track=track)
    told = bool(sequence.body_ids) and not source.tracked()  # the file has identities
    if told:
        step = None
    if persons is not None and step == _TRACKS:
        return best_tracks(sequence, persons)
    if persons is not None and not source.tracked() and not told:
        return best_by_score(sequence, persons)
    result = CLEANERS[step](sequence) if step else sequence
    if persons is None or isinstance(result, Rejection):
        return result
    weight = (result.present if result.score is None else result.score.sum(axis=2)).sum(axis=1)
    return take_persons(result, np.argsort(-weight.astype(np.float64), kind="stable")[:persons])


def take_persons(sequence: SkeletonSequence, chosen: NDArray[np.int64]) -> SkeletonSequence:
    """Some of the persons, in this order."""
    if chosen.tolist() == list(range(len(sequence.present))):
        return sequence
    return replace(
        sequence,
        keypoint=sequence.keypoint[chosen],
        present=sequence.present[chosen],
        score=None if sequence.score is None else sequence.score[chosen],
        body_ids=[sequence.body_ids[m] for m in chosen] if sequence.body_ids else [],
    )


def step_of(source: Source, *, track: bool) -> str | None:
    """Name of the cleaning step for the sequences of a source, None if there is none.

    Raises AclnetError if tracking is requested for persons that have identities already.
    """
    if not track:
        return None if source.cleaned else source.spec.clean
    if source.tracked():
        raise AclnetError(
            f"{source.root}: the persons of {source.spec.title} are already the same in all "
            "frames; leave out --track"
        )
    return _TRACKS


def _bodies(sequence: SkeletonSequence) -> list[_Body]:
    bodies = []
    for m, present in enumerate(sequence.present):
        frames = np.flatnonzero(present)
        if len(frames):
            keypoint = sequence.keypoint[m, frames]
            bodies.append(
                _Body(
                    body_id=sequence.body_ids[m] if sequence.body_ids else "",
                    keypoint=keypoint,
                    start=int(frames[0]),
                    frame_index=sequence.frame_index[frames],
                    motion=_motion(keypoint),
                )
            )
    return bodies


def _motion(keypoint: NDArray[np.float32]) -> np.float32:
    """Variance over all joints and frames, summed over the coordinates."""
    motion: np.float32 = keypoint.reshape(-1, keypoint.shape[-1]).var(axis=0).sum()
    return motion


def _by_motion(bodies: Iterable[_Body]) -> list[_Body]:
    return sorted(bodies, key=lambda body: -body.motion)


def _without_bad_spread(body: _Body) -> _Body | None:
    """The body with the motion of its good frames; None if most of its frames are badly spread."""
    width, height = np.ptp(body.keypoint[..., :2], axis=1).T
    is_good = width <= MAX_ASPECT * height
    num_bad = np.count_nonzero(~is_good)
    if num_bad / len(is_good) >= MAX_BAD_SHARE:
        return None
    if num_bad == 0:
        return body
    return body._replace(motion=min(body.motion, _motion(body.keypoint[is_good])))


def _single(sequence: SkeletonSequence, body: _Body) -> SkeletonSequence:
    return replace(
        sequence,
        keypoint=body.keypoint[None],
        present=np.ones((1, len(body.keypoint)), np.bool_),
        frame_index=body.frame_index,
        body_ids=_ids(sequence, [body.body_id]),
    )


def _two_tracks(sequence: SkeletonSequence, bodies: list[_Body]) -> SkeletonSequence | Rejection:
    tracks = _join(bodies)
    keypoint = np.zeros((2, *sequence.keypoint.shape[1:]), np.float32)
    present = np.zeros(keypoint.shape[:2], np.bool_)
    for m, track in enumerate(tracks):
        for body in track.bodies:
            keypoint[m, body.start : body.stop] = body.keypoint
            present[m, body.start : body.stop] = True

    filled = np.flatnonzero(np.abs(keypoint).sum(axis=(0, 2, 3)) >= MIN_FRAME_SUM)
    if not len(filled):
        return _rejection(sequence, "every coordinate is zero")
    kept = slice(filled[0], filled[-1] + 1)
    keypoint, present = keypoint[:, kept], present[:, kept]
    ids = [track.bodies[0].body_id if track.bodies else "" for track in tracks]
    if not keypoint[0, 0, 1].any() and keypoint[1, 0, 1].any():
        keypoint, present, ids = keypoint[::-1], present[::-1], ids[::-1]
    return replace(
        sequence,
        keypoint=np.ascontiguousarray(keypoint),
        present=np.ascontiguousarray(present),
        frame_index=sequence.frame_index[kept],
        body_ids=_ids(sequence, ids),
    )


def _join(bodies: list[_Body]) -> tuple[_Track, _Track]:
    """Two tracks. Each body joins the first track that it does not overlap, or is dropped."""
    first = _Track([bodies[0]], (bodies[0].start, bodies[0].stop))
    second = _Track([], (0, 0))
    for body in bodies[1:]:
        if not _overlap(first, body):
            first = _append(first, body)
        elif not _overlap(second, body):
            second = _append(second, body)
    return first, second


def _overlap(track: _Track, body: _Body) -> bool:
    start, stop = track.hull
    return max(start, body.start) < min(stop, body.stop)


def _append(track: _Track, body: _Body) -> _Track:
    start, stop = track.hull
    return _Track([*track.bodies, body], (min(start, body.start), max(stop, body.stop)))


def _ids(sequence: SkeletonSequence, ids: list[str]) -> list[str]:
    return ids if sequence.body_ids else []


def _rejection(sequence: SkeletonSequence, reason: str) -> Rejection:
    return Rejection(sequence.source or sequence.sample_id, None, reason, "no person")
