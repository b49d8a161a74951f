"""Checkpoints of the released code: every key used, everything else refused, and back again."""

from __future__ import annotations

import pickle
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aclnet.datasets.spec import AclnetError
from aclnet.exchange.export_run import export
from aclnet.exchange.official import import_official, read_official
from aclnet.exchange.zoo_names import UNUSED
from aclnet.models.aclnet import ACLNet
from aclnet.runs.network import load_model
from aclnet.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable

Change = "Callable[[dict[str, Any]], object]"


@pytest.fixture(scope="module")
def released(goldens) -> dict[str, Any]:
    """A checkpoint in the released form, of a network of 25 joints and ten classes."""
    return torch.load(goldens / "e2e_model.pth", weights_only=True)


@pytest.fixture
def changed(released, tmp_path):
    """Writes the checkpoint with some changes of its state, which a function makes in place."""

    def write(change: Callable[[dict[str, Any]], object] = lambda _: None, **meta: Any) -> Path:
        state = dict(released["state_dict"])
        change(state)
        path = tmp_path / "changed.pth"
        torch.save({"meta": {**released["meta"], **meta}, "state_dict": state}, path)
        return path

    return write


def test_sizes_come_from_the_tensors(goldens):
    for file, sizes in (("e2e_model", (25, 3, 16, 10)), ("e2e_coco_model", (20, 3, 16, 9))):
        found = read_official(goldens / f"{file}.pth")
        assert (
            found.num_joints,
            found.in_channels,
            found.base_channels,
            found.num_classes,
        ) == sizes


@pytest.mark.slow
def test_every_tensor_is_used_and_nothing_is_left_at_its_initial_value(goldens, tmp_path):
    path = goldens / "e2e_model.pth"
    run = import_official(path, "ntu60", "j", out=tmp_path / "run")
    released = torch.load(path, weights_only=True)["state_dict"]
    network = run.load("last")["network"]
    assert len(network) == len(released)
    model = load_model(run).state_dict()
    for name, value in model.items():
        theirs = f"cls_head.{name}" if name.startswith("fc_cls.") else f"backbone.{name}"
        assert torch.equal(value, released[theirs]), name
    for term in ("inter", "intra"):
        for kind in ("weight", "bias"):
            ours = network[f"contrast.{term}_projection.{kind}"]
            assert torch.equal(ours, released[f"cls_head.{term}_loss.cl_fc.{kind}"])


def test_an_imported_run_says_what_it_is(goldens, tmp_path):
    run = import_official(
        goldens / "e2e_model.pth", "ntu60", "km", protocol="xview", out=tmp_path / "run"
    )
    assert run.finished
    assert run.imported
    config = run.config
    assert (config.recipe, config.data.modality, config.data.protocol) == (
        "ntu60-xview",
        "km",
        "xview",
    )
    assert (config.settings, config.model.persons, config.model.base_channels) == (
        "official",
        "padded",
        16,
    )
    assert run.class_names[9] == "clapping"
    assert run.record.imported.file == "e2e_model.pth"


def rename(state: dict[str, Any]) -> None:
    state["backbone.gcn.3.gcn.alfa"] = state.pop("backbone.gcn.3.gcn.alpha")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            rename,
            r"backbone\.gcn\.3\.gcn\.alpha is missing; backbone\.gcn\.3\.gcn\.alfa is unknown",
        ),
        (
            lambda s: s.pop("backbone.gcn.9.tcn.bn.running_var"),
            r"backbone\.gcn\.9\.tcn\.bn\.running_var is missing",
        ),
        (
            lambda s: s.update({"cls_head.fc_cls.bias": torch.zeros(11)}),
            r"cls_head\.fc_cls\.bias is \(11,\) instead of \(10,\)",
        ),
        (
            lambda s: s.pop("cls_head.intra_loss.cl_fc.bias"),
            r"cls_head\.intra_loss\.cl_fc\.bias is missing",
        ),
        (lambda s: s.update({"neck.weight": torch.zeros(1)}), r"neck\.weight is unknown"),
        (lambda s: s.pop("backbone.data_bn.weight"), r"backbone\.data_bn\.weight is missing"),
        (
            lambda s: s.update({"backbone.gcn.0.gcn.A": torch.zeros(25, 25)}),
            r"backbone\.gcn\.0\.gcn\.A is \(25, 25\); 3 axes are expected",
        ),
        (
            lambda s: s.update({"backbone.data_bn.weight": torch.zeros(76)}),
            "no network has 76 inputs of 25 joints, a head of width 64 and 10 classes",
        ),
        (lambda s: s.clear(), r"backbone\.gcn\.0\.gcn\.A is missing"),
    ],
)
def test_another_network_is_refused_by_its_keys(change, message, changed):
    with pytest.raises(AclnetError, match=message):
        read_official(changed(change))


class Malicious:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.write_text, (self.trace, "run")


def test_nothing_in_a_file_is_run(released, tmp_path):
    trace, path = tmp_path / "trace", tmp_path / "bad.pth"
    torch.save({**released, "meta": {"hooks": Malicious(trace)}}, path)
    with pytest.raises(
        AclnetError, match=r"bad\.pth was not loaded: it is damaged, or it holds objects"
    ):
        read_official(path)
    path.write_bytes(pickle.dumps(Malicious(trace)))
    with pytest.raises(AclnetError, match="was not loaded"):
        read_official(path)
    assert not trace.exists()


def test_files_that_are_no_checkpoint(tmp_path, changed):
    path = tmp_path / "x.pth"
    with pytest.raises(AclnetError, match=r"x\.pth cannot be read"):
        read_official(path)
    for content in ([1, 2], {"state_dict": {"backbone.a": 3}}, {"model": {}}):
        torch.save(content, path)
        with pytest.raises(AclnetError, match=r"not a checkpoint of mmcv: it has no `state_dict`"):
            read_official(path)
    cut = changed()
    cut.write_bytes(cut.read_bytes()[:100_000])
    with pytest.raises(AclnetError, match="was not loaded"):
        read_official(cut)


def test_names_that_are_no_text(changed):
    with pytest.raises(AclnetError, match="no `state_dict` of names and tensors"):
        read_official(changed(lambda state: state.update({7: torch.zeros(1)})))


@pytest.mark.parametrize("size", [0, 2**40])
@pytest.mark.parametrize("name", ["cls_head.fc_cls.weight", "backbone.data_bn.weight"])
def test_sizes_that_are_announced_and_not_there(changed, name, size):
    def change(state: dict[str, Any]) -> None:
        shape = (size, *state[name].shape[1:])
        state[name] = torch.zeros((1,) * len(shape)).expand(shape)

    with pytest.raises(AclnetError):
        read_official(changed(change))


NAMES = ["backbone.gcn.0.gcn.A", "backbone.data_bn.weight", "cls_head.fc_cls.weight"]
shapes = st.lists(st.integers(0, 6) | st.sampled_from([25, 64, 75, 2**20]), max_size=3)
tensors = shapes.map(lambda shape: torch.zeros((1,) * len(shape)).expand(shape))
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
plain = st.recursive(
    scalars | tensors,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers() | st.just("state_dict"), inner)
    ),
    max_leaves=6,
)
states = st.dictionaries(
    st.sampled_from(NAMES) | st.text(max_size=3) | st.integers(),
    tensors | plain,
)


@settings(max_examples=50)
@given(plain | st.fixed_dictionaries({"state_dict": states}))
def test_any_plain_values_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.pth"
    torch.save(content, path)
    with pytest.raises(AclnetError):
        read_official(path)


@pytest.mark.slow
@settings(max_examples=15)
@given(st.dictionaries(st.sampled_from(NAMES), tensors, min_size=1))
def test_any_sizes_are_a_network_or_refused(released, tmp_path_factory, changes):
    path = tmp_path_factory.getbasetemp() / "sizes.pth"
    torch.save({"state_dict": released["state_dict"] | changes}, path)
    with suppress(AclnetError):
        assert read_official(path)


@settings(max_examples=30)
@given(st.binary(max_size=99), st.integers(0, 1500))
def test_any_bytes_are_refused(tmp_path_factory, content, place):
    path = tmp_path_factory.getbasetemp() / "bytes.pth"
    torch.save({"state_dict": {"backbone.gcn.0.gcn.A": torch.zeros(2)}}, path)
    whole = path.read_bytes()
    for data in (content, whole[:place] + content + whole[place + len(content) :]):
        path.write_bytes(data)
        with pytest.raises(AclnetError):
            read_official(path)


@pytest.mark.parametrize(
    "scalar", [np.float64(0.93), np.float32(1.5), np.int64(7), np.bool_(True), np.str_("best")]
)
def test_numpy_scalars_beside_the_tensors_are_no_obstacle(scalar, changed):
    path = changed(hook_msgs={"best_score": scalar})
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    assert read_official(path).num_classes == 10


@pytest.mark.slow
def test_dg_stgcn_has_no_projections(changed, tmp_path):
    def without(state: dict[str, Any]) -> None:
        for name in [n for n in state if "_loss." in n]:
            del state[name]

    run = import_official(changed(without), "ntu60", "b", out=tmp_path / "run")
    assert not any(name.startswith("contrast.") for name in run.load("last")["network"])
    assert isinstance(load_model(run), ACLNet)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dataset": "kinetics"}, "for 25 joints, but Kinetics-Skeleton 400 has layout coco_new"),
        ({"classes": ["a", "b"]}, "has 10 classes, but --classes names 2"),
        ({"dataset": "pkummd"}, "no recipe of pkummd for protocol own"),
        ({"modality": "x"}, "data.modality"),
    ],
)
def test_what_does_not_fit_is_told(arguments, message, goldens, tmp_path):
    chosen = {"dataset": "ntu60", "modality": "j", **arguments}
    with pytest.raises(AclnetError, match=message):
        import_official(goldens / "e2e_model.pth", out=tmp_path / "run", **chosen)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_more_classes_than_the_dataset_need_names(changed, tmp_path):
    def widen(state: dict[str, Any]) -> None:
        state["cls_head.fc_cls.weight"] = torch.zeros(30, 64)
        state["cls_head.fc_cls.bias"] = torch.zeros(30)

    names = [f"class {c}" for c in range(30)]
    run = import_official(changed(widen), "ntu60", "j", classes=names, out=tmp_path / "run")
    assert run.class_names == names
    with pytest.raises(AclnetError, match=r"run already exists; choose another --out"):
        import_official(changed(widen), "ntu60", "j", out=tmp_path / "run")


# PYSKL's zoo

ZOO = ("ctrgcn_ntu25", "msg3d_ntu25")
SLOW_ZOO = ("aagcn_ntu25", "agcn_ntu25", "stgcn_ntu25", "stgcnpp_ntu25")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [*ZOO, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_ZOO)]
)
def test_a_network_of_the_zoo_gives_its_logits(name, goldens, tmp_path):
    path = goldens / f"baselines/{name}.pth"
    run = import_official(path, "ntu60", "b", out=tmp_path / "run")
    config, model = run.config, load_model(run)
    assert (config.model.name, config.model.base_channels) == (name.split("_")[0], 16)
    assert (config.recipe, config.data.short_clips) == ("pyskl", "spread")
    assert (config.model.persons, config.loss.lambda_inter) == ("padded", 0)
    assert "aligned" in run.record.normalisation
    with np.load(path.with_suffix(".npz")) as arrays:
        samples = torch.from_numpy(arrays["input"])
        owner = torch.arange(len(samples)).repeat_interleave(2)
        logits = model(samples.flatten(0, 1), owner, len(samples)).logits
        wanted = torch.from_numpy(arrays["eval_logits"])
    torch.testing.assert_close(logits, wanted, rtol=0, atol=1e-5 * wanted.abs().max().item())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop("backbone.net.4.gcn1.convs.1.conv3.bias"),
            r"PYSKL.s network ctrgcn: backbone\.net\.4\.gcn1\.convs\.1\.conv3\.bias is",
        ),
        (
            lambda s: s.update({"backbone.net.4.tcn1.x": torch.zeros(1)}),
            r"backbone\.net\.4\.tcn1\.x is unknown",
        ),
        (
            lambda s: s.update({"backbone.net.0.gcn1.A": torch.zeros(3, 7, 7)}),
            "150 inputs of 7 joints",
        ),
    ],
)
def test_every_key_of_the_zoo_is_accounted_for(change, message, goldens, tmp_path):
    content = torch.load(goldens / "baselines/ctrgcn_ntu25.pth", weights_only=True)
    change(content["state_dict"])
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(AclnetError, match=message):
        read_official(tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("stgcn_coco17", "coco"),
        ("stgcn_openpose18", "openpose"),
        pytest.param("aagcn_coco17", "coco", marks=pytest.mark.slow),
    ],
)
def test_networks_of_2d_joints(name, layout, goldens, tmp_path):
    path = goldens / f"baselines/{name}.pth"
    run = import_official(path, "ntu60", "j", out=tmp_path / "run")
    data = run.config.data
    assert (run.layout.name, run.record.channels) == (layout, 3)
    assert run.record.normalisation == "none/1"
    assert (data.image_scale, data.motion, data.short_clips) == (True, "next", "spread")
    state = torch.load(path, weights_only=True)["state_dict"]
    expected = sum(value.numel() for key, value in state.items() if key != UNUSED)
    assert sum(weight.numel() for weight in run.weights().values()) == expected


# Back again


@pytest.mark.slow
def test_a_trained_run_goes_out_and_comes_in_again(quick_run, tmp_path):
    export(quick_run, "official", tmp_path / "own.pth")
    state = quick_run.load("last")["network"]
    written = torch.load(tmp_path / "own.pth", weights_only=True)
    assert written["meta"]["CLASSES"] == quick_run.class_names
    again = import_official(tmp_path / "own.pth", "ntu60", "j", out=tmp_path / "run")
    network = again.load("last")["network"]
    expected = {name for name in state if name.startswith("model.") or "_projection." in name}
    assert set(network) == expected
    assert all(torch.equal(network[name], state[name]) for name in expected)


def test_names_of_an_exported_file_are_those_of_the_released_one(released, goldens, tmp_path):
    run = import_official(goldens / "e2e_model.pth", "ntu60", "j", out=tmp_path / "run")
    export(run, "official", tmp_path / "x.pth")
    written = torch.load(tmp_path / "x.pth", weights_only=True)["state_dict"]
    assert written.keys() == released["state_dict"].keys()
    assert all(torch.equal(v, released["state_dict"][n]) for n, v in written.items())


def test_safetensors_hold_the_classifier(quick_run, tmp_path):
    from safetensors import safe_open

    export(quick_run, "safetensors", tmp_path / "x.safetensors")
    with safe_open(tmp_path / "x.safetensors", "pt") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        about = file.metadata()
    weights = quick_run.weights()
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], value) for name, value in weights.items())
    assert (about["layout"], about["modality"], about["num_classes"]) == ("nturgb+d", "j", "60")


@pytest.mark.parametrize(
    ("chosen", "named"),
    [
        (["model.pooling=joint"], "model.pooling=joint"),
        (["model.joint_embedding=true", "data.presence=true"], "joint_embedding, data.presence"),
        (["data.sampling=even"], "data.sampling=even"),
        (["data.root_path=true", "data.modality=km"], "data.root_path"),
        (["data.root_path=true", "data.modality=jm"], None),  # joints have the path anyway
    ],
)
def test_settings_that_the_released_code_lacks_are_refused(
    chosen, named, quick_run, quick, tmp_path
):
    run = Run(quick_run.path)
    run.config = quick(*chosen)
    if named is None:
        export(run, "official", tmp_path / "x.pth")
    else:
        message = f"trained with .*{named}, which the released code does not have"
        with pytest.raises(AclnetError, match=message):
            export(run, "official", tmp_path / "x.pth")
    assert (tmp_path / "x.pth").exists() == (named is None)


@pytest.mark.slow
def test_what_cannot_be_exported(quick_run, train_quickly, tmp_path):
    (tmp_path / "there.pth").write_bytes(b"")
    with pytest.raises(AclnetError, match="already exists"):
        export(quick_run, "official", tmp_path / "there.pth")
    assert (tmp_path / "there.pth").read_bytes() == b""
    pooled = train_quickly(tmp_path / "run", "model.feature=pooled", "optim.epochs=1")
    with pytest.raises(AclnetError, match="contrasts the feature pooled"):
        export(pooled, "official", tmp_path / "x.pth")
    assert {f.name for f in tmp_path.iterdir()} == {"there.pth", "run"}
