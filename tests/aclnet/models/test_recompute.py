"""Training with activations computed again, against training with all of them kept."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from aclnet.models.aclnet import ACLNet

SETTINGS = [("topology", "present"), ("topology", "padded"), ("pooled", "present")]


def network(*, recompute: bool, feature="topology", persons="present") -> ACLNet:
    """A small network that is not as initialised: topologies and biases are at work."""
    torch.manual_seed(3)
    model = ACLNet(
        num_joints=7,
        num_classes=4,
        base_channels=16,
        feature=feature,
        persons=persons,
        recompute=recompute,
    )
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.train()


@pytest.fixture
def samples() -> tuple[torch.Tensor, torch.Tensor, int]:
    owner = torch.tensor([0, 0, 1, 2, 2, 2, 4])
    return torch.randn(7, 16, 7, 3, generator=torch.Generator().manual_seed(5)), owner, 5


def loss_of(model: ACLNet, samples) -> torch.Tensor:
    output = model(*samples)
    label = torch.arange(samples[2]) % 4
    return functional.cross_entropy(output.logits, label) + output.feature.square().mean()


def saved_bytes(model: ACLNet, samples) -> int:
    """Bytes that the forward pass leaves for the backward pass, shared memory counted once."""
    storages = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss_of(model, samples)
    own = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}
    return sum(s.nbytes() for pointer, s in storages.items() if pointer not in own)


@pytest.mark.parametrize(("feature", "persons"), SETTINGS)
@pytest.mark.parametrize("autocast", [False, True])
def test_everything_is_the_same_bit_for_bit(feature, persons, autocast, samples):
    kept, again = (
        network(recompute=recompute, feature=feature, persons=persons)
        for recompute in (False, True)
    )
    for _ in range(2):  # the second step starts from the statistics of the first
        losses = []
        for model in (kept, again):
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                loss = loss_of(model, samples)
            loss.backward()
            losses.append(loss)
        assert torch.equal(*losses)
    for (name, a), b in zip(kept.named_parameters(), again.parameters(), strict=True):
        assert a.grad is not None, name
        assert torch.equal(a.grad, b.grad), name
    for (name, a), b in zip(kept.named_buffers(), again.buffers(), strict=True):
        assert torch.equal(a, b), name
    assert again.gcn[0].gcn.bn.num_batches_tracked == 2


def test_buffers_stay_the_same_objects(samples):
    model = network(recompute=True)
    before = {name: id(buffer) for name, buffer in model.named_buffers()}
    loss_of(model, samples).backward()
    assert {name: id(buffer) for name, buffer in model.named_buffers()} == before


def test_less_is_kept(samples):
    kept, again = (saved_bytes(network(recompute=r), samples) for r in (False, True))
    # one block in ten keeps all, and the others their inputs
    assert again < kept / 4


def test_only_training_with_gradients_computes_again(samples, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("aclnet.models.blocks.checkpoint", refuse)
    model = network(recompute=True)
    with torch.no_grad():
        model(*samples)
    model.eval()(*samples)
    with pytest.raises(AssertionError):
        model.train()(*samples)


@pytest.mark.slow
def test_a_run_goes_on_with_it_and_ends_the_same(
    quick_run, train_quickly, assert_same_run, stop_at, tmp_path
):
    with pytest.raises(stop_at.Stopped):
        train_quickly(tmp_path / "run", progress=stop_at(epochs=1))
    again = train_quickly(tmp_path / "run", "optim.recompute=true")
    assert_same_run(again, quick_run)
