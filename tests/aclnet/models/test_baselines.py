"""ST-GCN, ST-GCN++, AGCN, AAGCN, CTR-GCN, MS-G3D against arrays that PYSKL computed."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from aclnet.datasets.spec.layouts import get_layout, registry
from aclnet.exchange.zoo_names import UNUSED, their_name
from aclnet.models.choices import PAPER_WIDTH, ModelName
from aclnet.models.folding import fold_batch_norms
from aclnet.models.graphs import disentangled, spatial, stgcn_spatial
from aclnet.models.registry import BASELINES, make_model

if TYPE_CHECKING:
    from aclnet.models.classifier import Classifier

QUICK = ("stgcn_coco17", "ctrgcn_ntu25", "msg3d_ntu25")
SLOW = (
    *("aagcn_coco17", "aagcn_ntu25", "aagcn_openpose18", "agcn_ntu25", "ctrgcn_coco17"),
    *("msg3d_coco17", "stgcn_ntu25", "stgcn_openpose18", "stgcnpp_coco17", "stgcnpp_ntu25"),
)
GOLDENS = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
LAYOUTS = {"ntu25": "nturgb+d", "coco17": "coco", "openpose18": "openpose"}


class Golden(NamedTuple):
    name: str
    arrays: dict[str, np.ndarray]
    model: nn.Module

    def __call__(self, key: str, dtype: torch.dtype, *, train: bool = False):
        samples = torch.from_numpy(self.arrays[key]).to(dtype)
        owner = torch.arange(len(samples)).repeat_interleave(2)
        return self.model.to(dtype).train(train)(samples.flatten(0, 1), owner, len(samples))

    def near(self, actual: Tensor, key: str, tolerance: float) -> None:
        """Within a share of the largest value."""
        expected = self.arrays[key]
        difference = np.abs(actual.detach().numpy() - expected).max()
        assert difference <= tolerance * np.abs(expected).max(), (key, difference)


@pytest.fixture(params=GOLDENS)
def golden(request, goldens) -> Golden:
    file = goldens / f"baselines/{request.param}.pth"
    if not file.exists():
        pytest.skip(f"{file} is not there")
    checkpoint = torch.load(file, weights_only=True)
    meta, state = checkpoint["meta"], dict(checkpoint["state_dict"])
    name = meta["model"]
    scales = meta["backbone"].get("num_g3d_scales")
    model = BASELINES[name](
        get_layout(meta["layout"]),
        num_classes=meta["num_classes"],
        in_channels=meta["in_channels"],
        base_channels=meta["base_channels"],
        **({} if scales is None else {"window_scales": scales}),
    )
    model.load_state_dict({key: state.pop(their_name(name, key)) for key in model.state_dict()})
    assert set(state) <= {UNUSED}
    return Golden(name, dict(np.load(file.with_suffix(".npz"))), model)


def test_outputs_gradients_and_statistics_are_the_published_ones(golden):
    output = golden("input", torch.float32)
    golden.near(output.logits, "eval_logits", 1e-5)
    golden.near(output.pooled, "eval_feature", 1e-5)
    golden.near(golden("input_odd", torch.float32).logits, "eval_logits_odd", 1e-5)
    before = {key: value.clone() for key, value in golden.model.state_dict().items()}
    golden.near(golden("input", torch.float32, train=True).logits, "train_logits", 1e-4)
    golden.model.load_state_dict(before)

    output = golden("input", torch.float64)
    golden.near(output.logits, "eval_logits64", 1e-10)
    golden.near(output.feature, "eval_feature64", 1e-10)
    golden.near(golden("input_odd", torch.float64).logits, "eval_logits_odd64", 1e-10)
    output = golden("input", torch.float64, train=True)
    golden.near(output.logits, "train_logits64", 1e-10)
    golden.near(output.feature, "train_feature64", 1e-10)
    loss = F.cross_entropy(output.logits, torch.from_numpy(golden.arrays["label"]))
    golden.near(loss, "train_cross_entropy64", 1e-10)
    loss.backward()
    gradients = {
        their_name(golden.name, key): value.grad for key, value in golden.model.named_parameters()
    }
    assert sorted(gradients) == sorted(golden.arrays["grad_names"])
    for key, norm in zip(golden.arrays["grad_names"], golden.arrays["grad_norms"], strict=True):
        assert gradients[key].norm().item() == pytest.approx(norm, rel=1e-6, abs=1e-6), key
    after = {their_name(golden.name, k): v for k, v in golden.model.state_dict().items()}
    statistics = [key for key in golden.arrays if key.startswith("after/")]
    assert len(statistics) == 4
    for key in statistics:
        golden.near(after[key.removeprefix("after/")], key, 1e-10)


# Graphs


@pytest.mark.parametrize("key", LAYOUTS)
def test_graphs_are_the_published_ones(key, goldens):
    layout = get_layout(LAYOUTS[key])
    made = {
        "spatial": spatial(layout),
        "stgcn_spatial": stgcn_spatial(layout),
        "msgcn13": disentangled(layout, 13),
        "g3d6_window3": disentangled(layout, 6, 3),
        "g3d6_window5": disentangled(layout, 6, 5),
    }
    with np.load(goldens / "baselines/graphs.npz") as arrays:
        for name, graph in made.items():
            np.testing.assert_allclose(graph, arrays[f"{key}/{name}"], atol=1e-6, err_msg=name)


def distances(layout) -> np.ndarray:
    """(V, V) bones between two joints, by Floyd and Warshall; infinity where none lead there."""
    found = np.full((layout.num_joints,) * 2, np.inf)
    np.fill_diagonal(found, 0)
    for child, parent in layout.inward:
        found[child, parent] = found[parent, child] = 1
    for middle in range(layout.num_joints):
        found = np.minimum(found, found[:, middle, None] + found[None, middle])
    return found


@pytest.mark.parametrize("name", registry())
def test_graphs_of_every_layout(name):
    layout = get_layout(name)
    hops = distances(layout)
    for k, graph in enumerate(disentangled(layout, 4).numpy()):
        reached = (hops == k) | (hops == 0)
        np.testing.assert_allclose(graph, reached / reached.sum(0), atol=1e-6)
    identity, of_parent, of_children = spatial(layout).numpy()
    np.testing.assert_array_equal(identity, np.eye(layout.num_joints))
    for child, parent in layout.inward:
        assert of_parent[parent, child] == 1
        children = [c for c, p in layout.inward if p == parent]
        assert of_children[child, parent] == pytest.approx(1 / len(children))
    assert np.count_nonzero(of_parent) == np.count_nonzero(of_children) == len(layout.inward)
    partition = stgcn_spatial(layout).numpy()
    near = (hops <= 1) / (hops <= 1).sum(0)
    np.testing.assert_allclose(partition.sum(0), near, atol=1e-6)
    assert (np.count_nonzero(partition, axis=0) <= 1).all()


# Sizes

SIZES = {
    ("stgcn", "nturgb+d"): (3_083_412, 5.698),
    ("stgcn", "coco"): (3_073_284, 3.812),
    ("stgcn", "openpose"): (3_074_340, 4.044),
    ("stgcnpp", "nturgb+d"): (1_387_724, 2.925),
    ("stgcnpp", "coco"): (1_377_596, 1.926),
    ("agcn", "nturgb+d"): (3_454_100, 6.469),
    ("agcn", "coco"): (3_443_924, 4.336),
    ("aagcn", "nturgb+d"): (3_766_248, 6.473),
    ("aagcn", "coco"): (3_744_808, 4.339),
    ("ctrgcn", "nturgb+d"): (1_431_252, 2.972),
    ("ctrgcn", "coco"): (1_421_076, 1.935),
    ("msg3d", "nturgb+d"): (3_171_495, 10.924),
    ("msg3d", "coco"): (2_952_663, 6.810),
}
"""Parameters without the head, and 10^9 multiply-adds of two persons and 100 frames: counted by
running PYSKL's modules."""


def full_size(name: str, layout: str) -> Classifier:
    """A network of 60 classes."""
    return BASELINES[name](get_layout(layout), num_classes=60, base_channels=PAPER_WIDTH[name])


@pytest.mark.parametrize(("name", "layout"), SIZES)
def test_parameters_of_full_size(name, layout):
    model = full_size(name, layout)
    head = sum(value.numel() for value in model.fc_cls.parameters())
    assert head == 60 * (385 if name == "msg3d" else 257)
    found = sum(value.numel() for value in model.parameters())
    assert found - head == SIZES[name, layout][0]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layout"), SIZES)
def test_multiply_adds_of_full_size(name, layout):
    model = full_size(name, layout).to("meta").eval()
    tracks = torch.empty(2, 100, get_layout(layout).num_joints, 3, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(tracks, torch.zeros(2, dtype=torch.long, device="meta"), 1)
    assert counter.get_total_flops() / 2e9 == pytest.approx(SIZES[name, layout][1], abs=6e-4)


# The contract of networks


def small(name: str, layout: str = "sbu", **options) -> Classifier:
    """A small network whose every parameter and statistic is off its initial value."""
    torch.manual_seed(0)
    settings = {"num_classes": 4, "in_channels": 3, "base_channels": 12, "persons": "padded"}
    model = make_model(name, get_layout(layout), **{**settings, **options})
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if "running_var" in key:
                value.uniform_(0.5, 2)
            elif value.is_floating_point() and not key.endswith("gcn.A"):
                value.add_(torch.randn_like(value) * 0.1)
    return model


def tracks_of(owner: list[int], frames: int = 6, joints: int = 15) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(len(owner), frames, joints, 3, generator=generator), torch.tensor(owner)


def test_registry_has_the_networks_that_can_be_named():
    assert {*BASELINES, "aclnet"} == set(get_args(ModelName)) == set(PAPER_WIDTH)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("persons", ["present", "padded"])
def test_folding_changes_nothing_but_rounding(name, persons, assert_alike):
    model = small(name, persons=persons).eval()
    tracks, owner = tracks_of([0, 1, 1, 3])
    folded = fold_batch_norms(model)
    with torch.inference_mode():
        found, wanted = folded(tracks, owner, 4), model(tracks, owner, 4)
    for actual, expected in zip(found, wanted, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-3 * expected.abs().max())
    assert found.feature.shape == (4, model.feature_width) == found.pooled.shape
    norms = (nn.BatchNorm1d, nn.BatchNorm2d)
    left, before = (sum(isinstance(m, norms) for m in net.modules()) for net in (folded, model))
    assert left <= before / 2


@pytest.mark.parametrize("name", BASELINES)
def test_padded_persons_are_zeros_in_their_place(name):
    model = small(name)
    tracks, owner = tracks_of([0, 1, 1, 1, 3])
    pairs = torch.zeros(4, 2, *tracks.shape[1:])
    pairs[0, 0], pairs[1], pairs[3, 0] = tracks[0], tracks[1:3], tracks[4]
    whole = (pairs.flatten(0, 1), torch.arange(4).repeat_interleave(2), 4)
    for train in (False, True):
        again = copy.deepcopy(model).train(train)
        expected = copy.deepcopy(model).train(train)(*whole)
        for actual, wanted in zip(again(tracks, owner, 4), expected, strict=True):
            torch.testing.assert_close(actual, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", BASELINES)
def test_present_persons_alone_count(name):
    model = small(name, persons="present").eval()
    tracks, owner = tracks_of([0, 1, 1])
    logits = model(tracks, owner, 2).logits
    each = model(tracks, torch.arange(3), 3).logits
    wanted = torch.stack([each[0], each[1:].mean(0)])
    torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-4)
    assert model.data_bn.num_features == 45, "one normalisation for every person"


@pytest.mark.parametrize("name", BASELINES)
def test_recomputed_activations_give_the_same_gradients(name):
    tracks, owner = tracks_of([0, 1, 1, 2])
    gradients = []
    for recompute in (False, True):
        model = small(name, recompute=recompute).train()
        model(tracks, owner, 3).logits.square().sum().backward()
        gradients.append({key: value.grad for key, value in model.named_parameters()})
    for key, value in gradients[0].items():
        assert torch.equal(value, gradients[1][key]), key


@pytest.mark.slow
@pytest.mark.parametrize("layout", registry())
@pytest.mark.parametrize("name", BASELINES)
def test_every_network_takes_every_layout(name, layout):
    joints = get_layout(layout).num_joints
    model = small(name, layout).train()
    tracks, owner = tracks_of([0, 1], frames=5, joints=joints)
    output = model(tracks, owner, 2)
    output.logits.sum().backward()
    assert output.logits.isfinite().all()
    assert all(value.grad is not None for value in model.parameters())


@pytest.mark.parametrize(("name", "scale"), [("ctrgcn", 1e-6), ("aagcn", 1e-6)])
def test_new_graph_convolutions_pass_their_residual(name, scale):
    model = make_model(
        name, get_layout("sbu"), num_classes=4, in_channels=3, base_channels=16, persons="padded"
    )
    for stage in model.gcn:
        assert (stage.gcn.bn.weight == scale).all()
        assert (stage.gcn.alpha == 0).all()
    spread = model.gcn[3].gcn.down
    assert isinstance(spread, nn.Identity)
    first = model.gcn[0].gcn.down[0].weight
    assert first.std().item() == pytest.approx((2 / 16) ** 0.5, rel=0.5)
