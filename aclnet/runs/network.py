"""The network of a configuration or a run: the classifier and the parameters of its losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from aclnet.datasets.spec import AclnetError
from aclnet.losses.contrast import AffinityContrast
from aclnet.losses.settings import default_memory_rows
from aclnet.models.registry import make_model
from aclnet.runs.inputs import channels

if TYPE_CHECKING:
    from aclnet.datasets.spec.layouts import Layout
    from aclnet.datasets.store.store import Store
    from aclnet.models.blocks import Output
    from aclnet.models.classifier import Classifier
    from aclnet.runs.config import Config, RetrievalConfig
    from aclnet.runs.run import Run
    from aclnet.runs.splits import Splits

HEAD = "fc_cls."
"""Prefix of the classifier's last layer."""


class Network(nn.Module):
    """The classifier and the contrastive losses' own parameters, wrapped as one for DDP."""

    def __init__(self, model: Classifier, contrast: AffinityContrast) -> None:
        super().__init__()
        self.model = model
        self.contrast = contrast

    def forward(self, tracks: Tensor, owner: Tensor, num_samples: int) -> Output:
        output: Output = self.model(tracks, owner, num_samples)
        return output


def build_network(config: Config, store: Store, splits: Splits) -> Network:
    """The classifier and its losses for the samples of a store."""
    classes, train_samples = len(splits.classes), int(splits.train.sum())
    model = build_model(config, store.layout, channels(store, config.data), classes)
    memory = config.loss.memory_rows or default_memory_rows(
        classes, train_samples, config.optim.batch_size
    )
    return Network(model, AffinityContrast(model.feature_width, classes, memory, config.loss))


def build_model(config: Config, layout: Layout, in_channels: int, classes: int) -> Classifier:
    """The classifier of a configuration, with initial weights."""
    return make_model(
        config.model.name,
        layout,
        num_classes=classes,
        in_channels=in_channels,
        base_channels=config.model.base_channels,
        feature=config.model.feature,
        persons=config.model.persons,
        recompute=config.optim.recompute,
        window_scales=config.model.window_scales,
    )


def load_model(run: Run, store: Store | None = None) -> Classifier:
    """The network that a run resulted in, on the CPU, in evaluation mode.

    AclnetError where `store` has another layout, other coordinates or another normalisation than
    it was trained on, and where the checkpoint does not fit.
    """
    if store is not None:
        check_same_input(run, store)
    model = build_model(run.config, run.layout, run.record.channels, len(run.class_names))
    weights = run.weights()
    with run.fitting(run.selected):
        model.load_state_dict(weights)
    return model.eval()


def load_projection(run: Run, retrieval: RetrievalConfig) -> nn.Linear | None:
    """The projection of a run's contrastive embedding; None where what is wanted needs none.

    AclnetError where the run has none that was trained.
    """
    loss = run.config.loss
    if retrieval.embedding == "pooled":
        return None
    weights = run.weights("contrast.intra_projection.")
    if not weights or not (run.imported or loss.lambda_intra > 0 or loss.triplet > 0):
        raise AclnetError(
            f"run {run.name} has no contrastive embedding: no term of its loss trains one. "
            "Use the embedding pooled"
        )
    outputs, inputs = weights["weight"].shape
    projection = nn.Linear(inputs, outputs)
    projection.load_state_dict(weights)
    return projection.eval()


def check_same_input(run: Run, store: Store) -> None:
    """AclnetError where a store's sequences are not what a run was trained on."""
    layout, theirs = run.layout, store.layout
    found, wanted = channels(store, run.config.data), run.record.channels
    if (theirs.joints, found) != (layout.joints, wanted):
        raise AclnetError(
            f"run {run.name} was trained on layout {layout.name} with {layout.num_joints} joints "
            f"of {wanted} channels, and {store.path} has layout {theirs.name} with "
            f"{theirs.num_joints} of {found}"
        )
    normalisation = store.attributes.normalisation
    if normalisation != run.record.normalisation:
        raise AclnetError(
            f"run {run.name} was trained on sequences normalised by "
            f"{run.record.normalisation}, and those of {store.path} are by {normalisation}; "
            "prepare a store as the run's (--align, --normalise)"
        )


def parameter_groups(network: Network) -> list[dict[str, Any]]:
    """Named groups; the projections of the two losses are apart, because they decay apart."""
    contrast = network.contrast
    groups = {
        "model": network.model,
        "inter": contrast.inter_projection,
        "intra": contrast.intra_projection,
    }
    return [{"name": name, "params": list(part.parameters())} for name, part in groups.items()]


def start_from(model: Classifier, weights: dict[str, Tensor]) -> None:
    """Copies weights of another classifier; the head stays new where they hold none.

    AclnetError where they do not fit.
    """
    own = model.state_dict()
    for name, wanted in own.items():
        found = weights.get(name)
        absent = found is None and not name.startswith(HEAD)
        if absent or (found is not None and found.shape != wanted.shape):
            theirs = "absent" if found is None else tuple(found.shape)
            raise AclnetError(
                f"the weights do not fit: {name} is {theirs} there and {tuple(wanted.shape)} here; "
                "use the same layout, model.name, model.size, model.persons and model.feature"
            )
    model.load_state_dict({**own, **weights})
