"""Trains the shipped network with Lightning: `python examples/lightning_module.py STORE [EPOCHS]`.

Needs `pip install pytorch-lightning`. The epochs of a stream differ in order and in frames, so the
loaders are made once and read again in each epoch.
"""

import sys

import pytorch_lightning as lightning
import torch
from torch import nn
from torch.utils.data import DataLoader

import aclnet
from aclnet.models.registry import make_model


class SkeletonData(lightning.LightningDataModule):
    """The sides of a protocol of a store: `train` trains, `test` validates."""

    def __init__(self, path, protocol=None, batch_size=16, frames=32, seed=0):
        super().__init__()
        self.store = aclnet.open_store(path)
        self.protocol = protocol or self.store.default_protocol
        self.options = {"batch_size": batch_size, "seed": seed}
        self.sampling = aclnet.UniformSampling(frames)

    def _loader(self, side, **options):
        share = aclnet.Share(self.trainer.global_rank, self.trainer.world_size)
        options |= {**self.options, "sampling": self.sampling, "share": share}
        stream = self.store.stream(f"{self.protocol}/{side}", **options)
        # the stream makes the batches, shuffles them and reads ahead
        return DataLoader(aclnet.StreamDataset(stream), batch_size=None)

    def train_dataloader(self):
        return self._loader("train")

    def val_dataloader(self):
        return self._loader("test", shuffle=False)


class Classifier(lightning.LightningModule):
    """The network of aclnet, small, with the cross-entropy alone."""

    def __init__(self, store):
        super().__init__()
        self.network = make_model(
            "aclnet",
            store.layout,
            num_classes=len(store.class_names),
            in_channels=store.coordinates,
            base_channels=16,
            persons="present",
        )

    def _step(self, batch, name):
        samples = len(batch["label"])
        logits = self.network(batch["keypoint"], batch["owner"], samples).logits
        loss = nn.functional.cross_entropy(logits, batch["label"])
        hits = (logits.argmax(1) == batch["label"]).float().mean()
        shown = {"on_step": False, "on_epoch": True, "batch_size": samples}
        self.log_dict({f"{name}_loss": loss, f"{name}_accuracy": hits}, **shown)
        return loss

    def training_step(self, batch):
        return self._step(batch, "train")

    def validation_step(self, batch):
        self._step(batch, "test")

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


def main(path, epochs=5):
    lightning.seed_everything(0)
    data = SkeletonData(path)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,  # a stream that is left in the middle goes on there
        use_distributed_sampler=False,  # the stream has shares of its own
    )
    trainer.fit(Classifier(data.store), datamodule=data)
    for name, value in sorted(trainer.callback_metrics.items()):
        print(f"{name} {value:.3f}")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
