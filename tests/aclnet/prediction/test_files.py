"""Many recordings at once: rows, what is unusable, segments and persons."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest

from aclnet.datasets.spec import AclnetError, Rejection
from aclnet.exchange.export_store import export_store
from aclnet.prediction.files import FileSettings, predict_files
from aclnet.prediction.model import load
from aclnet.prediction.recordings import Preparer
from aclnet.prediction.windows import SegmentSettings


def rows_of(outcomes):
    return [row for outcome in outcomes for row in outcome.rows]


def predict(known, *paths, **settings):
    return [*predict_files(known.model, paths, FileSettings(**settings))]


@pytest.fixture(scope="module")
def whole(ntu):
    """Rows of all recordings by id."""
    return {row["id"]: row for row in rows_of(predict(ntu, ntu.raw, top=3))}


@pytest.mark.slow
def test_rows_tell_what_the_model_predicts(ntu, whole):
    predictions = {one.id: one for one in ntu.model.predict(ntu.raw)}
    assert whole.keys() == predictions.keys()
    for sample_id, row in whole.items():
        expected = predictions[sample_id]
        assert row["file"] == f"{sample_id}.skeleton"
        assert row["label"] == expected.label
        assert row["frames"] == len(expected.sequence.frame_index)
        assert row["family"] == [*expected.family]
        assert [(t["label"], t["probability"]) for t in row["top"]] == [
            (name, pytest.approx(p, abs=1e-5)) for name, p in expected.top(3)
        ]


@pytest.mark.slow
def test_a_store_has_the_rows_of_its_raw_files(ntu, whole):
    found = {row["id"]: row for row in rows_of(predict(ntu, ntu.store.path, top=3))}
    assert found.keys() == whole.keys()
    for sample_id, row in found.items():
        assert row["probability"] == pytest.approx(whole[sample_id]["probability"], abs=1e-5)


@pytest.mark.slow
def test_an_exported_store_is_taken_as_it_is(ntu, whole, tmp_path, change_record):
    """A run on other sequences refuses the store."""
    export_store(ntu.store, "hdf5", tmp_path / "s.h5")
    found = {row["id"]: row for row in rows_of(predict(ntu, tmp_path / "s.h5", dataset="ntu60"))}
    assert found.keys() == whole.keys()
    for sample_id, row in found.items():
        assert row["probability"] == pytest.approx(whole[sample_id]["probability"], abs=1e-5)
    shutil.copytree(ntu.run.path, tmp_path / "run")
    change_record(tmp_path / "run", normalisation="centre-first-frame-aligned/1")
    with pytest.raises(AclnetError, match="normalised by centre-first-frame/1"):
        load(tmp_path / "run", accelerator="cpu").predict(tmp_path / "s.h5")


def test_damaged_files_are_told_and_the_rest_is_done(ntu, whole, tmp_path):
    files = sorted(ntu.raw.glob("*.skeleton"))[:3]
    for file in files:
        shutil.copy(file, tmp_path)
    (tmp_path / files[1].name).write_text("12\nnonsense\n")
    (tmp_path / "other.skeleton").write_text("")
    found = predict(ntu, tmp_path)
    assert [row["id"] for row in rows_of(found)] == [files[0].stem, files[2].stem]
    unusable = {o.rejection.path: o.rejection for o in found if o.rejection}
    assert unusable.keys() == {files[1].name, "other.skeleton"}
    assert unusable[files[1].name].line == 2


def test_what_is_done_is_not_read_again(ntu, monkeypatch):
    outcomes = predict(ntu, ntu.raw)
    read = []
    original = Preparer.read

    def counted(self, recordings, item, fps=0.0):
        read.append(item.sample_id)
        return original(self, recordings, item, fps)

    monkeypatch.setattr(Preparer, "read", counted)
    done = {outcome.key: outcome for outcome in outcomes[:-2]}
    again = [*predict_files(ntu.model, [ntu.raw], FileSettings(), done)]
    assert [o.key for o in again] == [o.key for o in outcomes]
    assert read == [row["id"] for row in rows_of(again[-2:])]


def test_a_prediction_that_is_left_stops_reading(ntu, monkeypatch):
    for name in ("files._READ_AHEAD", "model._SAMPLES_AT_ONCE"):
        monkeypatch.setattr(f"aclnet.prediction.{name}", 1)  # the thread must wait
    outcomes = predict_files(ntu.model, [ntu.raw], FileSettings())
    next(outcomes)
    assert "aclnet-batches" in {thread.name for thread in threading.enumerate()}
    outcomes.close()
    assert "aclnet-batches" not in {thread.name for thread in threading.enumerate()}


def test_persons_are_predicted_apart(ntu):
    """Each as if nobody else had been there; the sensor tells who is who."""
    rows = rows_of(predict(ntu, ntu.raw, per_person=True))
    pair = next(s for s in ntu.model.read(ntu.raw) if len(s.present) == 2)
    found = [row for row in rows if row["id"] == pair.sample_id]
    assert [row["person"] for row in found] == pair.body_ids
    for m, row in enumerate(found):
        own = slice(m, m + 1)
        alone = replace(pair, keypoint=pair.keypoint[own], present=pair.present[own])
        expected = ntu.model.predict(alone).probability
        assert row["probability"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_persons_whom_frames_only_list_are_joined_first(openpose, tmp_path):
    """Two recordings laid over each other, far apart, the persons of odd frames exchanged."""
    (tmp_path / "apart").mkdir()
    (tmp_path / "both").mkdir()
    people = [sorted((openpose.raw / f"clip_0000{n}").glob("*.json")) for n in (0, 1)]
    for number, files in enumerate(zip(*people, strict=False)):
        frames = [json.loads(file.read_text())["people"][0] for file in files]
        frames[1]["pose_keypoints_2d"][::3] = [
            x + 900 * (x != 0) for x in frames[1]["pose_keypoints_2d"][::3]
        ]
        listed = {"apart": frames[:1], "both": frames[:: 1 - 2 * (number % 2)]}
        for folder, persons in listed.items():
            (tmp_path / folder / f"a_{number:012}_keypoints.json").write_text(
                json.dumps({"version": 1.3, "people": persons})
            )
    found = predict(openpose, tmp_path, per_person=True)
    rows = {(row["id"], row["person"]): row["probability"] for row in rows_of(found)}
    assert rows.keys() == {("apart", "0"), ("both", "0"), ("both", "1")}
    alone = rows["apart", "0"]
    assert min(abs(rows["both", m] - alone) for m in "01") < 1e-5


@pytest.mark.slow
def test_segments_of_a_recording_follow_from_its_windows(known):
    """From raw files and from the store; times count from the start of the recording."""
    settings = SegmentSettings(window=24, stride=18, enter=0.0, leave=0.0)
    kinds = {"segments": settings, "fps": 20.0}
    rows = rows_of(predict(known, known.raw, **kinds))
    stored = rows_of(predict(known, known.store.path, **kinds))
    sequence = known.model.read(known.raw)[0]
    expected = known.model.segments(sequence, settings)
    for some in (rows, stored):
        own = [row for row in some if row["id"] == sequence.sample_id]
        assert [(r["start"], r["end"], r["label"]) for r in own] == [
            (s.first, s.last, known.model.classes[s.label]) for s in expected
        ]
        np.testing.assert_allclose(
            [r["probability"] for r in own], [s.probability for s in expected], atol=1e-5
        )
        assert own[0]["start_seconds"] == own[0]["start"] / 20
        assert own[-1]["end_seconds"] == (own[-1]["end"] + 1) / 20


def test_what_is_no_recording_is_refused(ntu, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(AclnetError, match=r"as recordings of ntu60: .* no recordings"):
        predict(ntu, tmp_path / "empty")
    with pytest.raises(AclnetError, match="does not exist"):
        predict(ntu, tmp_path / "gone.skeleton")
    with pytest.raises(AclnetError, match="unknown dataset"):
        predict(ntu, ntu.raw, dataset="ntu61")


def test_a_recording_without_the_size_of_its_image_stops_no_other(zoo, openpose, tmp_path):
    """The network scales joints to the image. One run of an ensemble that does is enough."""
    joints = np.random.default_rng(0).uniform(50, 400, (1, 20, 17, 3)).astype(np.float32)
    for name in ("known", "unknown"):
        np.save(tmp_path / f"{name}.npy", joints)
    rows = ("id,file,label,width,height", "a,known.npy,,640,480", "b,unknown.npy,,,")
    (tmp_path / "index.csv").write_text("\n".join(rows))
    good, bad = sorted(predict(zoo, tmp_path), key=lambda o: o.rejection is not None)
    assert [row["file"] for row in good.rows] == ["known.npy"]
    assert "unknown.npy: the width and height of the image are not known" in str(bad.rejection)
    (sequence, _) = openpose.model.read(openpose.raw)[:2]
    for others, rejected in (((), False), ([zoo.run], True)):
        found = Preparer(openpose.run, others=others).fit(replace(sequence, width=0))
        assert isinstance(found, Rejection) == rejected


def test_a_store_of_other_sequences_is_refused(ntu, openpose):
    with pytest.raises(AclnetError, match="was trained on layout"):
        predict(ntu, openpose.store.path)
