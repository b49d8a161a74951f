"""Trained runs, ready to predict sequences: `aclnet.load(run)` returns a `Model`."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from aclnet.datasets.spec import AclnetError, Rejection, SkeletonSequence
from aclnet.evaluation.family_table import families_of
from aclnet.pipelines.prepare.dataset import usable
from aclnet.prediction.answer import Prediction
from aclnet.prediction.arrays import sequence_of
from aclnet.prediction.recordings import Preparer, originals, store_at, store_sequences
from aclnet.prediction.stream import PredictionStream
from aclnet.prediction.windows import SegmentSettings, Window, cut, merge, windows_of
from aclnet.retrieval.embedder import Embedder
from aclnet.retrieval.ranking import sequence_level
from aclnet.runs.device import choose_device
from aclnet.runs.inference import PLAIN, Inference, Pass
from aclnet.runs.network import check_same_input, load_model, name_own_model
from aclnet.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any, TypeVar

    from numpy.typing import NDArray

    from aclnet.datasets.spec.layouts import Layout
    from aclnet.datasets.store.store import Store
    from aclnet.pipelines.prepare.samples import Sample
    from aclnet.prediction.windows import Segment

    Tag = TypeVar("Tag")
    One = SkeletonSequence | NDArray[Any]
    """A clean sequence, or an array (T, V, C) or (M, T, V, C) of joints."""

_ROWS_AT_ONCE = 1 << 16
"""Frames times persons of the sequences in one batch of the network, to limit the memory."""
_SAMPLES_AT_ONCE = 256


class Model:
    """The networks of one or several runs.

    Args:
        runs: several runs are an ensemble: the result is the weighted mean of their probabilities.
            They must have the same classes, and stores with the same preparation.
        weights: one per run; None: equal weights.
        clips: clips per sequence; None: those of each run.
        accelerator: device to compute on.

    Raises AclnetError if the runs do not fit together, or if one has no checkpoint.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        weights: Sequence[float] | None = None,
        *,
        clips: int | None = None,
        accelerator: str = "auto",
    ) -> None:
        self.runs = list(runs)
        first = self.runs[0]
        self.classes: list[str] = first.class_names
        self.layout: Layout = first.layout
        self.preparer = Preparer(first, others=self.runs[1:])
        self._weights = _checked_weights(weights, len(self.runs))
        for run in self.runs[1:]:
            self.preparer.check_alike(Preparer(run))
        self._device = choose_device(accelerator)
        self._clips = [clips or run.config.data.clips for run in self.runs]
        self.members = [
            Inference.of_classes(load_model(run).to(self._device), run.config.data, self._device)
            for run in self.runs
        ]

    @cached_property
    def families(self) -> dict[str, tuple[str, ...]]:
        """The motion family of each class according to the first run; empty without families."""
        return families_of(self.runs[0])

    def about(self) -> dict[str, Any]:
        """Identity of the model that made predictions, for JSON."""
        return {
            "runs": [run.record.name for run in self.runs],
            "weights": self._weights.tolist(),
            "clips": self._clips,
        }

    def read(self, path: str | Path, dataset: str | None = None) -> list[SkeletonSequence]:
        """The recordings at a path, or of a store, cleaned as the run's, in their own space.

        Each unreadable recording gives an AclnetWarning. Raises AclnetError if no recording is
        left.
        """
        store = store_at(Path(path))
        if store:
            check_same_input(self.runs[0], store)
            return [*store_sequences(store, originals(store), raw=True)]
        recordings = self.preparer.open(Path(path), dataset)
        found: list[SkeletonSequence] = []
        unusable = list(recordings.unusable)
        for item in recordings.items:
            result = self.preparer.read(recordings, item)
            if isinstance(result, Rejection):
                unusable.append(result)
            else:
                found += result
        return usable(Path(path), found, unusable)

    @overload
    def predict(self, what: One) -> Prediction: ...
    @overload
    def predict(self, what: str | Path | Sequence[One]) -> list[Prediction]: ...
    def predict(self, what: One | str | Path | Sequence[One]) -> Prediction | list[Prediction]:
        """Predicts the class of a sequence, or of each of several.

        Args:
            what: a sequence of `aclnet.read`; an array (T, V, C) or (M, T, V, C) of joints in the
                run's layout, in metres or pixels as recorded, NaN or zero for a missing
                joint, with the confidence as an additional coordinate if the run uses it; a list
                of these; or the path of recordings.

        Returns:
            One prediction for a sequence or an array, a list for a list or a path. The scores are
            those of `aclnet evaluate` for the same recording.

        Raises:
            AclnetError: the input does not fit the run's training data, or cannot be read.
        """
        self.check_classifies()
        given = self._sequences(what)
        found = [self.prediction(s, p) for s, p in zip(given, self._scores_of(given), strict=True)]
        return found[0] if _is_one(what) else found

    def segments(self, what: One, settings: SegmentSettings | None = None) -> list[Segment]:
        """The segments of a long recording, in the order of time; see `SegmentSettings`.

        Without `settings`, windows are as long as the median training sequence.
        """
        settings = settings or SegmentSettings(window=self.default_window())
        found = self.windows(what, settings.window, settings.step)
        windows = [window for window, _ in found]
        scores = np.array([prediction.probabilities for _, prediction in found])
        return merge(windows, scores, settings)

    def windows(self, what: One, window: int, stride: int) -> list[tuple[Window, Prediction]]:
        """Windows of a long recording with their predictions; windows without persons are left out.

        window, stride: in frames of the run's frame rate.
        """
        self.check_classifies()
        (sequence,) = self._sequences(what)
        places = windows_of(sequence.frame_index, window, stride)
        parts = [(place, part) for place in places if (part := cut(sequence, place)) is not None]
        scores = self._scores_of([part for _, part in parts])
        return [
            (place, self.prediction(part, row))
            for (place, part), row in zip(parts, scores, strict=True)
        ]

    def stream(self, window: int | None = None, stride: int = 1) -> PredictionStream:
        """A stream that predicts frames as they arrive, see `PredictionStream`.

        Raises AclnetError if a run was trained with `data.image_scale`.
        """
        self.check_classifies()
        self.preparer.check_takes_arrays()
        return PredictionStream(
            self.predict,
            joints=self.layout.num_joints,
            coordinates=self.preparer.record.coordinates,
            scored=self.preparer.scored,
            window=window or self.default_window(),
            stride=stride,
        )

    def embed(self, what: One | str | Path | Sequence[One]) -> NDArray[np.float32]:
        """The embedding (D,) of a sequence, or (N, D) of a list or the recordings at a path.

        It is the embedding that the run uses to compare people (`retrieval.embedding`).
        """
        if len(self.runs) > 1:
            raise AclnetError("embeddings of several runs cannot be averaged: load one run")
        run, given = self.runs[0], self._sequences(what)
        numbered = [replace(s, sample_id=f"{n:09}") for n, s in enumerate(given)]
        store = self.preparer.hold([self._fit(sequence) for sequence in numbered])
        embedder = Embedder.of_run(run, store, run.config, self._device)
        found = sequence_level(embedder(store, np.ones(len(store), np.bool_))).vectors
        return found[0] if _is_one(what) else found

    def default_window(self) -> int:
        """Frames of the median training sequence; raises AclnetError if it is not recorded."""
        median = self.preparer.record.median_frames
        if median is None:
            raise AclnetError(
                f"run {self.runs[0].name} does not record the length of its training sequences: "
                "give the number of frames of a window"
            )
        return median

    def check_classifies(self) -> None:
        """Raises AclnetError if a run recognises people, who are compared by embeddings."""
        people = [run for run in self.runs if run.config.task != "action"]
        if people:
            raise AclnetError(
                f"run {people[0].name} recognises people, not actions: use `aclnet identify`, or "
                "Model.embed"
            )

    def scores(
        self, store: Store, mask: NDArray[np.bool_], how: Pass = PLAIN
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows (N,) of the originals of a mask, and their probabilities (N, classes) float32.

        Raises AclnetError if the sequences of the store do not fit the runs.
        """
        found = []
        for run, member, clips in zip(self.runs, self.members, self._clips, strict=True):
            check_same_input(run, store)
            found.append(member.mean_over_clips(store, mask, clips=clips, how=how))
        rows, values = found[0][0], [one.numpy().astype(np.float64) for _, one in found]
        return rows, np.average(values, axis=0, weights=self._weights).astype(np.float32)

    def score_each(
        self, tagged: Iterable[tuple[Tag, Sample | Rejection]]
    ) -> Iterator[tuple[Tag, NDArray[np.float32] | Rejection]]:
        """Probabilities (classes,) of samples, computed in batches; other items pass, in order."""
        waiting: list[tuple[Tag, Sample | Rejection]] = []
        rows = 0
        for tag, found in tagged:
            waiting.append((tag, found))
            rows += 0 if isinstance(found, Rejection) else found.sequence.present.size
            if rows >= _ROWS_AT_ONCE or len(waiting) >= _SAMPLES_AT_ONCE:
                yield from self._score(waiting)
                waiting, rows = [], 0
        yield from self._score(waiting)

    def _score(
        self, waiting: list[tuple[Tag, Sample | Rejection]]
    ) -> Iterator[tuple[Tag, NDArray[np.float32] | Rejection]]:
        samples = [found for _, found in waiting if not isinstance(found, Rejection)]
        scores = iter(())
        if samples:
            store = self.preparer.hold(samples)
            rows, values = self.scores(store, np.ones(len(samples), np.bool_))
            scores = iter(values[np.argsort(rows)])
        for tag, found in waiting:
            yield tag, found if isinstance(found, Rejection) else next(scores)

    def _scores_of(self, sequences: Sequence[SkeletonSequence]) -> list[NDArray[np.float32]]:
        tagged = ((None, self._fit(sequence)) for sequence in sequences)
        return [found for _, found in self.score_each(tagged) if not isinstance(found, Rejection)]

    def _fit(self, sequence: SkeletonSequence) -> Sample:
        sample = self.preparer.fit(sequence)
        if isinstance(sample, Rejection):
            raise AclnetError(str(sample))
        return sample

    def prediction(
        self, sequence: SkeletonSequence, probabilities: NDArray[np.float32]
    ) -> Prediction:
        """Prediction from the probabilities (classes,) of a sequence."""
        label = self.classes[int(probabilities.argmax())]
        return Prediction(sequence, self.classes, probabilities, self.families.get(label, ()))

    def _sequences(self, what: One | str | Path | Sequence[One]) -> list[SkeletonSequence]:
        if isinstance(what, str | Path):
            return self.read(what)
        several: Sequence[One] = [what] if _is_one(what) else what  # type: ignore[assignment,list-item]
        return [s if isinstance(s, SkeletonSequence) else self._from_array(s) for s in several]

    def _from_array(self, joints: NDArray[Any]) -> SkeletonSequence:
        self.preparer.check_takes_arrays()
        return sequence_of(joints, self.preparer.scored)


def load(
    run: str | Path | Run | Sequence[str | Path | Run],
    *,
    model: str | None = None,
    weights: Sequence[float] | None = None,
    clips: int | None = None,
    accelerator: str = "auto",
) -> Model:
    """A trained run, or an ensemble of several, ready to predict.

    Args:
        run: folder of a run; a list of them is an ensemble, see `Model`.
        model: network of the runs if it is your own, as `package.module:function`
            (docs/networks.md).
        weights: one for each run of an ensemble; None: equal weights.
        clips: clips per sequence; None: those of each run.
        accelerator: device to compute on: `cpu`, `cuda`, ...

    Raises:
        AclnetError: there is no run, a run has no checkpoint, or the runs do not fit together.
    """
    given = [run] if isinstance(run, str | Path | Run) else run
    opened = [one if isinstance(one, Run) else Run(Path(one)) for one in given]
    if model:
        for one in opened:
            name_own_model(one, model)
    return Model(opened, weights, clips=clips, accelerator=accelerator)


def _is_one(what: object) -> bool:
    return isinstance(what, SkeletonSequence | np.ndarray)


def _checked_weights(weights: Sequence[float] | None, count: int) -> NDArray[np.float64]:
    """The weights as shares that sum to 1."""
    given = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    if len(given) != count:
        raise AclnetError(f"{len(given)} weights for {count} runs; give one for each run")
    if not (given >= 0).all() or not 0 < given.sum() < np.inf:
        raise AclnetError("weights must not be negative, and not all of them 0")
    return np.asarray(given / given.sum())
