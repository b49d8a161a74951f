"""One wild coordinate is one rejected recording: the others keep their precision."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import aclnet
from aclnet.datasets.registry import get_dataset
from aclnet.datasets.spec import AclnetError, Item, SkeletonSequence, Source
from aclnet.pipelines.prepare import samples
from aclnet.pipelines.prepare.check import check
from aclnet.pipelines.prepare.executor import open_executor
from aclnet.pipelines.prepare.options import PrepareOptions
from aclnet.pipelines.prepare.stages import prepare

METRES = replace(get_dataset("custom"), layout="nturgb+d", units="m", class_names=("walk",))
PIXELS = replace(METRES, layout="coco", units="px")


class MadeUp(Source):
    """Sequences in memory; those whose id begins with t train."""

    def __init__(self, sequences, spec=METRES) -> None:
        super().__init__(spec, Path("made-up"))
        object.__setattr__(self, "_sequences", {s.sample_id: s for s in sequences})

    def scan(self):
        return [Item(i, f"{i}.npy", s.keypoint.nbytes) for i, s in self._sequences.items()], []

    def splits(self):
        ids = list(self._sequences)
        return {"train": [i for i in ids if i < "u"], "test": [i for i in ids if i > "u"]}

    def read(self, item):
        return self._sequences[item.sample_id]

    def tracked(self):
        return False


def sequence(name: str, spec=METRES, **changes) -> SkeletonSequence:
    joints = {"nturgb+d": 25, "coco": 17}[spec.layout]
    keypoint = np.random.default_rng(len(name)).uniform(0.5, 3, (2, 6, joints, spec.dimensions))
    values = {
        "sample_id": name,
        "keypoint": keypoint.astype(np.float32),
        "label": 0,
        "present": np.ones((2, 6), np.bool_),
        "frame_index": np.arange(3, 9, dtype=np.int32),
        "source": f"{name}.npy",
    }
    return SkeletonSequence(**(values | changes))


def wild(name: str, value: float, spec=METRES, **changes) -> SkeletonSequence:
    """With one wild coordinate: y of joint 3 of the second person in the frame numbered 5."""
    found = sequence(name, spec, **changes)
    found.keypoint[1, 2, 3, 1] = value
    return found


def prepared(sequences, out: Path, spec=METRES, **options):
    with open_executor() as run:
        source = MadeUp(sequences, spec)
        prepare(source, out, PrepareOptions(**options), run, lambda *_: None)
    return aclnet.open_store(out)


def rejected(store) -> dict[str, dict[str, str]]:
    with (store.path / "rejected.csv").open(newline="") as stream:
        return {row["path"]: row for row in csv.DictReader(stream)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "options"),
    [
        (101, {}),
        (-1e5, {"dtype": "int16"}),
        (3e38, {"align": True}),
        (-3e38, {"track": True}),
        (np.nan, {"dtype": "int16"}),
    ],
)
def test_a_wild_coordinate_rejects_its_recording_alone(tmp_path, value, options):
    sound = [sequence(name) for name in ("train", "val")]
    expected = prepared(sound, tmp_path / "a.zarr", **options)
    store = prepared([*sound, wild("twild", value)], tmp_path / "b.zarr", **options)
    for name in ("train", "val"):
        found, before = store.sequence(name), expected.sequence(name)
        np.testing.assert_array_equal(found.keypoint, before.keypoint)
    row = rejected(store)["twild.npy"]
    assert row["kind"] == "size"
    assert f"twild, frame 5, joint Head: y is {value:g} metres, at most 100" in row["reason"]
    assert "--max-coordinate" in row["reason"]


def test_check_tells_what_prepare_rejects(tmp_path):
    sequences = [sequence("train"), sequence("val"), wild("twild", 2000)]
    store = prepared(sequences, tmp_path / "a.zarr")
    with open_executor() as run:
        found = check(MadeUp(sequences), PrepareOptions(), run, lambda *_: None)
    (problem,) = (p for p in found.problems if p.kind != "classes")  # there is but one class
    row = rejected(store)["twild.npy"]
    assert (problem.kind, problem.path, problem.text) == (row["kind"], row["path"], row["reason"])


@pytest.mark.parametrize(
    ("width", "value", "is_sound"),
    [(640, 6400, True), (640, 6401, False), (0, 1e5, True), (0, 1.1e5, False)],
)
def test_pixels_are_held_against_the_image(tmp_path, width, value, is_sound):
    sequences = [
        sequence("train", PIXELS),
        wild("val", value, PIXELS, width=width, height=width // 2),
    ]
    store = prepared(sequences, tmp_path / "a.zarr", PIXELS)
    assert ("val.npy" not in rejected(store)) == is_sound


@pytest.mark.slow
def test_the_user_may_set_the_limit(tmp_path):
    sequences = [sequence("train"), wild("val", 150)]
    assert len(prepared(sequences, tmp_path / "a.zarr", max_coordinate=200)) == 2
    store = prepared(sequences, tmp_path / "b.zarr", max_coordinate=149)
    assert list(rejected(store)) == ["val.npy"]
    assert store.attributes.options["max_coordinate"] == 149


def test_a_limit_that_is_not_given_is_not_recorded(tmp_path):
    """Plans of stores hold the options: the older ones must stay the same."""
    store = prepared([sequence("train"), sequence("val")], tmp_path / "a.zarr")
    names = "layout track box_thr valid_ratio align normalise dtype augment variants seed"
    assert list(store.attributes.options) == list(PrepareOptions().model_dump()) == names.split()


@pytest.mark.parametrize(("spec", "value"), [(METRES, 500), (PIXELS, 50_000)])
def test_int16_is_refused_where_it_rounds_too_much(tmp_path, spec, value):
    sequences = [sequence("train", spec), wild("val", value, spec)]
    out = tmp_path / "a.zarr"
    with pytest.raises(AclnetError, match=r"int16 would round .* val\.npy \(val\) has"):
        prepared(sequences, out, spec, dtype="int16", max_coordinate=1e6)
    store = prepared(sequences, out, spec, max_coordinate=1e6)  # nothing stands in its way
    assert len(store) == 2


def test_what_is_infinite_after_normalisation_is_rejected(tmp_path, monkeypatch):
    real = samples.normalise

    def broken(keypoint, present, *arguments, **options):
        done = real(keypoint, present, *arguments, **options)
        if keypoint.max() > 90:
            done.keypoint[0, 0, 0, 0] = np.inf
        return done

    monkeypatch.setattr(samples, "normalise", broken)
    store = prepared([sequence("train"), wild("val", 95)], tmp_path / "a.zarr")
    assert "after normalisation" in rejected(store)["val.npy"]["reason"]


def test_variants_that_are_infinite_reject_their_recording(tmp_path):
    """Noise of 1e38 metres: some draws are larger than float32 holds."""
    sequences = [sequence("train"), sequence("val")]
    options = {"augment": "jitter=3e+38", "variants": 1}
    store = prepared(sequences, tmp_path / "a.zarr", **options)
    assert list(store.column("id")) == ["val"]
    assert "after --augment jitter=3e+38" in rejected(store)["train.npy"]["reason"]
