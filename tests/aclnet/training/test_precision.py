"""Types of numbers on their way through the network, in every precision."""

from __future__ import annotations

import pytest
import torch
from lightning_fabric import Fabric
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from aclnet.datasets.spec.layouts import get_layout
from aclnet.models.blocks import InputNorm, Pointwise
from aclnet.models.choices import PAPER_WIDTH
from aclnet.models.registry import make_model
from aclnet.models.temporal import max_of_three
from aclnet.runs.config import Config, OptimConfig
from aclnet.training.launch import make_fabric
from aclnet.training.precision import arithmetic, precision_plugins, set_arithmetic

LAYOUT = get_layout("sbu")
OWNER = [0, 1, 1, 2]


def network(name: str, **options):
    torch.manual_seed(0)
    return make_model(
        name,
        LAYOUT,
        num_classes=4,
        in_channels=3,
        base_channels=12,
        persons="present" if name == "aclnet" else "padded",
        **options,
    )


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_coordinates_are_not_rounded_before_they_are_normalised(precision):
    plugins = precision_plugins(OptimConfig(precision=precision), "cpu")
    module = Fabric(accelerator="cpu", devices=1, plugins=plugins).setup(network("aclnet"))
    seen, products = [], set()
    for part in module.module.modules():
        if isinstance(part, InputNorm):
            part.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
        elif isinstance(part, Pointwise):
            part.register_forward_hook(lambda _, x, y: products.add(y.dtype))
    tracks = 1 + torch.rand(4, 8, LAYOUT.num_joints, 3) / 1024
    output = module(tracks, torch.tensor(OWNER), 3)
    (found,) = seen
    assert found.dtype == torch.float32
    assert torch.equal(found, tracks)
    lower = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    assert products == {lower.get(precision, torch.float32)}
    assert output.logits.dtype == torch.float32


def test_mixed_precision_needs_no_other_plugin_of_the_config(quick):
    fabric = make_fabric(quick("optim.precision=bf16-mixed"), "cpu")
    x = torch.ones(2) / 3
    assert fabric._precision.convert_input(x) is x


class AsOnCuda(TorchFunctionMode):
    """Sums as autocast on CUDA does, to float32 unless a type is given; notes what is joined."""

    def __init__(self) -> None:
        super().__init__()
        self.joined = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if name == "sum" and "dtype" not in kwargs:
            kwargs["dtype"] = torch.float32
        found = func(*args, **kwargs)
        if name == "cat" and found.ndim == 4 and found.shape[2:] != (1, 1):  # no weights
            self.joined.add(found.dtype)
        return found


@pytest.mark.parametrize("name", PAPER_WIDTH)
def test_activations_stay_in_bfloat16(name):
    model, normalised = network(name).train(), set()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda _, x: normalised.add(x[0].dtype))
    tracks = torch.randn(4, 8, LAYOUT.num_joints, 3)
    with torch.autocast("cpu", torch.bfloat16), AsOnCuda() as seen:
        model._per_track(tracks)
    assert normalised == {torch.bfloat16}
    assert seen.joined <= {torch.bfloat16}


def test_a_weight_is_cast_once_not_for_each_track():
    sizes = []

    class Casts(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            found = func(*args, **(kwargs or {}))
            if func is torch.ops.aten._to_copy.default:
                sizes.append(found.untyped_storage().nbytes() // found.element_size())
            return found

    conv, x = Pointwise(6, 10), torch.randn(7, 6, 2, 3)
    with torch.autocast("cpu", torch.bfloat16), Casts():
        y = conv(x)
    assert max(sizes) == x.numel() > conv.weight.numel()
    assert 7 * conv.weight.numel() not in sizes
    exact = functional.conv2d(x.bfloat16(), conv.weight.bfloat16()).float()
    exact += conv.bias[:, None, None]
    torch.testing.assert_close(y.float(), exact, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("frames", [1, 2, 7, 8])
def test_the_greatest_of_three_frames_is_that_of_max_pooling(stride, frames):
    torch.manual_seed(0)
    # many values are equal, as after a ReLU
    x = torch.randint(4, (2, 3, frames, 5)).float().requires_grad_()
    other = x.detach().clone().requires_grad_()
    y = max_of_three(x, stride)
    wanted = functional.max_pool2d(other, (3, 1), (stride, 1), (1, 0))
    assert torch.equal(y, wanted)
    weight = torch.randn(y.shape)
    (y * weight).sum().backward()
    (wanted * weight).sum().backward()
    torch.testing.assert_close(x.grad, other.grad)


@pytest.fixture
def arithmetic_of_torch():
    """Puts torch's settings back."""
    before = torch.backends.cuda.matmul.allow_tf32
    filling = torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.backends.cuda.matmul.allow_tf32 = before
    torch.utils.deterministic.fill_uninitialized_memory = filling
    torch.use_deterministic_algorithms(mode=False)


@pytest.mark.usefixtures("arithmetic_of_torch")
def test_settings_of_arithmetic(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    set_arithmetic(OptimConfig(), "cuda")
    assert "products in float32, convolutions in TF32" in arithmetic(OptimConfig(), "cuda")
    assert not torch.are_deterministic_algorithms_enabled()
    optim = OptimConfig(matmul="tf32", deterministic=True)
    set_arithmetic(optim, "cpu")
    assert not torch.are_deterministic_algorithms_enabled()
    set_arithmetic(optim, "cuda")
    assert torch.backends.cuda.matmul.allow_tf32
    assert torch.are_deterministic_algorithms_enabled()
    assert "products in TF32" in arithmetic(optim, "cuda")
    assert arithmetic(OptimConfig(precision="bf16-mixed"), "cuda") == "bf16-mixed"


def test_new_settings_of_arithmetic_leave_the_names_of_runs(quick):
    before = "9eaf9b7b2fee4d38f28889570379e97ec5d518cdaa56a6db95035065b2d43d12"
    assert Config().digest() == before, "as before there were these settings"
    others = (quick("optim.matmul=tf32"), quick("optim.deterministic=true"))
    assert len({quick().digest(), *(other.digest() for other in others)}) == 3
