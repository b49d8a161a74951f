"""Networks and losses of the user: the contract, and the examples of docs/networks.md."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch
from torch import nn

import aclnet.training.trainer
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.spec.user_code import UserFunction
from aclnet.evaluation.scorer import Scorer
from aclnet.models.blocks import Output
from aclnet.models.folding import fold_batch_norms
from aclnet.own.loss import LossDimensions, OwnLoss
from aclnet.own.network import Dimensions, OwnNetwork
from aclnet.runs.config import build_config
from aclnet.runs.network import load_model
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores

PAGE = Path(__file__).parents[3] / "docs" / "networks.md"
DIMENSIONS = Dimensions(get_layout("sbu"), num_classes=4, in_channels=3, frames=6, width=8)
NETWORK = ("model.name=mynet:build", "optim.lr=0.1")
LOSS = ("loss.name=myloss:build", "loss.options.weight=0.5")


@pytest.fixture
def working(tmp_path, monkeypatch) -> Path:
    """A working folder with the modules of the page."""
    network, loss = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "mynet.py").write_text(network)
    (tmp_path / "myloss.py").write_text(loss)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith(("my", str(tmp_path))):
            del sys.modules[name]


def network(forward, persons="present") -> OwnNetwork:
    """A network of the user with this `forward`."""

    class Theirs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 4)

        def forward(self, *arguments):
            return forward(*arguments)

    builder = UserFunction("theirs:build", lambda _: Theirs(), None)
    return OwnNetwork(builder, DIMENSIONS, persons, {})


def test_weights_of_a_feature_that_no_term_uses_have_a_gradient():
    feature = nn.Linear(3, 5)

    def forward(tracks, owner, number):
        return tracks.new_zeros(number, 4), feature(tracks[:number, 0, 0])

    own = network(forward).train()
    tracks, owner = torch.rand(3, 6, 15, 3), torch.tensor([0, 1, 1])
    output = own(tracks, owner, 2)
    assert not output.logits.any()
    output.logits.sum().backward()
    assert feature.weight.grad is not None
    assert not feature.weight.grad.any()


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda t, o, n: t.new_zeros(n, 4), r"returns a Tensor; a pair of tensors \(logits, feat"),
        (lambda t, o, n: (t.new_zeros(n, 4),), r"a tuple of Tensor; a pair"),
        (lambda t, o, n: (t.new_zeros(n, 4), 3), r"a tuple of Tensor, int; a pair"),
        (lambda t, o, n: (t.new_zeros(3, 4), t), r"logits of shape \(3, 4\); \(2, 4\) is expected"),
        (lambda t, o, n: (t.new_zeros(n, 4), t), r"feature of shape \(3, 6, 15, 3\); \(2, n\) is"),
        (lambda t, o, n: t @ t[0, 0], r"fails with tracks of shape \(3, 6, 15, 3\).*RuntimeError"),
    ],
)
def test_an_output_that_breaks_the_contract_is_named(forward, message):
    with pytest.raises(AclnetError, match=message):
        network(forward)


def test_padded_persons_are_pairs():
    seen = {}

    def forward(tracks, owner, num_samples):
        seen["pairs"] = tracks.view(num_samples, 2, *tracks.shape[1:]).clone()
        assert owner.tolist() == [number // 2 for number in range(2 * num_samples)]
        return tracks.new_zeros(num_samples, 4), tracks.new_zeros(num_samples, 5)

    model = network(forward, "padded")
    assert model.feature_width == 5
    tracks = torch.randn(5, 6, 15, 3)
    model(tracks, torch.tensor([0, 1, 1, 1, 2]), 3)
    expected = torch.zeros(3, 2, 6, 15, 3)
    expected[0, 0], expected[1, 0], expected[1, 1], expected[2, 0] = tracks[[0, 1, 2, 4]]
    assert torch.equal(seen["pairs"], expected)


def test_batch_norms_of_the_user_are_not_folded():
    """Nothing says that a module uses its `Sequential` as one."""
    layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.MaxPool2d(2))
    layers[1].running_mean += 3

    class Theirs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, tracks, owner, num_samples):
            x = self.layers[0](tracks.permute(0, 3, 1, 2))  # without the normalisation
            x = self.layers[2](x).mean((2, 3))
            return x[:num_samples], x[:num_samples]

    model = OwnNetwork(UserFunction("theirs:build", lambda _: Theirs(), None), DIMENSIONS, "p", {})
    tracks, owner = torch.randn(2, 6, 15, 3), torch.arange(2)
    with torch.inference_mode():
        folded, plain = fold_batch_norms(model)(tracks, owner, 2), model(tracks, owner, 2)
    assert torch.equal(folded.logits, plain.logits)


def test_the_builder_is_told_apart_from_its_options():
    builder = UserFunction("theirs:build", lambda _, depth=1: [depth], None)
    with pytest.raises(AclnetError, match=r"theirs:build returns a list; a torch\.nn\.Module is"):
        OwnNetwork(builder, DIMENSIONS, "present", {"depth": 2})
    with pytest.raises(AclnetError, match=r"fails with model\.options dept: TypeError.*'dept'"):
        OwnNetwork(builder, DIMENSIONS, "present", {"dept": 2})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.name=ctrgcn", "model.options.depth=2"], "options are for a network of your own"),
        (["loss.options.weight=2"], "loss.options are for a loss of your own"),
        (["model.name=a:b", "optim.recompute=true"], "optim.recompute is for aclnet's networks"),
        (["loss.name=a:b", "optim.label_smoothing=0.1"], "label_smoothing .* are for the cross"),
        (["loss.name=a:b", "optim.class_weights=true"], "class_weights are for the cross-entropy"),
    ],
)
def test_settings_that_the_code_would_not_use_are_refused(settings, message):
    with pytest.raises(AclnetError, match=message):
        build_config("default", settings)


# Losses


def test_a_loss_is_a_scalar():
    class Theirs(nn.Module):
        def forward(self, output, label):
            return output.logits[:, 0]

    builder = UserFunction("theirs:loss", lambda _: Theirs(), None)
    with pytest.raises(
        AclnetError,
        match=r"loss theirs:loss returns \(2,\); a tensor of shape "
        r"\(\)",
    ):
        OwnLoss(builder, LossDimensions((3, 1), 5), {})


def test_trying_a_loss_leaves_its_state_alone():
    class Counting(nn.Module):
        def __init__(self, dimensions) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))
            self.sizes = dimensions.class_sizes

        def forward(self, output, label):
            self.calls += 1
            return output.logits.mean()

    loss = OwnLoss(UserFunction("theirs:loss", Counting, None), LossDimensions((3, 1), 5), {})
    assert loss.loss.calls == 0
    assert loss.loss.sizes == (3, 1)
    output = Output(torch.ones(2, 2), torch.ones(2, 5), torch.ones(2, 5))
    assert loss(output, torch.tensor([0, 1])) == 1
    assert loss.loss.calls == 1


# From training to evaluation


@pytest.mark.slow
def test_the_examples_of_the_page_train_and_resume(
    working, store, train_quickly, assert_same_run, stop_at, monkeypatch
):
    """Dropout and a loss with state: the resumed run is the uninterrupted one, bit for bit."""
    monkeypatch.setattr(aclnet.training.trainer, "CHECK_EVERY", 1)
    monkeypatch.setattr(aclnet.training.trainer, "SAVE_EVERY", -1.0)
    settings = (*NETWORK, *LOSS, "model.options.dropout=0.3", "optim.accumulate=2")
    whole = train_quickly(working / "whole", *settings)
    with pytest.raises(stop_at.Stopped):
        train_quickly(working / "run", *settings, progress=stop_at(steps=4))
    run = train_quickly(working / "run", *settings)
    assert_same_run(run, whole)
    centre = run.load("last")["network"]["loss.loss.centre"]
    assert centre.abs().sum() > 0
    rows = run.load("last")["rows"]
    assert rows[-1]["cross_entropy"] < rows[0]["cross_entropy"]
    assert rows[0]["loss"] > rows[0]["cross_entropy"], "the distance is added"
    written = Scores.load(run.scores("xsub-test"))
    found = Scorer(run, store, accelerator="cpu").score()
    np.testing.assert_allclose(found.scores, written.scores, rtol=1e-4, atol=1e-6)
    record = run.record.code
    assert [code.name for code in record] == ["mynet:build", "myloss:build"]
    assert record[0].file == str(working / "mynet.py")


def test_code_that_only_a_run_names_is_not_imported(working, train_quickly):
    run = train_quickly(working / "run", *NETWORK, "optim.epochs=1")
    trace = working / "trace"
    (working / "mynet.py").write_text(f"import pathlib\npathlib.Path({str(trace)!r}).touch()\n")
    del sys.modules["mynet"]
    opened = Run(run.path)
    with pytest.raises(AclnetError, match=r"not import code that only a run names.*--model"):
        load_model(opened)
    assert not trace.exists()
    opened.own_model = "mynet:build"
    with pytest.raises(AclnetError, match="has no function 'build'"):
        load_model(opened)
    assert trace.exists(), "the user named it"


def test_edited_code_is_another_run(working, quick, store):
    from aclnet.training.launch import TrainingRequest, plan_run

    def name(*settings: str) -> str:
        return plan_run(store, TrainingRequest(quick(*NETWORK, *settings))).name

    first = name()
    assert first.startswith("default-mynet-build-j-s0-")
    assert name() == first
    with (working / "mynet.py").open("a") as file:
        file.write("# other\n")
    assert name() != first
    assert name("model.name=mynet.py:build").startswith("default-mynet-build-j-s0-")


def test_names_that_lead_nowhere(working):
    from aclnet.own.network import find_network

    with pytest.raises(AclnetError, match=r"model\.name: there is no 'resnet'; known: aclnet, st"):
        find_network("resnet")
    with pytest.raises(AclnetError, match=r"mynet\.py has no function 'make'; it has Convolutions"):
        find_network("mynet.py:make")
    with pytest.raises(AclnetError, match=r"gone\.py of model\.name .* cannot be imported"):
        find_network("gone.py:make")


def test_an_entry_point_is_imported_by_its_name(working, monkeypatch, quick, train_quickly):
    info = working / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        dedent("""
            [aclnet.models]
            mine = mynet:build
            [aclnet.losses]
            centre = myloss:build
        """)
    )
    monkeypatch.syspath_prepend(working)
    settings = ("model.name=mine", "loss.name=centre", "optim.epochs=1", "optim.lr=0.1")
    run = train_quickly(working / "run", *settings)
    assert run.record.code[0].file == str(working / "mynet.py")
    assert type(load_model(Run(run.path)).network).__name__ == "Convolutions"
