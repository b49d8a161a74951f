"""A consistency term between two views: `python benchmarks/consistency.py STORE --run FOLDER`.

A run is trained as by `aclnet train`, but each batch holds every sequence twice: with the random
masks of the recipe, and without a mask. Cross-entropy is the mean over both views. The term is the
divergence of the masked view's probabilities from those of the complete view, which are a constant.
A step costs twice as much as one of `aclnet train`. docs/results/occlusion.md has the result.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from aclnet.runs.inputs import Inputs, MakeInputs
from aclnet.training import launch
from aclnet.training.trainer import Trainer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.store.stream import Batch
    from aclnet.models.blocks import Output


class ConsistentTrainer(Trainer):
    """A trainer that compares the masked view of each sequence with the complete one."""

    weight: ClassVar[float] = 1.0

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        unmasked = self.config.augment.model_copy(update={"limb_mask": 0.0})
        masked = self.make
        complete = MakeInputs(
            self.store, self.config.data, self.fabric.device, spec=unmasked, class_of=self.class_of
        )

        def both(batch: Batch, progress: float) -> Inputs:
            return joined(masked(batch, progress), complete(batch, progress))

        self.make = both  # type: ignore[assignment]
        self.step.own_loss = self._loss  # type: ignore[assignment]
        take = self.step.take

        def twice(inputs: Inputs, samples: NDArray[np.int64]) -> None:
            take(inputs, np.concatenate([samples, samples]))

        self.step.take = twice  # type: ignore[method-assign]

    def _loss(self, output: Output, label: Tensor) -> Tensor:
        smoothing = self.config.optim.label_smoothing
        classification = functional.cross_entropy(output.logits, label, label_smoothing=smoothing)
        return classification + self.weight * divergence(output.logits)


def joined(one: Inputs, other: Inputs) -> Inputs:
    """The samples of two batches as one batch."""
    return replace(
        one,
        tracks=torch.cat([one.tracks, other.tracks]),
        owner=torch.cat([one.owner, other.owner + len(one)]),
        label=torch.cat([one.label, other.label]),
        key=torch.cat([one.key, other.key]),
        first_track=np.append(one.first_track, one.first_track[-1] + other.first_track[1:]),
    )


def divergence(logits: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence of the first half of (2B, C) logits from the second half."""
    masked, complete = logits.float().log_softmax(1).chunk(2)
    return functional.kl_div(masked, complete.detach(), reduction="batchmean", log_target=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--weight", type=float, default=1.0, help="Weight of the term.")
    parser.add_argument("--recipe", help="[default: the recipe of the store]")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fold", help="Fold of the training subjects to test on, as 2/4.")
    parser.add_argument("--run", type=Path, required=True, help="Folder of the run.")
    options = parser.parse_args()
    ConsistentTrainer.weight = options.weight
    launch.Trainer = ConsistentTrainer  # type: ignore[misc]
    launch.train(
        options.store,
        recipe=options.recipe,
        settings=options.settings,
        seed=options.seed,
        fold=options.fold,
        out=options.run,
        select="last",
        accelerator="cpu",
    )


if __name__ == "__main__":
    main()
