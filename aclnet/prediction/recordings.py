"""New recordings, prepared like the store of a run: opened, cleaned, normalised."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.formats.files import file_on_disk
from aclnet.datasets.opening import open_store
from aclnet.datasets.readers.custom_pattern import EVERY
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError, Prepared, Rejection
from aclnet.datasets.spec.layouts import get_layout, remember_layout
from aclnet.datasets.store.paths import store_path
from aclnet.datasets.store.places import is_store
from aclnet.pipelines.prepare.in_memory import hold
from aclnet.pipelines.prepare.options import PrepareOptions
from aclnet.pipelines.prepare.preparation import reading, scan
from aclnet.pipelines.prepare.samples import clean_sequence, normalise_sequence, read_checked
from aclnet.pipelines.steps.clean import take_persons
from aclnet.pipelines.steps.convert import with_layout
from aclnet.pipelines.steps.normalise import (
    denormalise,
    is_sizeless,
    normalisation_name,
    options_of,
)
from aclnet.runs.known_preparation import preparation_record

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.spec import DatasetSpec, Item, SkeletonSequence, Source
    from aclnet.datasets.spec.layouts import Layout
    from aclnet.datasets.store.store import Store
    from aclnet.pipelines.prepare.samples import Sample
    from aclnet.runs.run import Run

CUSTOM = "custom"
_CHOICES = ("track", "persons", "fps", "box_thr", "valid_ratio", "max_coordinate")
"""Options of a store that also apply to new recordings; its recipe has those of normalisation."""
_MOST_PERSONS = 20
"""Largest number of tracks of a recording, if each person is predicted separately."""


@dataclass(frozen=True, slots=True)
class Recordings:
    """Raw data that was opened for prediction."""

    path: Path
    source: Source
    spec: DatasetSpec
    """Description of the dataset in the run's layout."""
    options: PrepareOptions
    """Options of the run that apply to this data."""
    items: list[Item]
    unusable: list[Rejection]

    def without(self, files: Collection[Path]) -> Recordings:
        """The recordings that are not in these files, given by absolute paths."""
        if not files:
            return self

        def kept(path: str) -> bool:
            return file_on_disk(self.source.root, path).absolute() not in files

        items = [item for item in self.items if kept(item.path)]
        unusable = [rejection for rejection in self.unusable if kept(rejection.path)]
        return replace(self, items=items, unusable=unusable)


class Preparer:
    """Prepares recordings like the store that a run was trained on.

    Args:
        run: the run.
        per_person: each person is a sequence; if the files have no identities, persons are
            tracked from frame to frame.
        others: the other runs of an ensemble.

    Raises AclnetError if this version does not know the preparation of the store.
    """

    def __init__(self, run: Run, *, per_person: bool = False, others: Sequence[Run] = ()) -> None:
        self.run, self.per_person = run, per_person
        self.layout: Layout = run.layout
        self.record = preparation_record(run)
        self.normalisation = run.record.normalisation
        joints = run.record.channels - run.config.data.presence
        self.scored = joints > self.record.coordinates
        scaling = (r.name for r in (run, *others) if r.config.data.image_scale)
        self.scales = next(scaling, None) if self.record.coordinates == 2 else None
        """Name of a run that needs the size of the image of each recording."""
        chosen = {n: self.record.options[n] for n in _CHOICES if n in self.record.options}
        align, by = options_of(self.normalisation)
        self.options = PrepareOptions.model_validate({**chosen, "align": align, "normalise": by})
        known = normalisation_name(
            self.layout, align=align, coordinates=self.record.coordinates, by=by
        )
        if known != self.normalisation:
            raise AclnetError(
                f"run {run.name} was trained on sequences normalised by {self.normalisation}, "
                "which this version of aclnet does not know"
            )
        remember_layout(self.layout)

    def open(self, path: Path, dataset: str | None = None) -> Recordings:
        """Recordings at a path: a file, a folder, or an archive.

        dataset: name of the dataset whose form they have; None: the run's dataset, or `custom` if
            they have another form. A folder of `custom` needs no index.

        Raises AclnetError if nothing can be read there.
        """
        own = self.run.record.dataset
        if dataset is not None:
            return self._open(path, get_dataset(dataset))
        if own == CUSTOM:
            return self._open(path, get_dataset(CUSTOM))
        try:
            return self._open(path, get_dataset(own))
        except AclnetError as error:
            refused = error
        try:
            return self._open(path, get_dataset(CUSTOM))
        except AclnetError as error:
            raise AclnetError(
                f"as recordings of {own}: {refused}; as recordings of your own: {error}"
            ) from None

    def _open(self, path: Path, spec: DatasetSpec) -> Recordings:
        if spec.name == CUSTOM:
            units = self.record.units
            spec = replace(spec, layout=self.layout.name, own_units=units, pattern=EVERY)
        source = self.options.choose_boxes(self._cleaned_alike(open_raw(spec, path)))
        items, unusable = scan(source)
        if source.normalisation() not in (None, self.normalisation):
            raise AclnetError(
                f"{path} is an exported store normalised by {source.normalisation()}; run "
                f"{self.run.name} was trained on {self.normalisation}"
            )
        if source.outside():
            reason = f"{source.outside()} recordings belong to a larger dataset than {spec.title}"
            unusable.append(Rejection(str(path), None, reason, "unknown name"))
        if not items:
            first = f"; the first that is unusable: {unusable[0]}" if unusable else ""
            raise AclnetError(f"{path}: no recordings of {spec.title} there{first}")
        options = self._options_for(source)
        return Recordings(path, source, self._in_layout(source), options, items, unusable)

    def _cleaned_alike(self, source: Source) -> Source:
        """Custom recordings with the cleaning step and the persons of the run's dataset."""
        own = self.run.record.dataset
        if own == CUSTOM or source.spec.name != CUSTOM:
            return source
        spec = get_dataset(own)
        # the step of a dataset in metres does not fit its 2-D form
        fallback = spec.clean if spec.units == self.record.units else None
        known = self.record.cleaning if self.record.cleaning != "none" else fallback
        # the step for NTU needs bodies of a sensor, the other steps need lists of persons
        fits = known is not None and (known == "ntu") == source.tracked()
        step = known if fits else source.spec.clean
        return replace(source, spec=replace(source.spec, clean=step, max_persons=spec.max_persons))

    def _in_layout(self, source: Source) -> DatasetSpec:
        spec = source.spec
        if spec.layout and get_layout(spec.layout).joints != self.layout.joints:
            spec = with_layout(spec, self.layout.name)
        return replace(spec, max_persons=None) if self.per_person else spec

    def _options_for(self, source: Source) -> PrepareOptions:
        """Tracks persons from frame to frame if this is requested and not done already."""
        if source.tracked():
            return self.options.model_copy(update={"track": False})
        if not self.per_person:
            return self.options
        most = self.options.persons or _MOST_PERSONS
        return self.options.model_copy(update={"track": True, "persons": most})

    def read(
        self, recordings: Recordings, item: Item, fps: float = 0.0
    ) -> list[SkeletonSequence] | Rejection:
        """A recording, cleaned, in its own space; with `per_person`, a sequence for each person.

        fps: frame rate, if the recording does not contain it.

        Raises AclnetError if reading fails for a reason outside the recording.
        """
        source = recordings.source
        with reading(source, item):
            result = read_checked(source, item)
        if isinstance(result, Rejection):
            return result
        result = replace(result, fps=result.fps or fps)
        result = clean_sequence(result, source, recordings.spec, recordings.options)
        if isinstance(result, Rejection):
            return result
        return each_person(result) if self.per_person else [result]

    def fit(self, sequence: SkeletonSequence) -> Sample | Rejection:
        """Input of the network from a clean sequence, or a Rejection if it does not fit."""
        where = sequence.source or sequence.sample_id
        joints, coordinates = sequence.keypoint.shape[2:]
        wanted = (self.layout.num_joints, self.record.coordinates)
        if (joints, coordinates) != wanted:
            reason = (
                f"{joints} joints with {coordinates} coordinates; run {self.run.name} was trained "
                f"on layout {self.layout.name} with {wanted[0]} joints and {wanted[1]} coordinates"
            )
            return Rejection(where, None, reason)
        if self.scored and sequence.score is None:
            reason = f"the joints have no confidences, which run {self.run.name} was trained on"
            return Rejection(where, None, reason)
        if self.scales and not min(sequence.width, sequence.height) > 0:
            reason = (
                "the width and height of the image are not known; give them in index.csv or "
                f"dataset.toml: run {self.scales} was trained with data.image_scale"
            )
            return Rejection(where, None, reason)
        if not self.scored:
            sequence = replace(sequence, score=None)
        return normalise_sequence(sequence, self.layout, self.options)

    def check_takes_arrays(self) -> None:
        """Raises AclnetError if a run needs the size of the image, which arrays do not have."""
        if self.scales:
            raise AclnetError(
                f"run {self.scales} was trained with data.image_scale, which needs the width and "
                "height of the image; arrays and streams do not have them: predict files, or "
                "sequences with `width` and `height`"
            )

    def check_alike(self, other: Preparer) -> None:
        """Raises AclnetError if another run needs different sequences or has other classes."""
        a, b = self.run, other.run
        pairs = {
            "classes": (a.class_names, b.class_names),
            "joints": (a.layout.joints, b.layout.joints),
            "confidences": (self.scored, other.scored),
            "normalisation": (self.normalisation, other.normalisation),
            "options of prepare": (self.options, other.options),
        }
        for what, (own, theirs) in pairs.items():
            if own != theirs:
                raise AclnetError(
                    f"runs {a.name} and {b.name} differ in their {what}; an ensemble needs runs on "
                    "sequences that were prepared in the same way"
                )

    def hold(self, samples: Sequence[Sample]) -> Store:
        """Samples of `fit` as a store in memory."""
        units, recipe = self.record.units, self.normalisation
        return hold(samples, self.layout, units=units, normalisation=recipe)


def each_person(sequence: SkeletonSequence) -> list[SkeletonSequence]:
    """One sequence for each present person; `body_ids` has the person's id or number."""
    persons = np.flatnonzero(sequence.present.any(axis=1))
    ids = sequence.body_ids or [str(m) for m in range(len(sequence.present))]
    named = replace(sequence, body_ids=ids)
    return [take_persons(named, np.array([m])) for m in persons]


def store_at(path: Path) -> Store | None:
    """The store at a path, None where there is none."""
    place = store_path(path)
    return open_store(place) if is_store(place) else None


def originals(store: Store) -> NDArray[np.int64]:
    """Rows of the samples of a store that are not augmented variants."""
    return np.flatnonzero(store.column("variant") == 0)


def store_sequences(
    store: Store, rows: NDArray[np.int64], *, raw: bool
) -> Iterator[SkeletonSequence]:
    """Sequences of a store, by rows in ascending order; with `raw` in their own space.

    Otherwise they are normalised, as stored. If the body size was removed, it cannot be restored.
    This is not needed, because frames are independent in such stores.
    """
    leads_back = not is_sizeless(store.attributes.normalisation)
    for sequence, row in zip(store.sequences(rows), rows.tolist(), strict=True):
        centre, rotation = store.column("centre")[row], store.column("rotation")[row]
        if not raw:
            known = Prepared(centre, rotation, str(store.column("original")[row]))
            yield replace(sequence, prepared=known)
        elif leads_back:
            joints = denormalise(sequence.keypoint, sequence.present, centre, rotation)
            yield replace(sequence, keypoint=joints)
        else:
            yield sequence
