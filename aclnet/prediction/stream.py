"""Prediction of frames as they arrive, from a ring buffer of the last frames."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.spec import AclnetError
from aclnet.prediction.arrays import sequence_of
from aclnet.prediction.windows import Window, cut

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import NDArray

    from aclnet.datasets.spec import SkeletonSequence
    from aclnet.prediction.answer import Prediction


class PredictionStream:
    """Predicts the last `window` frames, `stride` frames after the last prediction.

    The predictions equal those of `Model.windows` for the whole recording. Frames must have the
    frame rate of the training recordings, and the row of a person must be the same in all frames:
    the stream does not clean or track.

    ```python
    stream = aclnet.load(run).stream(window=60, stride=5)
    for joints in camera:  # (V, C), (M, V, C), or None if nobody is present
        if found := stream.push(joints):
            window, prediction = found
    ```
    """

    def __init__(
        self,
        predict: Callable[[SkeletonSequence], Prediction],
        *,
        joints: int,
        coordinates: int,
        scored: bool,
        window: int,
        stride: int,
    ) -> None:
        if window < 1 or stride < 1:
            raise AclnetError(f"window {window}, stride {stride}: both must be at least 1 frame")
        self.window, self.stride = window, stride
        self._predict_one, self._scored = predict, scored
        self._ring = np.zeros((window, 1, joints, coordinates + scored), np.float32)
        self._seen = np.zeros(window, np.bool_)
        self._count = 0
        self._predicted = 0
        """Number of frames at the last prediction."""

    def push(self, joints: NDArray[Any] | None) -> tuple[Window, Prediction] | None:
        """Takes the next frame; returns a prediction if a window ends here and shows a person.

        joints: (V, C) of one person or (M, V, C) of several, as `Model.predict` takes them; None
            if nobody is present.

        Raises AclnetError for another shape.
        """
        place = self._count % self.window
        self._seen[place] = joints is not None
        if joints is not None:
            self._put(place, np.asarray(joints))
        self._count += 1
        due = self._count >= self.window and (
            self._predicted == 0 or self._count == self._predicted + self.stride
        )
        return self._predict() if due else None

    def close(self) -> tuple[Window, Prediction] | None:
        """Predicts the last frames, if frames arrived after the last prediction."""
        return self._predict() if self._count > self._predicted else None

    def _put(self, place: int, frame: NDArray[Any]) -> None:
        frame = frame[None] if frame.ndim == 2 else frame
        V, C = self._ring.shape[2:]
        if frame.ndim != 3 or frame.shape[1:] != (V, C):
            raise AclnetError(
                f"the frame has the shape {frame.shape}; ({V}, {C}) or (M, {V}, {C}) is expected"
            )
        more = len(frame) - self._ring.shape[1]
        if more > 0:  # a new person with a new row
            self._ring = np.pad(self._ring, ((0, 0), (0, more), (0, 0), (0, 0)))
        self._ring[place] = 0
        self._ring[place, : len(frame)] = frame

    def _predict(self) -> tuple[Window, Prediction] | None:
        self._predicted = self._count
        numbers = np.arange(max(0, self._count - self.window), self._count)
        window = Window(int(numbers[0]), int(numbers[-1]))
        numbers = numbers[self._seen[numbers % self.window]]
        joints = self._ring[numbers % self.window].transpose(1, 0, 2, 3)
        if not np.nan_to_num(joints).any():
            return None
        sequence = sequence_of(joints, self._scored)
        part = cut(replace(sequence, frame_index=numbers.astype(np.int32)), window)
        return None if part is None else (window, self._predict_one(part))
