"""A baseline is worth its figures only if it computes what the released code computes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from aclnet.datasets.spec.layouts import get_layout
from aclnet.losses.contrast import AffinityContrast
from aclnet.losses.families import ConfusionCounter, FamilySettings, relate
from aclnet.losses.settings import OFFICIAL, ContrastSettings
from aclnet.models.aclnet import ACLNet


def load(name: str):
    path = Path(__file__).parent.parent / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def official():
    return load("official")


@pytest.fixture(scope="module")
def peers():
    return load("peers")


@pytest.mark.parametrize("name", ["ntu25", "coco20"])
def test_the_released_way_of_computing_gives_the_released_numbers(official, goldens, name):
    stored = torch.load(goldens / f"model_{name}.pth", weights_only=True)
    arrays = np.load(goldens / f"model_{name}.npz")
    x = torch.from_numpy(arrays["input"])
    model = ACLNet(
        num_joints=x.shape[3],
        num_classes=stored["meta"]["num_classes"],
        base_channels=stored["meta"]["base_channels"],
    )
    weights = {key.split(".", 1)[1]: value for key, value in stored["state_dict"].items()}
    model.load_state_dict({k: v for k, v in weights.items() if "_loss." not in k})
    model = official.as_released(model).train()
    output = model(x.flatten(0, 1), torch.arange(len(x)).repeat_interleave(2), len(x))
    for found, key in ((output.logits, "train_logits"), (output.feature, "train_graph")):
        expected = torch.from_numpy(arrays[key])
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * expected.abs().max().item())


def test_recordings_read_line_by_line_are_those_of_the_released_code(peers, goldens, real_data):
    expected = np.load(goldens / "ntu_preprocess.npz")
    for name in ("S001C001P001R001A001", "S001C001P001R001A006"):
        bodies = peers.read_skeleton(real_data / "ntu_raw" / f"{name}.skeleton")
        ((_, joints),) = bodies.values()
        np.testing.assert_array_equal(joints, expected[f"{name}/raw"][0])


def test_samples_prepared_one_by_one_are_those_of_the_released_code(peers, goldens):
    arrays = np.load(goldens / "preprocess_tricky.npz")
    layout = get_layout("nturgb+d")
    joined = (list(layout.bone_parent), list(layout.kbone_partner))
    cases = sorted({key.partition("/")[0] for key in arrays})
    for case in cases:
        keypoint = arrays[f"{case}/input"]
        normalised = peers.normalise(keypoint)
        np.testing.assert_allclose(normalised, arrays[f"{case}/prenorm"], atol=1e-6)
        for name in ("b", "k", "jm", "bm", "km"):
            found = peers.feature(normalised, name, *joined)
            np.testing.assert_allclose(found, arrays[f"{case}/{name}"], atol=1e-6)
        clips = peers.network_input(keypoint, "j", *joined, clips=10)
        np.testing.assert_allclose(clips[[0, 4, 9]], arrays[f"{case}/clips_j"], atol=1e-6)


def test_losses_sample_by_sample_are_ours(peers):
    torch.manual_seed(0)
    C, B, rows, width = 12, 8, 32, 25
    settings = ContrastSettings.model_validate({**OFFICIAL, "memory_rows": rows})
    contrast = AffinityContrast(width, C, rows, settings)
    labels, keys = torch.randint(4, (B,)), torch.arange(B)
    for epoch in range(1, 4):  # families are in force from the epoch after the first counts
        contrast.begin_epoch(epoch, 3)
        for _ in range(5):
            feature = torch.randn(B, width)
            contrast.observe(feature, torch.randint(4, (B,)), labels, keys)
    losses = contrast(feature)
    member, temperature = contrast.families.member, contrast.families.temperature
    families = [row.nonzero().flatten().tolist() for row in member]
    assert all(families[label] for label in labels)
    z = contrast.inter_projection(feature)
    inter = peers.inter_loss(z, labels, contrast.prototypes, families, temperature.tolist())
    torch.testing.assert_close(inter, losses.inter, rtol=1e-4, atol=1e-5)
    u = functional.normalize(contrast.intra_projection(feature), dim=1)
    order = (torch.arange(rows) + 5 * 3 * B) % rows  # the oldest first
    memory = torch.cat([contrast.memory[order][:-B], u])
    intra = peers.intra_loss(u, labels, memory, contrast.memory_labels[order], 0.1)
    torch.testing.assert_close(intra, losses.intra, rtol=1e-4, atol=1e-5)


def test_families_pair_by_pair_are_ours(peers):
    C = 30
    generator = torch.Generator().manual_seed(1)
    counts = torch.rand(C, C, generator=generator).mul_(100).fill_diagonal_(0)
    settings = FamilySettings(mode="official")
    found = relate(counts, ConfusionCounter(C, settings).samples, settings).member
    expected = [row.nonzero().flatten().tolist() for row in found]
    assert peers.family_lists(counts) == expected
