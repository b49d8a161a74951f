"""A baseline is worth its figures only if it computes what the released code computes."""

from __future__ import annotations

import copy
import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.store.store import Store
from aclnet.losses.contrast import AffinityContrast
from aclnet.losses.families import ConfusionCounter, FamilySettings, relate
from aclnet.losses.settings import OFFICIAL, ContrastSettings
from aclnet.models.aclnet import ACLNet
from aclnet.models.blocks import Pointwise
from aclnet.models.registry import BASELINES
from aclnet.runs.config import build_config
from aclnet.runs.run import Run
from aclnet.sweeps.rows import Rows
from aclnet.training import launch
from aclnet.training.launch import train

ROOT = Path(__file__).parent.parent
EVIDENCE = ROOT / "benchmarks" / "evidence"
OLD_RECIPE = EVIDENCE / "utd-mhad.toml"
ROWS = sorted(path.name for path in EVIDENCE.glob("*.toml") if path != OLD_RECIPE)


@pytest.mark.parametrize("name", ROWS)
def test_the_rows_of_results_pages_have_known_recipes_and_settings(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    rows = Rows.load(EVIDENCE / name)
    for recipe in [rows.recipe] if rows.recipe else ["small", str(OLD_RECIPE)]:
        for settings in rows.settings.values():
            build_config(recipe, [*rows.common, *settings])


def load(name: str):
    path = ROOT / "benchmarks" / f"{name}.py"
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


@pytest.mark.parametrize("name", BASELINES)
def test_plain_networks_give_the_numbers_of_ours(name):
    plain_networks = load("plain_networks")
    torch.manual_seed(0)
    model = BASELINES[name](get_layout("sbu"), num_classes=4, base_channels=12).train()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn_like(value) * 0.1)
    ours, plain = model.double(), plain_networks.as_plain(copy.deepcopy(model)).double()
    tracks, owner = torch.randn(4, 9, 15, 3, dtype=torch.float64), torch.tensor([0, 1, 1, 2])
    gradients = []
    for network in (ours, plain):
        output = network(tracks, owner, 3)
        output.logits.square().sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-6, atol=1e-8)
    assert not any(isinstance(module, Pointwise) for module in plain.modules())


@pytest.mark.parametrize("training", [True, False])
def test_joined_normalisations_give_the_numbers_of_separate_ones(training):
    torch.manual_seed(0)
    ours = ACLNet(num_joints=5, num_classes=4, base_channels=12).double().train(training)
    with torch.no_grad():
        for value in [*ours.parameters(), *(b for b in ours.buffers() if b.is_floating_point())]:
            value.add_(torch.rand_like(value) * 0.1)
    joined = load("joined_norms").with_joined_norms(copy.deepcopy(ours))
    tracks, owner = torch.randn(4, 9, 5, 3, dtype=torch.float64), torch.tensor([0, 1, 1, 2])
    for network in (ours, joined):
        output = network(tracks, owner, 3)
        (output.logits.square().sum() + output.feature.square().sum()).backward()
    for (name, one), other in zip(ours.named_parameters(), joined.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-6, atol=1e-8, msg=name)
    torch.testing.assert_close(joined.state_dict(), ours.state_dict(), rtol=1e-9, atol=1e-9)


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
            contrast.observe(feature, torch.eye(C)[torch.randint(4, (B,))], labels, keys)
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


@pytest.fixture
def gpu(monkeypatch):
    """The modules of the benchmark of a GPU."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    import gpu
    import gpu_bed
    import gpu_checks

    return SimpleNamespace(main=gpu, bed=gpu_bed, checks=gpu_checks)


@pytest.mark.slow
def test_a_gpu_is_measured(gpu, made_up_store, pixel_store, tmp_path, capsys):
    """On a CPU, which must agree with itself; parity and waiting are the method's own checks."""
    bed = gpu.bed.Bed("cpu", True, tmp_path, math.inf)
    bed.stores = {"ntu60": Store(made_up_store), "kinetics": pixel_store}
    found = gpu.main.measure(bed, ["ceilings", "parity", "waiting"])
    assert [figure for figure in found if figure.met is False] == []
    named = {figure.what for figure in found if figure.met}
    assert {"inputs", "gradients", "losses", "default", "kinetics"} <= named
    assert "| parity | gradients | 0  |" in capsys.readouterr().out


def test_a_part_that_fails_is_a_figure(gpu, tmp_path, monkeypatch):
    def fails(_):
        raise RuntimeError("out of paper")
        yield

    monkeypatch.setitem(gpu.main.PARTS, "stream", fails)
    bed = gpu.bed.Bed("cpu", True, tmp_path, math.inf)
    figure, _ = gpu.main.measure(bed, ["stream"])
    assert (figure.what, figure.value, figure.met) == ("fails", "out of paper", False)
    bed.end = 0
    (late,) = gpu.main.measure(bed, ["parity"])
    assert late.bound == "left out"


def test_operations_that_would_wait_for_a_gpu_are_refused(gpu):
    x = torch.arange(6.0)
    waiting = (
        lambda: x.sum().item(),
        lambda: x[x > 2],
        lambda: x.nonzero(),
        lambda: bool(x[0]),
        lambda: x.index_put_((x > 2,), torch.zeros(3)),
    )
    for work in waiting:
        with gpu.checks.Refuse(), pytest.raises(RuntimeError, match="waits for the device"):
            work()
    with gpu.checks.Refuse():
        torch.where(x > 2, x, 0)[torch.tensor([1, 2])].sum()


@pytest.mark.slow
@pytest.mark.skipif(
    "ACLNET_GPU_BENCHMARK" not in os.environ, reason="takes minutes; ACLNET_GPU_BENCHMARK=1 runs it"
)
def test_a_gpu_is_measured_by_one_command(tmp_path):
    benchmark = Path(__file__).parent.parent / "benchmarks" / "gpu.py"
    file = tmp_path / "gpu.json"
    call = [sys.executable, benchmark, "--quick", "--accelerator", "cpu", "--json", file]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(file.read_text())["figures"]
    parts = {figure["part"] for figure in figures}
    assert {"ceilings", "parity", "waiting", "launcher", "commands", "variants"} <= parts
    assert not [figure for figure in figures if figure["met"] is False]


def test_the_store_of_the_benchmark_of_scale_holds_its_columns(tmp_path):
    scale = load("scale")
    scale.write_parts(tmp_path, 600)
    store = Store(scale.make_store(tmp_path))
    ids = sorted(store.column("id").tolist())
    assert len(set(ids)) == len(store) == 600
    assert ids == sorted(store.column("original").tolist())
    masks = [store.mask(side) for side in ("xsub/train", "xsub/test")]
    assert (masks[0] ^ masks[1]).all()
    np.testing.assert_array_equal(masks[0], store.column("subject") % 2 == 0)
    rows = store.column("n_frames") * store.column("n_persons")
    ends = store.column("start") + rows
    assert (np.diff(store.column("start")) >= rows[:-1]).all()
    assert (ends <= (store.shard_of + 1) * store.shard_rows).all()
    found = scale._measured("plan", tmp_path)
    assert found["mb"] > 0


def test_pairs_are_chosen_by_the_other_seeds():
    pairs = load("confused_pairs")
    confusion = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 1]])
    assert pairs.confused(confusion).tolist() == [2, 1, 0]  # 0-1, 0-2, 1-2
    counts = {
        ("a", 0): np.array([5, 0, 1]),
        ("b", 0): np.array([4, 0, 0]),
        ("a", 1): np.array([0, 3, 1]),
        ("b", 1): np.array([1, 3, 0]),
    }
    # seed 1 confuses 0-2 most, and seed 0 confuses 0-1 most
    assert pairs.shares(counts, 10, 1) == {
        "a": (pytest.approx(0), pytest.approx(50)),
        "b": (pytest.approx(5), pytest.approx(35)),
    }


def test_confused_pairs_of_one_seed_are_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "runs.csv").write_text("row,seed,fold,top1,minutes,run\na,0,1/2,0.5,1,x\n")
    monkeypatch.setattr("sys.argv", ["confused_pairs.py", str(tmp_path)])
    with pytest.raises(SystemExit):
        load("confused_pairs").main()
    assert "have one seed; train at least two" in capsys.readouterr().err


def test_confused_pairs_need_the_folder_of_a_sweep(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["confused_pairs.py", str(tmp_path)])
    with pytest.raises(SystemExit):
        load("confused_pairs").main()
    assert "runs.csv does not exist; give the folder of a finished" in capsys.readouterr().err


def test_families_follow_from_the_counts_of_all_epochs():
    confusions = np.random.default_rng(0).integers(0, 3, (10, 12, 12))
    config = build_config("default", ["loss.families.start=0.3", "optim.epochs=10"])
    history = SimpleNamespace(read_all={"confusion/train": confusions}.get)
    run = SimpleNamespace(config=config, history=history, class_names=[*"abcdefghijkl"])
    found = {decay: load("family_coverage").families_after(run, 10, decay) for decay in (0.5, 1)}
    for decay, member in found.items():
        # counting starts in the third epoch
        counts = np.einsum("e,ecd->cd", decay ** np.arange(7.0, -1, -1), confusions[2:])
        samples = torch.from_numpy(counts.sum(1))
        np.fill_diagonal(counts, 0)
        wanted = relate(torch.from_numpy(counts), samples, FamilySettings()).member.numpy()
        np.testing.assert_array_equal(member, wanted)
    assert (found[0.5] != found[1]).any()


def test_coverage_counts_errors_and_pairs():
    tool = load("family_coverage")
    member = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
    confusion = np.array([[9, 2, 1], [1, 9, 0], [0, 4, 9]])
    assert tool.coverage(member, confusion) == (pytest.approx(300 / 8), pytest.approx(200 / 6))


def test_pixels_of_shrec17_are_tangents_from_the_upper_left_corner():
    depth = np.linspace(0.2, 0.6, 22)
    joints = np.stack([depth, -depth / 4, depth], 1)  # 45 degrees to the right, a quarter down
    lines = "\n".join(" ".join(map(str, joints.ravel())) for _ in range(2)).encode()
    found = np.loadtxt(load("shrec17_pixels").project(lines).splitlines())
    np.testing.assert_allclose(found, np.tile([464, 116], (2, 22)), atol=1e-3)


@pytest.mark.slow
def test_looking_at_gradients_does_not_change_the_training(made_up_store, tmp_path, monkeypatch):
    affinity = load("affinity")
    monkeypatch.setattr(affinity, "EVERY", 1)
    values = {"model.size": "tiny", "data.frames": 16, "data.clips": 1, "optim.epochs": 2}
    values |= {"optim.batch_size": 8, "loss.memory_rows": 8, "loss.families.start": 0}
    settings = [f"{key}={value}" for key, value in values.items()]
    plain = train(made_up_store, settings=settings, accelerator="cpu", out=tmp_path / "plain")
    monkeypatch.setattr(launch, "Trainer", launch.Trainer)  # is put back after the test
    options = (f"--set={setting}" for setting in settings)
    out, table = tmp_path / "probed", tmp_path / "probe.csv"
    call = ["affinity.py", made_up_store, *options, "--run", out, "--out", table]
    monkeypatch.setattr(sys, "argv", list(map(str, call)))
    affinity.main()
    states = [run.load("last")["network"] for run in (plain, Run(out))]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, states[1][name]), name
    rows = pd.read_csv(table)
    assert rows["epoch"].tolist() == [1, 2]
    assert (rows["gradient_ce"] > 0).all()
    assert rows["gradient_intra"].iloc[-1] > 0
    assert rows["errors"].iloc[0] == round(24 * (1 - rows["accuracy"].iloc[0]))


@pytest.mark.slow
@pytest.mark.parametrize("mask", [0, 1])
def test_views_differ_by_the_mask_alone(made_up_store, tmp_path, monkeypatch, mask):
    consistency = load("consistency")
    monkeypatch.setattr(launch, "Trainer", launch.Trainer)  # is put back after the test
    plain, found = consistency.divergence, []

    def noted(logits):
        found.append(plain(logits))
        return found[-1]

    monkeypatch.setattr(consistency, "divergence", noted)
    values = {"model.size": "tiny", "data.frames": 16, "data.clips": 1, "optim.epochs": 1}
    values |= {"optim.batch_size": 8, "augment.limb_mask": mask}
    settings = [f"--set={key}={value}" for key, value in values.items()]
    call = ["consistency.py", made_up_store, *settings, "--run", tmp_path / "run"]
    monkeypatch.setattr(sys, "argv", list(map(str, call)))
    consistency.main()
    assert len(found) == 3
    for value in found:
        assert (value > 1e-5) if mask else (value.abs() < 1e-6)


def test_the_divergence_is_that_of_the_definition():
    logits = torch.randn(6, 4)
    p, q = logits[3:].softmax(1), logits[:3].softmax(1)
    expected = (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(load("consistency").divergence(logits), expected)
