"""Embeddings of sequences and windows, against loops over single clips; and files of them."""

from __future__ import annotations

import json
from functools import cache

import h5py
import numpy as np
import pytest
import torch

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.plan import Share
from aclnet.exchange.export_run import export_embeddings
from aclnet.losses.contrast import WIDTH
from aclnet.pipelines.inputs.corruptions.joints import Drop
from aclnet.pipelines.inputs.sampling import ConsecutiveClips
from aclnet.retrieval import embedder as embedder_module
from aclnet.retrieval.embedder import Embedder
from aclnet.retrieval.ranking import sequence_level
from aclnet.runs.inference import Pass
from aclnet.runs.inputs import MakeInputs
from aclnet.runs.network import load_model

CPU = torch.device("cpu")
FIELDS = ("ids", "vectors", "label", "condition", "camera")
# the network as it was trained against the folded one, sums in double precision
OTHERWISE_COMPUTED = {"rtol": 1e-3, "atol": 1e-5}


@cache
def embedder_of(run, store, *, frames=None, **retrieval):
    data = run.config.data.model_copy(update={"frames": frames} if frames else {})
    changes = {"data": data, "retrieval": run.config.retrieval.changed(**retrieval)}
    return Embedder.of_run(run, store, run.config.model_copy(update=changes), CPU)


def naive_frame(number, n_frames):
    """A walk that ends goes back, and forth again."""
    there_and_back = [*range(n_frames), *range(n_frames - 2, 0, -1)]
    return there_and_back[number % len(there_and_back)]


def naive_mirror(x, store, width):
    """Left and right exchanged, about the middle of the image or of space."""
    x = x[:, :, list(store.layout.mirror)]
    across = x[..., 0]
    x[..., 0] = np.where(across != 0, width - across, 0) if width else -across
    return x


@cache
def parts_of(run):
    """The network as it was trained, and the projection of the contrastive terms."""
    return load_model(run), run.weights("contrast.intra_projection.")


class Naive:
    """One clip of one sequence through the network as it was trained."""

    def __init__(self, run, store, embedding="pooled", *, flip=False):
        self.store, self.embedding, self.flip = store, embedding, flip
        self.model, projection = parts_of(run)
        self.weight, self.bias = (projection[n].double().numpy() for n in ("weight", "bias"))

    def __call__(self, row, start, frames):
        sequence = self.store.sequence(int(row))
        n_frames = sequence.keypoint.shape[1]
        chosen = [naive_frame(start + t, n_frames) for t in range(frames)]
        x = sequence.keypoint[:, chosen]
        if sequence.score is not None:
            x = np.concatenate([x, sequence.score[:, chosen, :, None]], axis=-1)
        vector = self.embed(x)
        if self.flip:
            vector = (vector + self.embed(naive_mirror(x, self.store, sequence.width))) / 2
        return vector

    def embed(self, x):
        with torch.no_grad():
            output = self.model(torch.from_numpy(x), torch.zeros(len(x), dtype=torch.int64), 1)
        pooled = output.pooled[0].double().numpy()
        projected = self.weight @ output.feature[0].double().numpy() + self.bias
        unit, other = (v / np.sqrt((v**2).sum()) for v in (pooled, projected))
        vectors = {"pooled": pooled, "contrastive": other, "both": np.concatenate([unit, other])}
        return vectors[self.embedding]


def row_of(store, sample_id):
    return int(np.flatnonzero(store.column("id") == sample_id)[0])


def assert_facts(found, store):
    """The facts of each row are the facts of its recording in the store."""
    rows = [row_of(store, sample_id) for sample_id in found.ids]
    for name in ("label", "condition", "camera"):
        np.testing.assert_array_equal(getattr(found, name), store.column(name)[rows])


@pytest.fixture(scope="module")
def assert_same(assert_alike):
    """Compares embeddings."""

    def check(found, expected):
        assert_alike(found.vectors, expected.vectors)
        for name in ("ids", "label", "condition", "camera"):
            wanted = getattr(expected, name)
            np.testing.assert_array_equal(getattr(found, name), wanted, err_msg=name)

    return check


@pytest.mark.slow
@pytest.mark.parametrize(
    ("embedding", "flip"),
    [("pooled", False), ("pooled", True), ("contrastive", False), ("both", True)],
)
def test_a_sequence_is_the_mean_of_its_clips(embedding, flip, gait_run, gait_store):
    mask = gait_store.mask("gait/gallery") & (gait_store.column("camera") == 54)
    embedder = embedder_of(gait_run, gait_store, embedding=embedding, flip=flip)
    found = embedder.sequences(gait_store, mask)
    assert found.ids.tolist() == sorted(gait_store.column("id")[mask])
    assert_facts(found, gait_store)
    naive = Naive(gait_run, gait_store, embedding, flip=flip)
    for sample_id, vector in zip(found.ids, found.vectors, strict=True):
        row = row_of(gait_store, sample_id)
        last = int(gait_store.column("n_frames")[row]) - 16
        # two clips, each in the middle of a half of the possible starts
        expected = (naive(row, last // 4, 16) + naive(row, 3 * last // 4, 16)) / 2
        if embedding == "both":  # two unit vectors
            parts = np.split(expected, [len(expected) - WIDTH])
            expected = np.concatenate([part / np.linalg.norm(part) for part in parts])
        np.testing.assert_allclose(vector, expected, **OTHERWISE_COMPUTED)
    assert len(np.unique(found.vectors.round(4), axis=0)) == len(found), "all look alike"


@pytest.mark.slow
def test_clips_are_those_of_the_configuration_or_as_many_as_are_asked_for(
    gait_run, gait_store, assert_same
):
    mask = gait_store.mask("gait/gallery") & (gait_store.column("camera") == 90)
    embedder = embedder_of(gait_run, gait_store)
    assert_same(embedder.sequences(gait_store, mask), embedder.sequences(gait_store, mask, clips=2))
    found = embedder.sequences(gait_store, mask, clips=1)
    naive = Naive(gait_run, gait_store)
    for sample_id, vector in zip(found.ids, found.vectors, strict=True):
        row = row_of(gait_store, sample_id)
        last = int(gait_store.column("n_frames")[row]) - 16
        np.testing.assert_allclose(vector, naive(row, last // 2, 16), **OTHERWISE_COMPUTED)


@pytest.mark.slow
def test_contrastive_embeddings_of_a_clip_have_length_one(gait_run, gait_store):
    mask = gait_store.mask("gait/gallery") & (gait_store.column("camera") == 0)
    lengths = {}
    for embedding in ("contrastive", "both"):
        embedder = embedder_of(gait_run, gait_store, embedding=embedding)
        found = embedder.sequences(gait_store, mask, clips=1)
        lengths[embedding] = np.linalg.norm(found.vectors, axis=1)
    np.testing.assert_allclose(lengths["contrastive"], 1, rtol=1e-5)
    np.testing.assert_allclose(lengths["both"], np.sqrt(2), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("frames", "at_once", "flip"), [(8, 2, False), (8, 5, True), (40, 8, False)]
)
def test_windows_follow_one_another(frames, at_once, flip, reid_run, reid_store, monkeypatch):
    """Sequences have 33 to 51 frames: 4 to 6 windows of 8, and one of 40, some of them too short.

    Frames after the last whole window are dropped.
    """
    monkeypatch.setattr(embedder_module, "_WINDOWS_AT_ONCE", at_once)
    mask = reid_store.mask("a/probe")
    found = embedder_of(reid_run, reid_store, frames=frames, flip=flip).windows(reid_store, mask)
    naive = Naive(reid_run, reid_store, flip=flip)
    expected, ids = [], []
    for sample_id in sorted(reid_store.column("id")[mask]):
        row = row_of(reid_store, sample_id)
        count = max(1, int(reid_store.column("n_frames")[row]) // frames)
        ids += [sample_id] * count
        expected += [naive(row, window * frames, frames) for window in range(count)]
    assert found.ids.tolist() == ids
    assert_facts(found, reid_store)
    np.testing.assert_allclose(found.vectors, expected, **OTHERWISE_COMPUTED)


@pytest.mark.slow
def test_only_originals_have_embeddings(reid_run, reid_store):
    embedder, everything = embedder_of(reid_run, reid_store), np.ones(len(reid_store), bool)
    assert (reid_store.column("variant") > 0).sum() == 4
    originals = sorted(reid_store.column("id")[reid_store.column("variant") == 0])
    for make in (embedder.sequences, embedder.windows):
        assert list(dict.fromkeys(make(reid_store, everything).ids)) == originals


def test_what_is_compared_is_sequences_of_gait_and_windows_of_others(
    gait_run, gait_store, reid_run, reid_store, assert_same
):
    mask = gait_store.mask("gait/gallery")
    embedder = embedder_of(gait_run, gait_store)
    expected = embedder.sequences(gait_store, mask, clips=3)
    assert_same(embedder(gait_store, mask, clips=3), expected)
    mask = reid_store.mask("a/gallery")
    embedder = embedder_of(reid_run, reid_store)
    assert_same(embedder(reid_store, mask, clips=3), embedder.windows(reid_store, mask))


def test_the_parts_of_processes_are_the_whole(
    gait_run, gait_store, reid_run, reid_store, assert_alike
):
    for run, store, split in (
        (gait_run, gait_store, "gait/gallery"),
        (reid_run, reid_store, "b/gallery"),
    ):
        embedder, mask = embedder_of(run, store), store.mask(split)
        whole = embedder(store, mask)
        parts = [embedder(store, mask, how=Pass(share=Share(rank, 3))) for rank in range(3)]
        assert all(0 < len(part) < len(whole) for part in parts)
        joined = {name: np.concatenate([getattr(p, name) for p in parts]) for name in FIELDS}
        order = np.argsort(joined["ids"], kind="stable")
        np.testing.assert_array_equal(joined["ids"][order], whole.ids)
        assert_alike(joined["vectors"][order], whole.vectors)


def test_a_corruption_reaches_sequences_and_windows(
    gait_run, gait_store, reid_run, reid_store, assert_alike
):
    for run, store, split in (
        (gait_run, gait_store, "gait/gallery"),
        (reid_run, reid_store, "a/gallery"),
    ):
        embedder, mask = embedder_of(run, store), store.mask(split)
        nothing = Drop(tuple(range(store.layout.num_joints)), missing="feature")
        found = embedder(store, mask, how=Pass(nothing))
        assert_alike(found.vectors, found.vectors[:1].repeat(len(found), 0))
        assert (np.ptp(embedder(store, mask).vectors, axis=0) > 0).any()


def test_progress_ends_with_all(gait_run, gait_store, reid_run, reid_store, monkeypatch):
    monkeypatch.setattr(embedder_module, "_WINDOWS_AT_ONCE", 2)
    for run, store, split in (
        (gait_run, gait_store, "gait/gallery"),
        (reid_run, reid_store, "a/probe"),
    ):
        told = []
        found = embedder_of(run, store)(
            store,
            store.mask(split),
            how=Pass(progress=lambda stage, done, total, told=told: told.append((done, total))),
        )
        assert told == sorted(told)
        assert told[-1] == (len(found), len(found))


@pytest.mark.slow
def test_a_run_that_trained_no_contrastive_term_has_no_contrastive_embedding(reid_run, reid_store):
    for embedding in ("contrastive", "both"):
        with pytest.raises(AclnetError, match=r"no term of its loss trains it.*pooled"):
            embedder_of(reid_run, reid_store, embedding=embedding)


# Files of embeddings


def read(path):
    """Arrays and what is said about them, of both forms."""
    if path.suffix == ".npz":
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        return arrays, json.loads(str(arrays.pop("about")))
    with h5py.File(path) as file:
        arrays = {
            name: np.array(
                data.asstr()[()].tolist() if h5py.check_string_dtype(data.dtype) else data[()]
            )
            for name, data in file.items()
        }
        return arrays, json.loads(file.attrs["about"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "windows", "embedding"),
    [("gait", False, "both"), ("reid", False, None), ("reid", True, None)],
)
def test_files_hold_what_the_embedder_makes(
    kind, windows, embedding, request, assert_alike, tmp_path
):
    """Tests of a requested embedding, or of the run's."""
    run, store = (request.getfixturevalue(f"{kind}_{what}") for what in ("run", "store"))
    embedder = embedder_of(run, store, embedding=embedding)
    make = embedder.sequences if kind == "gait" else embedder.windows
    expected = make(store, np.ones(len(store), bool))
    if kind == "reid" and not windows:
        expected = sequence_level(expected)
    files = [tmp_path / name for name in ("x.npz", "x.h5")]
    for file in files:
        count = export_embeddings(
            run, store, file, embedding=embedding, windows=windows, accelerator="cpu"
        )
        assert count == len(expected)
        arrays, about = read(file)
        assert sorted(arrays) == ["camera", "class_name", "condition", "id", "label", "vector"]
        assert_alike(arrays["vector"], expected.vectors)
        for name, field in zip(("id", *FIELDS[2:]), ("ids", *FIELDS[2:]), strict=True):
            np.testing.assert_array_equal(arrays[name], getattr(expected, field))
        assert arrays["class_name"].tolist() == store.class_names
        assert (arrays["vector"].dtype, arrays["label"].dtype) == (np.float32, np.int64)
        assert about["run"] == run.name
        assert about["store"] == {"path": str(store.path.resolve()), "digest": store.digest}
        used = {"embedding": embedding or "pooled", "metric": "cosine", "flip": False}
        assert about["retrieval"] == used
        assert about["rows"] == ("windows" if windows else "sequences")
        assert about["frames"] == run.config.data.frames
    assert sorted(tmp_path.iterdir()) == sorted(files)


@pytest.mark.slow
def test_files_that_are_refused(gait_run, gait_store, reid_run, reid_store, tmp_path):
    there = tmp_path / "there.npz"
    there.write_text("mine")
    for run, store, name, options, message in (
        (gait_run, gait_store, "x.csv", {}, r"x\.csv: the suffix must be \.npz or \.h5"),
        (gait_run, gait_store, "x", {}, "the suffix must be"),
        (gait_run, gait_store, "there.npz", {}, "already exists"),
        (reid_run, reid_store, "x.npz", {"embedding": "both"}, "has no contrastive embedding"),
        (gait_run, reid_store, "x.npz", {}, "was trained on layout coco"),
    ):
        with pytest.raises(AclnetError, match=message):
            export_embeddings(run, store, tmp_path / name, accelerator="cpu", **options)
    assert there.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [there]


@pytest.mark.parametrize("missing", ["centre", "camera", "feature"])
def test_with_the_mirror_image_the_same_limb_is_missing(missing, reid_run, reid_store):
    """A run on bones, so that features of neighbours show the dropped joints."""
    store, row = reid_store, int(np.flatnonzero(reid_store.mask("a/probe"))[0])
    mask = np.arange(len(store)) == row
    drop = Drop.of("left_arm", store.layout, missing)
    data = reid_run.config.data.model_copy(update={"modality": "b"})
    (batch,) = store.stream(mask, batch_size=1, sampling=ConsecutiveClips(8, 1), shuffle=False)
    plain, mirrored = (
        MakeInputs(store, data, torch.device("cpu"), corruption=drop, flipped=flipped)(batch).tracks
        for flipped in (False, True)
    )
    sign = torch.tensor([-1.0, 1.0, 1.0])
    expected = plain[:, :, list(store.layout.mirror)] * sign
    torch.testing.assert_close(mirrored, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_windows_of_a_recording_stay_together_whatever_the_passes(
    reid_run, reid_store, assert_alike, monkeypatch
):
    """Recordings have four to six windows of eight frames."""
    monkeypatch.setattr(embedder_module, "_WINDOWS_AT_ONCE", 2)
    embedder, mask = embedder_of(reid_run, reid_store), reid_store.column("variant") == 0
    whole = embedder.windows(reid_store, mask)
    parts = [
        embedder.windows(reid_store, mask, how=Pass(share=Share(rank, 3))) for rank in range(3)
    ]
    joined = {name: np.concatenate([getattr(p, name) for p in parts]) for name in FIELDS}
    order = np.argsort(joined["ids"], kind="stable")
    np.testing.assert_array_equal(joined["ids"][order], whole.ids)
    assert_alike(joined["vectors"][order], whole.vectors)
