"""Cost of a training step for a GPU: operations that are started, and bytes that they move.

The bounds are what was counted, with little room. The lower ones show that the count sees the step.
"""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from aclnet.models.aclnet import ACLNet
from aclnet.models.choices import PAPER_WIDTH
from aclnet.runs.splits import protocol_splits
from aclnet.training.launch import make_fabric
from aclnet.training.trainer import Trainer


class Cost(TorchDispatchMode):
    """Counts the operations that are not views, and the bytes of their inputs and outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        aliases = [returned.alias_info for returned in func._schema.returns]
        view = any(alias is not None and not alias.is_write for alias in aliases)
        if not view and "empty" not in func.__name__ and "_unsafe_view" not in func.__name__:
            self.operations += 1
            tensors = [x for x in tree_leaves((args, kwargs, found)) if isinstance(x, torch.Tensor)]
            self.bytes += sum(
                min(x.numel() * x.element_size(), x.untyped_storage().nbytes()) for x in tensors
            )
        return found


def test_the_network_of_the_paper_moves_few_bytes():
    """The traffic of the memory limits a GPU: one H200 moves 4.8 TB a second at most."""
    with torch.device("meta"):
        model = ACLNet(num_joints=25, num_classes=60, base_channels=PAPER_WIDTH["aclnet"]).train()
        tracks, owner = torch.randn(16, 100, 25, 3), torch.arange(16)
    with Cost() as found:
        output = model(tracks, owner, 16)
        (output.logits.sum() + output.feature.sum()).backward()
    assert 1500 < found.operations <= 1660
    assert 1.5e9 < found.bytes / 16 <= 1.7e9


def test_a_step_has_few_operations(store, quick, recorder):
    config = quick("augment.rotate=0.2", "augment.limb_mask=0", "loss.families.start=0")
    splits = protocol_splits(store, "xsub", hold_out=False, seed=0)
    trainer = Trainer(make_fabric(config, "cpu"), config, store, splits, recorder)
    trainer.contrast.begin_epoch(1, config.optim.epochs)
    trainer.network.train()
    batch = next(iter(trainer.stream))
    with Cost() as making:
        inputs = trainer.make(batch)
    with Cost() as step:
        trainer.step.take(inputs, batch.sample)
    assert making.operations <= 60
    assert 1700 < step.operations <= 1860
