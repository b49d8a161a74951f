"""A recording in several forms: as recorded, normalised, with joints missing, augmented."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from aclnet.datasets.spec import AclnetError, Rejection, did_you_mean, first_of
from aclnet.datasets.spec.layouts import get_layout
from aclnet.evaluation.occlusion_bench import possible_protocol
from aclnet.pipelines.inputs.corruptions.frames import Thinning
from aclnet.pipelines.prepare.dataset import open_recordings
from aclnet.pipelines.prepare.in_memory import hold
from aclnet.pipelines.prepare.options import PrepareOptions
from aclnet.pipelines.prepare.samples import Sample, normalise_sequence
from aclnet.pipelines.steps.normalise import denormalise, is_sizeless, normalisation_name
from aclnet.runs.config import DataConfig, build_config
from aclnet.runs.inputs import MakeInputs
from aclnet.runs.recipes import default_recipe, fitting_recipe
from aclnet.viewing.camera import Camera, Up, camera_for

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Item, SkeletonSequence
    from aclnet.datasets.spec.layouts import Layout
    from aclnet.datasets.store.store import Store
    from aclnet.pipelines.choices import Missing
    from aclnet.pipelines.inputs.augment import AugmentSpec
    from aclnet.pipelines.inputs.corruptions.corruption import Corruption
    from aclnet.pipelines.prepare.dataset import Recordings

FPS = 30.0
"""Frames per second if neither the recording nor the user gives them."""
MOST_FRAMES = 2000
"""Frames that are shown unless the user chooses others: a page of more is slow."""


@dataclass(frozen=True, slots=True)
class Form:
    """One form of a recording."""

    title: str
    note: str
    """Short name of the change."""
    joints: NDArray[np.float32]
    """(M, T, V, C), C is 2 or 3; a joint that is zero in all coordinates is not drawn."""
    frame: NDArray[np.int64]
    """(T,) number of each frame in the recording, ascending."""
    layout: Layout
    camera: Camera
    behind: int | None = None
    """Number of the form that is drawn faintly behind this one, in the same space."""


@dataclass(frozen=True, slots=True)
class View:
    """A recording to draw."""

    title: str
    facts: dict[str, str]
    forms: list[Form]
    fps: float
    """Frames per second of playing."""
    timed: bool = False
    """True if the frame rate of the recording is known."""
    remarks: list[str] = field(default_factory=list)
    """Remarks for the user, in sentences."""

    @property
    def frames(self) -> NDArray[np.int64]:
        """Numbers of the frames that any form has, ascending."""
        return np.unique(np.concatenate([form.frame for form in self.forms]))


@dataclass(frozen=True, slots=True)
class ViewSettings:
    """Settings of a view of a recording."""

    drop: tuple[str, ...] = ()
    """Protocols of the occlusion bench, by name; each makes a form."""
    missing: Missing = "centre"
    augment: bool = False
    """Add an augmented form."""
    recipe: str | None = None
    """Recipe of the augmentation; None: the dataset's."""
    seed: int = 0
    """Seed of the random changes."""
    frames: tuple[int, int] | None = None
    """Numbers of the first frame and of the one after the last; None: the first 2000."""
    fps: float | None = None
    """Frames per second of playing; None: those of the recording."""
    up: Up | None = None
    """Axis that points upwards; None: from the legs to the head."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A recording that was read: as recorded, and as a store of one sample."""

    title: str
    facts: dict[str, str]
    dataset: str
    """Name, for its recipe."""
    protocol: str
    fps: float | None
    raw: tuple[SkeletonSequence, Layout] | None
    store: Store | None
    """None if the recording could not be prepared."""
    remarks: list[str]


def view_sample(
    store: Store, sample_id: str | None = None, settings: ViewSettings | None = None
) -> View:
    """The view of a sample of a store, by its id; None: the first sample.

    Raises AclnetError for an unknown id, and for a protocol or augmentation that the data excludes.
    """
    row = 0 if sample_id is None else store.row_of(sample_id)
    sequence = store.sequence(row)
    about = store.attributes
    centre, rotation = store.column("centre")[row], store.column("rotation")[row]
    original, variant = str(store.column("original")[row]), int(store.column("variant")[row])
    sample = Sample(sequence, centre, rotation, original, variant)
    raw, remarks = None, []
    if is_sizeless(about.normalisation):
        remarks.append("The store has no body size, so the recorded joints cannot be restored.")
    else:
        joints = denormalise(sequence.keypoint, sequence.present, centre, rotation)
        raw = replace(sequence, keypoint=joints), store.layout
    one = hold([sample], store.layout, units=about.units, normalisation=about.normalisation)
    known = _Known(
        title=sequence.sample_id,
        facts={"dataset": about.title, **_facts(sequence, store.class_names, store.layout)},
        dataset=store.name,
        protocol=store.protocols[0] if store.protocols else "",
        fps=frame_rate(store),
        raw=raw,
        store=one,
        remarks=remarks,
    )
    return _view(known, settings or ViewSettings())


def stored_form(store: Store, row: int, frames: int = MOST_FRAMES) -> Form:
    """The first frames of a sample as the store has it, by its row in `samples`."""
    sequence = store.sequence(row)
    return _form(
        "as stored",
        store.attributes.normalisation,
        sequence.keypoint[:, :frames],
        sequence.frame_index[:frames],
        store.layout,
        None,
    )


def frame_rate(store: Store) -> float | None:
    """Frames per second of the recordings of a store; None if it is not known."""
    return float(store.attributes.options.get("fps") or 0) or None


def view_file(
    path: Path,
    sample_id: str | None = None,
    settings: ViewSettings | None = None,
    *,
    dataset: str = "custom",
    layout: str = "",
    reader: str | None = None,
) -> View:
    """The view of a raw recording, before anything is prepared.

    Args:
        path: a file, a folder or an archive.
        sample_id: the recording's id; None: the first one.
        settings: settings of the view.
        dataset: dataset of the raw format, as for `aclnet.read`.
        layout: joint layout, if the recordings do not contain it, or the layout to convert to.
        reader: as for `aclnet.read`.

    Raises:
        AclnetError: there is no such recording, or it cannot be read; and like `view_sample`.
    """
    recordings = open_recordings(
        path, dataset, options=PrepareOptions(layout=layout), reader=reader
    )
    spec = recordings.spec
    read = recordings.read(_item(recordings, path, sample_id))
    if isinstance(read, Rejection):
        raise AclnetError(f"{read}")
    source_layout, target = get_layout(spec.source_layout), get_layout(spec.layout)
    cleaned = recordings.clean(read)
    sample = (
        cleaned
        if isinstance(cleaned, Rejection)
        else normalise_sequence(cleaned, target, recordings.options)
    )
    store, remarks = None, []
    if isinstance(sample, Rejection):
        remarks.append(f"`aclnet prepare` leaves this recording out: {sample.reason}")
    else:
        coordinates = sample.sequence.keypoint.shape[-1]
        name = normalisation_name(target, coordinates=coordinates)
        store = hold([sample], target, units=spec.units, normalisation=name)
    facts = {"dataset": spec.title} if dataset != "custom" else {}
    known = _Known(
        title=read.sample_id,
        facts={**facts, **_facts(read, spec.class_names, source_layout)},
        dataset=spec.name,
        protocol=spec.protocols[0].name if spec.protocols else "",
        fps=read.fps,
        raw=(read, source_layout) if read.prepared is None else None,
        store=store,
        remarks=remarks,
    )
    return _view(known, settings or ViewSettings())


def _item(recordings: Recordings, path: Path, sample_id: str | None) -> Item:
    items = {item.sample_id: item for item in recordings.items}
    if not items:
        first = "".join(f"; the first that is unusable: {r}" for r in recordings.unusable[:1])
        title = recordings.spec.title
        raise AclnetError(f"{path}: no recordings of {title} there{first}; --dataset names another")
    if sample_id is None:
        return recordings.items[0]
    if sample_id not in items:
        raise AclnetError(
            f"{path} has no recording {sample_id!r}{did_you_mean(sample_id, items)}; it has "
            f"{first_of([*items])}"
        )
    return items[sample_id]


def _facts(sequence: SkeletonSequence, classes: Iterable[str], layout: Layout) -> dict[str, str]:
    """Facts about a recording, by name."""
    names = [*classes]
    label = names[sequence.label] if 0 <= sequence.label < len(names) else ""
    persons, frames = sequence.present.shape
    numbers = {name: getattr(sequence, name) for name in ("subject", "camera", "setup")}
    return {
        **({"class": label} if label else {}),
        **{name: str(value) for name, value in numbers.items() if value >= 0},
        **({"condition": sequence.condition} if sequence.condition else {}),
        "persons": str(persons),
        "frames": str(frames),
        "layout": layout.name,
        **({"file": sequence.source} if sequence.source else {}),
    }


def _view(known: _Known, settings: ViewSettings) -> View:
    """All requested forms, cut to the requested frames."""
    forms: list[Form] = []
    if known.raw:
        sequence, layout = known.raw
        forms.append(
            _form("recorded", "as recorded", sequence.keypoint, sequence.frame_index, layout,
                  settings.up)
        )  # fmt: skip
    if known.store is not None:
        forms += _inputs(known, known.store, settings, number=len(forms))
        if known.raw and (known.store.column("rotation") == np.eye(known.store.coordinates)).all():
            # only moved: seen from the same side, although another person may be the first
            same = replace(forms[0].camera, base=forms[1].camera.base)
            forms[0] = replace(forms[0], camera=same)
    elif settings.drop or settings.augment:
        raise AclnetError(f"{known.title}: {known.remarks[0]} --drop and --augment need it")
    forms, remarks = _cut(forms, settings)
    return View(
        title=known.title,
        facts=known.facts,
        forms=forms,
        fps=settings.fps or known.fps or FPS,
        timed=bool(settings.fps or known.fps),
        remarks=[*known.remarks, *remarks],
    )


def _form(
    title: str,
    note: str,
    joints: NDArray[np.float32],
    frame: NDArray[Any],
    layout: Layout,
    up: Up | None,
) -> Form:
    if joints.shape[-1] not in (2, 3):
        raise AclnetError(
            f"joints with {joints.shape[-1]} coordinate cannot be drawn; 2 or 3 are needed"
        )
    return Form(title, note, joints, frame.astype(np.int64), layout, camera_for(joints, layout, up))


def _inputs(known: _Known, store: Store, settings: ViewSettings, number: int) -> list[Form]:
    """The forms that a network sees; the first one is unchanged, and its number is `number`."""
    frame = store.sequence(0).frame_index.astype(np.int64)
    joints, _ = network_input(store)
    title = "network input" if known.raw else "as stored"
    note = store.attributes.normalisation
    plain = _form(title, note, joints, frame, store.layout, settings.up)
    forms = [plain]
    everything = np.ones(1, np.bool_)
    for name in settings.drop:
        protocol = possible_protocol(name, store, everything, settings.missing, settings.seed)
        joints, chosen = network_input(store, corruption=protocol.corruption)
        title = protocol.name.removeprefix("parts-v1/").partition(" (")[0]
        forms.append(
            replace(plain, title=title, note=protocol.name, joints=joints, frame=frame[chosen],
                    behind=number)
        )  # fmt: skip
    if settings.augment:
        recipe, spec = _augmentation(known, settings.recipe, store.coordinates)
        joints, _ = network_input(store, spec=spec, seed=settings.seed)
        forms.append(
            replace(plain, title="augmented", note=f"recipe {recipe}: {spec}", joints=joints,
                    behind=number)
        )  # fmt: skip
    camera = plain.camera
    for form in forms:
        camera = camera.widened(form.joints)
    return [replace(form, camera=camera) for form in forms]


def _augmentation(known: _Known, recipe: str | None, coordinates: int) -> tuple[str, AugmentSpec]:
    chosen = (
        fitting_recipe(recipe, coordinates)
        if recipe
        else default_recipe(known.dataset, known.protocol, coordinates)
    )
    spec = build_config(chosen).augment
    if not any(value for name, value in spec if name not in ("parts", "ramp")):
        raise AclnetError(f"recipe {chosen} has no augmentation; choose another one with --recipe")
    return chosen, spec


def network_input(
    store: Store,
    *,
    corruption: Corruption | None = None,
    spec: AugmentSpec | None = None,
    seed: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Joints of the only sample of a store in the form of the network's input, in all its frames.

    Returns:
        (M, T, V, C) joints, and (T,) numbers of the frames among those of the sample; a protocol
        may leave some out.
    """
    kept = corruption if isinstance(corruption, Thinning) else None
    lengths = store.column("n_frames").astype(np.int64)
    frames = int((kept.count(lengths) if kept else lengths)[0])
    # a recording that is longer than any clip of a training
    data = DataConfig(score=False).model_copy(update={"frames": frames})
    make = MakeInputs(store, data, torch.device("cpu"), spec=spec, corruption=corruption)
    stream = store.stream(
        np.ones(1, np.bool_),
        batch_size=1,
        sampling=_every_frame,
        seed=seed,
        shuffle=False,
        kept=kept,
    )
    (batch,) = stream
    return make(batch).tracks.numpy(), batch.frame[0]


def _every_frame(n_frames: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.arange(n_frames[0])[None]


def _cut(forms: list[Form], settings: ViewSettings) -> tuple[list[Form], list[str]]:
    """The forms with the requested frames."""
    frames = np.unique(np.concatenate([form.frame for form in forms]))
    wanted, remarks = frames[:MOST_FRAMES], []
    if settings.frames:
        first, end = settings.frames
        wanted = frames[(frames >= first) & (frames < end)]
        if not len(wanted):
            raise AclnetError(
                f"--frames {first}:{end}: there are no such frames; the recording has "
                f"{frames[0]} to {frames[-1]}"
            )
    elif len(wanted) < len(frames):
        remarks.append(
            f"Frames {wanted[0]} to {wanted[-1]} of {len(frames)} are shown; choose others with "
            f"--frames, for example --frames {wanted[-1] + 1}:{wanted[-1] + 1 + MOST_FRAMES}."
        )
    cut = [
        replace(form, joints=form.joints[:, chosen], frame=form.frame[chosen])
        for form in forms
        for chosen in [np.isin(form.frame, wanted)]
    ]
    return cut, remarks
