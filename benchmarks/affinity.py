"""Effects of the affinity loss: `python benchmarks/affinity.py STORE --out probe.csv`.

A run is trained as by `aclnet train`, with measurements in every tenth step. The table has a line
for each epoch: the number of samples with a family, the size of each term's gradient relative to
that of cross-entropy, the cosine between the gradients, and the distances between the classes of a
family. The measurements take time, but do not change the training.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from aclnet.training import launch
from aclnet.training.trainer import Trainer

if TYPE_CHECKING:
    from aclnet.models.blocks import Output
    from aclnet.runs.inputs import Inputs

EVERY = 10
"""Steps from one look to the next."""


class ProbedTrainer(Trainer):
    """A trainer that keeps one row of figures for each epoch in `found`."""

    found: ClassVar[list[dict[str, float]]] = []

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.looks: list[dict[str, float]] = []
        self.before: Tensor | None = None
        backward = self.step.backward

        def looking(part: Inputs, output: Output, *rest: Any) -> None:  # noqa: ANN401
            if self.stream.step % EVERY == 0:
                self.looks.append(self._look(part, output))
            backward(part, output, *rest)

        self.step.backward = looking  # type: ignore[method-assign]

    def _look(self, part: Inputs, output: Output) -> dict[str, float]:
        """Figures of one step on one process that does not accumulate."""
        losses = self.contrast(output.feature, slice(0, len(part)))
        smoothing = self.config.optim.label_smoothing
        terms = {
            "ce": functional.cross_entropy(output.logits, part.label, label_smoothing=smoothing),
            "inter": self.contrast.settings.lambda_inter * losses.inter,
            "intra": self.contrast.settings.lambda_intra * losses.intra,
        }
        gradient = {name: self._gradient(term) for name, term in terms.items()}
        length = {name: float(g.norm()) for name, g in gradient.items()}
        looked = {f"gradient_{name}": value for name, value in length.items()}
        for name in ("inter", "intra"):
            if length[name] > 0:
                cosine = functional.cosine_similarity(gradient[name], gradient["ce"], dim=0)
                looked[f"aligned_{name}"] = float(cosine)
                looked[f"ratio_{name}"] = length[name] / length["ce"]
        return looked | {"in_family": float(losses.share_with_family)}

    def _gradient(self, term: Tensor) -> Tensor:
        """Gradient of a term with respect to all weights of the network, as one vector."""
        weights = [w for w in self.model.parameters() if w.requires_grad]
        if not term.requires_grad:
            return torch.zeros(1)
        parts = torch.autograd.grad(
            term, weights, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return torch.cat([gradient.flatten() for gradient in parts])

    def _finish_epoch(self, epoch: int) -> None:
        row = {"epoch": float(epoch + 1)}
        row |= pd.DataFrame(self.looks).mean().to_dict()
        row |= self._prototypes() | self._confused()
        self.looks.clear()
        super()._finish_epoch(epoch)
        row["accuracy"] = self.rows[-1]["accuracy"]
        ProbedTrainer.found.append(row)

    @torch.no_grad()
    def _prototypes(self) -> dict[str, float]:
        """Cosines of the prototypes with those of the epoch before, and of pairs of classes."""
        now = functional.normalize(self.contrast.prototypes, dim=1)
        found = {}
        if self.before is not None:
            found["prototypes_stay"] = float((now * self.before).sum(1).mean())
        self.before = now.clone()
        member = self.contrast.families.member
        others = ~member & ~torch.eye(len(now), dtype=torch.bool, device=now.device)
        cosine = now @ now.T
        for name, pairs in (("inside", member), ("outside", others)):
            if pairs.any():
                found[f"cosine_{name}"] = float(cosine[pairs].mean())
        return found

    def _confused(self) -> dict[str, float]:
        """Confusions of this epoch, and the share of them between classes of a family."""
        counts = self.meter.confusion.view(self.classes, -1).clone().fill_diagonal_(0)
        wrong = int(counts.sum())
        inside = int(counts[self.contrast.families.member].sum())
        return {"errors": wrong, "errors_inside": inside / max(wrong, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--recipe", help="[default: the recipe of the store]")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, required=True, help="Folder of the run.")
    parser.add_argument("--out", type=Path, default=Path("probe.csv"), help="Table to write.")
    options = parser.parse_args()
    launch.Trainer = ProbedTrainer
    choices = {"recipe": options.recipe, "settings": options.settings, "seed": options.seed}
    launch.train(options.store, **choices, out=options.run, select="last", accelerator="cpu")
    table = pd.DataFrame(ProbedTrainer.found)
    table.to_csv(options.out, index=False, float_format="%.5g")
    print(table.to_string(index=False, float_format="%.3g"))


if __name__ == "__main__":
    main()
