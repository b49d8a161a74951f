"""Networks other than the default one, through the commands."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from aclnet.datasets.formats.unpickle import load_pickle
from aclnet.datasets.store.store import Store
from aclnet.runs.network import load_model
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores

# bones of COCO's joints, from each joint's parent to the joint
PARENTS = (0, 0, 0, 1, 2, 0, 0, 5, 6, 7, 8, 0, 0, 11, 12, 13, 14)


def test_a_network_that_is_not_there(aclnet, made_up_store):
    answer = aclnet("train", made_up_store, "--model", "resnet")
    assert answer.code == 2
    assert "model.name: there is no 'resnet'; known: aclnet, stgcn" in answer.words


@pytest.mark.slow
def test_model_is_short_for_a_setting(aclnet, made_up_store, quick_arguments, tmp_path):
    """The second command finds the run of the first finished."""
    out = tmp_path / "run"
    answer = aclnet("train", made_up_store, "--model", "ctrgcn", "--out", out, *quick_arguments)
    assert answer.code == 0, answer.err
    assert "tiny network ctrgcn" in answer.words
    assert Run(out).config.model.name == "ctrgcn"
    setting = ("--set", "model.name=ctrgcn")
    again = aclnet("train", made_up_store, *setting, "--out", out, *quick_arguments, "--json")
    assert json.loads(again.out)["runs"][0]["run"] == str(out)
    answer = aclnet("occlusion-bench", out, "--drop", "hands", "--json")
    assert answer.code == 0, answer.err


@pytest.mark.slow
def test_the_zoo_is_imported_evaluated_and_fused(aclnet, goldens, tmp_path):
    """Checkpoints in PYSKL's form, joints in space; `prepare` has tests of its own."""
    store, runs = tmp_path / "ntu60.zarr", [tmp_path / "ctrgcn", tmp_path / "stgcnpp"]
    raw = goldens / "e2e_pyskl.pkl"
    prepared = aclnet("prepare", "ntu60", "--raw", raw, "--out", store, "--align")
    assert prepared.code == 0, prepared.err
    for run in runs:
        answer = aclnet(
            *("import-checkpoint", goldens / f"baselines/{run.name}_ntu25.pth"),
            *("--dataset", "ntu60", "--modality", "j", "--out", run),
        )
        assert answer.code == 0, answer.err
        assert f"network {run.name}" in answer.words
        answer = aclnet("evaluate", run, "--store", store)
        assert answer.code == 0, answer.err
    answer = aclnet("ensemble", *runs, "--out", tmp_path / "fused.npz")
    assert answer.code == 0, answer.err
    fused = Scores.load(tmp_path / "fused.npz").scores
    each = [Scores.load(Run(run).scores("xsub-test")) for run in runs]
    np.testing.assert_allclose(fused, np.mean([s.scores for s in each], 0), rtol=1e-4, atol=1e-6)
    sequences = [Store(store).sequence(name).keypoint for name in each[0].ids.tolist()]
    assert min(x.shape[1] for x in sequences) < 100, "a short one is spread"
    for run, found in zip(runs, each, strict=True):
        model = load_model(Run(run))
        wanted = [plain_scores(model, x) for x in sequences]
        np.testing.assert_allclose(found.scores, wanted, atol=1e-5)


# PYSKL's test path for 2-D joints, written plainly from its description


def plain_feature(annotation: dict, modality: str) -> np.ndarray:
    """(M, T, 17, 3) of the whole sequence: x and y from -1 to 1 over the image, and confidence."""
    score = annotation["keypoint_score"].astype(np.float32)[..., None]
    height, width = annotation["img_shape"]
    half = np.array([width / 2, height / 2], np.float32)
    xy = (annotation["keypoint"].astype(np.float32) - half) / half
    x = np.concatenate([np.where(score <= 0.01, 0, xy), score], -1)
    if "b" in modality:
        parent = x[:, :, PARENTS]
        bone = x - parent
        bone[..., 2] = (x[..., 2] + parent[..., 2]) / 2
        x = bone
    if "m" in modality:
        motion = np.zeros_like(x)
        motion[:, :-1] = x[:, 1:] - x[:, :-1]
        motion[:, :-1, :, 2] = (x[:, 1:, :, 2] + x[:, :-1, :, 2]) / 2
        x = motion
    return x


def plain_clips(frames: int, clips: int = 10, length: int = 100) -> np.ndarray:
    """(clips, length) frame numbers."""
    random = np.random.RandomState(255)
    found = []
    for clip in range(clips):
        random.rand()
        if frames < length:
            start = clip if frames < clips else clip * frames // clips
            index = start + np.arange(length)
        elif frames < 2 * length:
            skipped = np.zeros(length + 1, int)
            skipped[random.choice(length + 1, frames - length, replace=False)] = 1
            index = np.arange(length) + np.cumsum(skipped)[:-1]
        else:
            borders = np.array([i * frames // length for i in range(length + 1)])
            index = borders[:-1] + random.randint(np.diff(borders))
        found.append(index % frames)
    return np.array(found)


def plain_scores(model, x: np.ndarray) -> np.ndarray:
    """(classes,) mean over ten clips of the softmax, two persons each, of (M, T, V, 3)."""
    clips = np.zeros((10, 2, 100, x.shape[2], 3), np.float32)
    clips[:, : len(x)] = x[:2, plain_clips(x.shape[1])].transpose(1, 0, 2, 3, 4)
    tracks, owner = torch.from_numpy(clips).flatten(0, 1), torch.arange(10).repeat_interleave(2)
    with torch.inference_mode():
        return model(tracks, owner, 10).logits.softmax(1).mean(0).numpy()


@pytest.mark.slow
def test_the_zoo_of_2d_joints_has_the_scores_of_its_test(aclnet, goldens, tmp_path):
    raw, store = goldens / "e2e_gym_pyskl.pkl", tmp_path / "gym.zarr"
    prepared = aclnet("prepare", "finegym", "--raw", raw, "--out", store, "--layout", "coco")
    assert prepared.code == 0, prepared.err
    annotations = {a["frame_dir"]: a for a in load_pickle(raw)["annotations"]}
    assert {a["keypoint"].shape[0] for a in annotations.values()} == {1, 2, 3}
    runs = []
    for modality in ("j", "bm"):
        run = tmp_path / modality
        answer = aclnet(
            *("import-checkpoint", goldens / "baselines/stgcn_coco17.pth", "--out", run),
            *("--dataset", "finegym", "--modality", modality),
        )
        assert answer.code == 0, answer.err
        assert "17 joints of 3 channels" in answer.words
        answer = aclnet("evaluate", run, "--store", store)
        assert answer.code == 0, answer.err
        model, found = load_model(Run(run)), Scores.load(Run(run).scores("own-test"))
        features = [plain_feature(annotations[name], modality) for name in found.ids]
        wanted = [plain_scores(model, feature) for feature in features]
        np.testing.assert_allclose(found.scores, wanted, atol=1e-5)
        assert np.ptp(found.scores, axis=0).max() > 0.1, "recordings differ"
        runs.append(run)
    answer = aclnet("ensemble", *runs, "--out", tmp_path / "fused.npz")
    assert answer.code == 0, answer.err
