"""Graphs for other runtimes: the figures of `evaluate`, without aclnet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.store import Store
from aclnet.evaluation.scorer import Scorer, score
from aclnet.exchange.deployed import Deployed
from aclnet.exchange.export_run import export
from aclnet.exchange.official import import_official
from aclnet.models.stages import ten_stages
from aclnet.prediction.model import load
from aclnet.prediction.recordings import store_sequences
from aclnet.runs.inference import Inference
from aclnet.runs.inputs import clips_to_test
from aclnet.runs.network import load_model
from aclnet.runs.run import Run

EXAMPLE = Path(__file__).parents[3] / "examples/onnx_predict.py"
SMALLEST = ("model.size=8", "optim.epochs=1", "loss.terms=ce")
on_request = pytest.mark.skipif(
    "ACLNET_EXPORTS" not in os.environ, reason="takes minutes; ACLNET_EXPORTS=1 runs it"
)
needs_onnx = pytest.mark.skipif(not find_spec("onnxruntime"), reason="aclnet[onnx]")


def recordings(run, store, wanted):
    """Ids, inputs of a graph, and numbers of persons of recordings, padded to the longest one."""
    rows = np.flatnonzero(np.isin(store.column("id"), list(wanted)))
    found = list(store_sequences(store, rows, raw=True))
    T, M = (max(s.keypoint.shape[axis] for s in found) for axis in (1, 0))
    keypoint, index, frames = [], [], []
    for sequence in found:
        joints = sequence.keypoint
        if sequence.score is not None:
            joints = np.concatenate([joints, sequence.score[..., None]], -1)
        persons, length = joints.shape[:2]
        joints = joints[:, np.minimum(np.arange(T), length - 1)]
        absent = [(0, M - persons), (0, 0), (0, 0), (0, 0)]
        keypoint.append(np.pad(joints, absent).astype(np.float32))
        index.append(np.pad(sequence.frame_index, (0, T - length), mode="edge"))
        data = run.config.data
        clips = clips_to_test(data, data.clips)(np.array([length]), np.zeros(1, np.int64))
        frames.append(clips.reshape(data.clips, data.frames))
    given = [np.stack(keypoint), np.stack(index).astype(np.int64), np.stack(frames)]
    if run.config.data.image_scale:
        size = np.stack([store.column("width"), store.column("height")], 1)[rows]
        given.append(size.astype(np.float32))
    return store.column("id")[rows], given, [len(s.keypoint) for s in found]


def evaluated(run, store):
    """Ids and scores of `evaluate`."""
    found = Scorer(run, store, accelerator="cpu").score()
    return dict(zip(found.ids.tolist(), found.scores, strict=True))


@pytest.fixture(scope="module")
def telling_run(train_quickly, store, tmp_path_factory, change_record):
    """A run whose scores tell recordings apart, as those of a training of seconds do not.

    It has random weights, and statistics of its own activations.
    """

    def make(settings, store=store):
        run = train_quickly(
            tmp_path_factory.mktemp("deploy") / "run", *settings.split(), *SMALLEST, store=store
        )
        model = load_model(run).train()
        torch.manual_seed(0)
        with torch.no_grad():
            for weights in model.parameters():
                if weights.ndim < 2:
                    weights.add_(torch.randn_like(weights) / 5)
            model.fc_cls.weight.mul_(10)
        for norm in (m for m in model.modules() if isinstance(m, _BatchNorm)):
            norm.momentum = None
            norm.reset_running_stats()
        cpu, everything = torch.device("cpu"), np.ones(len(store), np.bool_)
        inference = Inference(model, lambda o: o.logits, model.num_classes, run.config.data, cpu)
        inference.mean_over_clips(store, everything, clips=1)
        state = run.load("last")
        state["network"] |= {f"model.{name}": x.clone() for name, x in model.state_dict().items()}
        change_record(run.path, files=None)
        run = Run(run.path)
        for name in ("last", "best"):
            run.save(name, state)
        return run

    return make


def assert_scores(ids, found, expected):
    wanted = np.stack([expected[one] for one in ids.tolist()])
    assert np.ptp(wanted, axis=0).max() > 0.01  # a mix-up would show
    np.testing.assert_allclose(found, wanted, atol=1e-5)


IN_SPACE = [
    "model.name=stgcn data.modality=j",  # of all modalities only joints need the centring
    "model.name=aclnet data.modality=bm",
    "model.name=ctrgcn data.modality=km data.motion=next model.persons=padded data.root_path=true",
    "model.name=stgcnpp data.modality=b data.presence=true",
    "model.name=stgcnpp data.modality=jm data.motion=sampled",
]
IN_PIXELS = [
    "model.name=stgcnpp data.modality=j data.image_scale=true data.short_clips=spread",
    *(
        pytest.param(f"model.name=stgcnpp {settings}", marks=pytest.mark.slow)
        for settings in (
            "data.modality=bm data.motion=sampled",
            "data.modality=jm data.presence=true",
        )
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("settings", IN_SPACE)
def test_raw_joints_give_the_scores_of_evaluate(settings, telling_run, store):
    run = telling_run(settings)
    expected = evaluated(run, store)
    ids, given, persons = recordings(run, store, expected)
    assert set(persons) == {1, 2}
    with torch.no_grad():
        found = Deployed(run).eval()(*map(torch.from_numpy, given))
    assert_scores(ids, found.numpy(), expected)


@pytest.mark.parametrize("settings", IN_PIXELS)
def test_pixels_with_confidences_do_too(settings, telling_run, pixel_store):
    run = telling_run(f"{settings} augment.rotate=0", pixel_store)
    expected = evaluated(run, pixel_store)
    ids, given, _ = recordings(run, pixel_store, expected)
    with torch.no_grad():
        found = Deployed(run).eval()(*map(torch.from_numpy, given))
    assert_scores(ids, found.numpy(), expected)


@pytest.mark.slow
def test_an_imported_2d_network_does_too(goldens, pixel_pickle, prepare_raw, tmp_path):
    """The dataset of the import has joints in space, but the network takes pixels."""
    prepare_raw(pixel_pickle, tmp_path / "s.zarr", dataset="finegym", layout="coco")
    store = Store(tmp_path / "s.zarr")
    path = goldens / "baselines/stgcn_coco17.pth"
    run = import_official(path, "ntu60", "b", out=tmp_path / "run")
    everything, cpu = np.ones(len(store), np.bool_), torch.device("cpu")
    scores = score(load_model(run), store, everything, run.config.data, cpu)
    expected = dict(zip(scores.ids.tolist(), scores.scores, strict=True))
    ids, given, _ = recordings(run, store, list(expected)[:4])
    graph = Deployed(run).eval()
    assert graph.image_scale  # an exported graph then takes the size of the image
    with torch.no_grad():
        found = graph(*map(torch.from_numpy, given))
    assert_scores(ids, found.numpy(), expected)


FEW_BLOCKS = (0, 4, 7, 8)
"""Four of ACLNet's ten blocks: without a residual, twice with a wider output and a stride, and with
the input as residual. The export of ten takes minutes."""


@pytest.mark.slow
@needs_onnx
@pytest.mark.parametrize(
    ("settings", "blocks"),
    [
        ("model.name=stgcn data.modality=j", range(10)),
        ("model.name=aclnet data.modality=bm data.sampling=even", FEW_BLOCKS),
        pytest.param("model.name=aclnet data.modality=bm", range(10), marks=on_request),
        pytest.param("model.name=ctrgcn data.modality=j", range(10), marks=on_request),
    ],
)
def test_onnxruntime_gives_the_scores_of_evaluate(
    settings, blocks, telling_run, store, tmp_path, monkeypatch
):
    import onnxruntime

    def stages(*widths):
        return [stage for i, stage in enumerate(ten_stages(*widths)) if i in blocks]

    monkeypatch.setattr("aclnet.models.aclnet.ten_stages", stages)
    run = telling_run(settings)
    export(run, "onnx", tmp_path / "run.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "run.onnx")
    names = [value.name for value in session.get_inputs()]
    assert names == ["keypoint", "frame_index", "frames"]
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["class_names"]) == run.class_names
    assert json.loads(about["joints"]) == list(run.layout.joints)
    assert (about["layout"], about["units"], about["frames"]) == ("nturgb+d", "m", "16")

    expected = evaluated(run, store)
    ids, given, persons = recordings(run, store, expected)
    (found,) = session.run(None, dict(zip(names, given, strict=True)))
    assert_scores(ids, found, expected)
    for two in (False, True):  # one recording at a time, in a process without aclnet
        row = persons.index(1 + two)
        joints = given[0][row, : 1 + two]
        recorded = np.zeros((1 + two, given[1][row].max() + 1, *joints.shape[2:]))
        recorded[:, given[1][row]] = joints  # with the frames that the store left out
        assert_example(tmp_path, recorded, run, expected[ids[row]])
    # four persons, the first of them in no frame: the third is the main person, not the last
    T = recorded.shape[1]
    joints = recorded[[0, 0, 1, 0]]
    for person, frames in enumerate((0, T // 2, 3 * T // 4, T)):
        joints[person, frames:] = 0
        joints[person] += person / 4 * (joints[person] != 0)
    scores = load(run.path, accelerator="cpu").predict(joints).probabilities
    assert_example(tmp_path, joints, run, scores)


def assert_example(folder, joints, run, scores):
    """The example prints the five best scores of the graph in the folder."""
    scores = dict(zip(run.class_names, scores, strict=True))
    np.save(folder / "joints.npy", joints)
    done = subprocess.run(
        [sys.executable, "-P", EXAMPLE, folder / "run.onnx", folder / "joints.npy"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
    assert len(lines) == 5
    for value, name in lines:
        assert float(value) == pytest.approx(scores[name], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["stgcn", *(pytest.param(n, marks=on_request) for n in ("aclnet", "ctrgcn", "msg3d"))]
)
def test_torch_export_gives_the_scores_of_evaluate(name, telling_run, store, tmp_path):
    run = telling_run(f"model.name={name} data.modality=jm")
    export(run, "torch-export", tmp_path / "run.pt2")
    extra = {"about.json": ""}
    graph = torch.export.load(tmp_path / "run.pt2", extra_files=extra).module()
    assert json.loads(extra["about.json"])["class_names"] == run.class_names
    expected = evaluated(run, store)
    for wanted in (list(expected), list(expected)[:1]):
        ids, given, _ = recordings(run, store, wanted)
        found = graph(*map(torch.from_numpy, given))
        rows = np.stack([expected[one] for one in ids.tolist()])
        np.testing.assert_allclose(found, rows, atol=1e-5)


def test_a_run_that_recognises_people_is_refused(gait_run, tmp_path):
    with pytest.raises(AclnetError, match="recognises people by their embeddings"):
        export(gait_run, "torch-export", tmp_path / "x.pt2")
    assert not list(tmp_path.iterdir())
