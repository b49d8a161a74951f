"""The network against the official code's arrays, and against plain second implementations."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from aclnet.models.aclnet import SUBSETS, ACLNet, GraphConv

GOLDENS = ("model_ntu25", "model_coco20")
LOSS_PREFIXES = ("inter_loss.", "intra_loss.")


def without_prefix(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a released checkpoint by our names; those of the losses are not the model's."""
    stripped = {key.split(".", 1)[1]: value for key, value in official.items()}
    return {key: value for key, value in stripped.items() if not key.startswith(LOSS_PREFIXES)}


class Golden(NamedTuple):
    arrays: dict[str, np.ndarray]
    model: ACLNet
    tracks: Tensor
    owner: Tensor
    label: Tensor

    def run(self, dtype: torch.dtype, *, train: bool):
        model = self.model.to(dtype).train(train)
        return model(self.tracks.to(dtype), self.owner, len(self.label))


@pytest.fixture(params=GOLDENS)
def golden(request, goldens) -> Golden:
    checkpoint = torch.load(goldens / f"{request.param}.pth", weights_only=True)
    arrays = dict(np.load(goldens / f"{request.param}.npz"))
    meta = checkpoint["meta"]
    samples = torch.from_numpy(arrays["input"])
    model = ACLNet(
        num_joints=samples.shape[3],
        num_classes=meta["num_classes"],
        in_channels=meta["in_channels"],
        base_channels=meta["base_channels"],
        persons="padded",
    )
    model.load_state_dict(without_prefix(checkpoint["state_dict"]), strict=True)
    present = samples.flatten(2).abs().amax(2) > 0
    assert not present.all()
    owner = present.nonzero()[:, 0]
    return Golden(arrays, model, samples[present], owner, torch.from_numpy(arrays["label"]))


def assert_near(actual: Tensor, expected: np.ndarray, tolerance: float) -> None:
    """Within a share of the largest value."""
    difference = np.abs(actual.detach().numpy() - expected).max()
    assert difference <= tolerance * np.abs(expected).max()


class TestOfficial:
    @pytest.mark.parametrize(("train", "tolerance"), [(False, 1e-5), (True, 1e-4)])
    def test_float32(self, golden, train, tolerance):
        output = golden.run(torch.float32, train=train)
        mode = "train" if train else "eval"
        assert_near(output.logits, golden.arrays[f"{mode}_logits"], tolerance)
        assert_near(output.feature, golden.arrays[f"{mode}_graph"], tolerance)
        if not train:
            assert_near(output.pooled, golden.arrays["eval_feature"], tolerance)

    @pytest.mark.parametrize("mode", ["eval", "train"])
    def test_float64(self, golden, mode):
        output = golden.run(torch.float64, train=mode == "train")
        assert_near(output.logits, golden.arrays[f"{mode}_logits64"], 1e-10)
        assert_near(output.feature, golden.arrays[f"{mode}_graph64"], 1e-10)

    def test_gradients(self, golden):
        loss = F.cross_entropy(golden.run(torch.float64, train=True).logits, golden.label)
        assert loss.item() == pytest.approx(
            float(golden.arrays["train_cross_entropy64"]), rel=1e-10
        )
        loss.backward()
        names = [name.split(".", 1)[1] for name in golden.arrays["grad_names"]]
        parameters = dict(golden.model.named_parameters())
        assert sorted(names) == sorted(parameters)
        for name, norm in zip(names, golden.arrays["grad_norms"], strict=True):
            actual = parameters[name].grad.norm().item()
            assert actual == pytest.approx(norm, rel=1e-6, abs=1e-6), name


def moved_model(**options) -> ACLNet:
    """A small model whose every parameter and statistic is off its initial value."""
    torch.manual_seed(0)
    settings = {"num_joints": 5, "num_classes": 4, "base_channels": 16, **options}
    model = ACLNet(**settings).double()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if "running_var" in name:
                value.uniform_(0.5, 2)
            elif value.is_floating_point():
                value.add_(torch.randn_like(value) * 0.1)
    return model


def tracks_of(owner: list[int], frames: int = 9) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shape = (len(owner), frames, 5, 3)
    return torch.randn(shape, generator=generator, dtype=torch.float64), torch.tensor(owner).long()


def test_mean_over_present_persons():
    model = moved_model().eval()
    tracks, owner = tracks_of([0, 1, 1, 1, 2, 2])
    output = model(tracks, owner, 3)
    for sample in range(3):
        alone = [model(track[None], torch.tensor([0]), 1) for track in tracks[owner == sample]]
        for actual, singles in zip(output, zip(*alone, strict=True), strict=True):
            torch.testing.assert_close(actual[sample], torch.cat(singles).mean(0))


@pytest.mark.parametrize("owner", [[0, 1, 1, 2, 2, 2], [1, 1, 1, 3], []])
def test_padded_evaluation_is_padding_in_full(owner):
    model = moved_model(persons="padded").eval()
    tracks, owner = tracks_of(owner)
    pairs = torch.zeros(4, 2, *tracks.shape[1:], dtype=torch.float64)
    for sample in range(4):
        first_two = tracks[owner == sample][:2]
        pairs[sample, : len(first_two)] = first_two
    in_full = model(pairs.flatten(0, 1), torch.arange(4).repeat_interleave(2), 4)
    for actual, expected in zip(model(tracks, owner, 4), in_full, strict=True):
        torch.testing.assert_close(actual, expected)


@pytest.mark.slow
def test_padded_training_ignores_a_third_person():
    model = moved_model(persons="padded").train()
    tracks, owner = tracks_of([0, 0, 0, 1])
    expected = model(tracks[[0, 1, 3]], owner[[0, 1, 3]], 2)
    for actual, wanted in zip(model(tracks, owner, 2), expected, strict=True):
        torch.testing.assert_close(actual, wanted)


def test_absent_persons_leave_no_trace_in_the_statistics():
    """Unlike padding, which shifts the running mean of the input towards zero."""
    tracks, owner = tracks_of([0, 1, 1])
    means = {}
    for persons in ("present", "padded"):
        model = moved_model(persons=persons).train()
        before = model.data_bn.running_mean.clone()
        model(tracks + 7, owner, 2)
        means[persons] = ((model.data_bn.running_mean - 0.9 * before) / 0.1).mean().item()
    true_mean = (tracks + 7).mean().item()
    assert means["present"] == pytest.approx(true_mean)
    assert means["padded"] == pytest.approx(true_mean * 3 / 4)


def graph_conv_by_definition(layer: GraphConv, x: Tensor) -> tuple[Tensor, Tensor]:
    """Output and sample-specific adjacency (P, K, C, V, V), each term as it is written."""
    P, _, T, V = x.shape

    def conv(module, value):
        return F.conv2d(value, module.weight, module.bias)

    def bn(module, value):
        mean, var = value.mean((0, 2, 3)), value.var((0, 2, 3), unbiased=False)
        scale = module.weight / (var + module.eps).sqrt()
        return (value - mean[:, None, None]) * scale[:, None, None] + module.bias[:, None, None]

    pre = F.relu(bn(layer.pre[1], conv(layer.pre[0], x))).reshape(P, SUBSETS, -1, T, V)
    x1 = conv(layer.conv1, x).mean(2).reshape(P, SUBSETS, -1, V)
    x2 = conv(layer.conv2, x).mean(2).reshape(P, SUBSETS, -1, V)
    specific = torch.zeros(*x1.shape, V, dtype=x.dtype)
    for i in range(V):
        for j in range(V):
            specific[..., i, j] = layer.alpha[0] * torch.tanh(x1[..., i] - x2[..., j])
    similarity = torch.einsum("pkci,pkcj->pkij", x1, x2)
    specific = specific + layer.beta[0] * F.softmax(similarity, 2)[:, :, None]
    adjacency = layer.A[None, :, None] + specific
    mixed = torch.einsum("pkcti,pkcij->pkctj", pre, adjacency).reshape(P, -1, T, V)
    residual = bn(layer.down[1], conv(layer.down[0], x))
    return F.relu(bn(layer.bn, conv(layer.post, mixed)) + residual), specific


def test_graph_convolution_by_definition():
    torch.manual_seed(0)
    layer = GraphConv(6, 16, 5).double().train()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    x = torch.randn(3, 6, 7, 5, dtype=torch.float64)
    expected, specific = graph_conv_by_definition(layer, x)
    topology = layer.topology(x)
    torch.testing.assert_close(layer(x, topology), expected)
    torch.testing.assert_close(topology.mean(), specific.mean((1, 2)))


class TestFeature:
    def test_topology_is_zero_before_training(self):
        model = ACLNet(num_joints=5, num_classes=4, base_channels=16)
        tracks, owner = tracks_of([0, 1])
        feature = model(tracks.float(), owner, 2).feature
        assert feature.shape == (2, model.feature_width) == (2, 25)
        assert not feature.any()

    def test_pooled(self):
        model = moved_model(feature="pooled")
        output = model(*tracks_of([0, 0, 1]), 2)
        assert output.feature.shape == (2, model.feature_width) == (2, 64)
        torch.testing.assert_close(output.feature, output.pooled)
        torch.testing.assert_close(output.logits, model.fc_cls(output.pooled))

    def test_is_float32_under_autocast(self):
        model = moved_model().float().eval()
        tracks, owner = tracks_of([0, 1])
        expected = model(tracks.float(), owner, 2).feature
        with torch.autocast("cpu", torch.bfloat16):
            feature = model(tracks.float(), owner, 2).feature
        assert feature.dtype == torch.float32
        assert_near(feature, expected.detach().numpy(), 0.05)


def test_layouts_of_more_joints_than_the_released_ones():
    model = ACLNet(num_joints=33, num_classes=2, base_channels=16)
    assert model(torch.randn(2, 8, 33, 3), torch.tensor([0, 1]), 2).logits.shape == (2, 2)
    assert model.gcn[0].tcn.add_coeff.shape == (33,)


def test_a_seed_gives_the_initial_weights_that_it_always_gave():
    """Sums from before other networks shared these modules: the order of drawing shows in them."""
    torch.manual_seed(3)
    model = ACLNet(num_joints=7, num_classes=4, base_channels=16)
    weights = [*(model.gcn[i].tcn.branches[5].weight for i in (0, 9)), model.fc_cls.weight]
    sums = [weight.detach().double().sum().item() for weight in weights]
    assert sums == pytest.approx([-0.8026035726, -0.3637926430, 0.0095713906], abs=1e-6)


def test_new_blocks_pass_on_their_input_with_zero_init():
    torch.manual_seed(0)
    model = ACLNet(num_joints=5, num_classes=4, base_channels=16, zero_init=True).eval()
    x = torch.rand(3, 16, 8, 5)
    for block in model.gcn[1:4]:
        torch.testing.assert_close(block(x), x, rtol=0, atol=1e-3)
    plain = ACLNet(num_joints=5, num_classes=4, base_channels=16).eval()
    assert (plain.gcn[1](x) - x).abs().max() > 0.1


def test_zero_init_changes_scales_alone():
    models = []
    for zero_init in (True, False):
        torch.manual_seed(0)
        models.append(ACLNet(num_joints=5, num_classes=4, base_channels=16, zero_init=zero_init))
    changed = {
        name
        for (name, one), other in zip(
            models[0].state_dict().items(), models[1].state_dict().values(), strict=True
        )
        if not torch.equal(one, other)
    }
    assert changed == {
        *(f"gcn.{i}.gcn.bn.weight" for i in range(10)),
        *(f"gcn.{i}.tcn.bn.weight" for i in range(1, 10)),
    }
