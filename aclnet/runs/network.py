"""The network of a configuration or a run: the classifier and the parameters of its losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from aclnet.datasets.spec import AclnetError, first_of, shown
from aclnet.datasets.spec.user_code import names_code
from aclnet.losses.contrast import AffinityContrast
from aclnet.losses.settings import CROSS_ENTROPY, default_memory_rows
from aclnet.models.choices import is_own
from aclnet.models.registry import make_model
from aclnet.own.loss import LossDimensions, OwnLoss, find_loss
from aclnet.own.network import Dimensions, OwnNetwork, find_network
from aclnet.runs.choices import motion_of
from aclnet.runs.inputs import channels
from aclnet.runs.record import CodeRecord

if TYPE_CHECKING:
    from aclnet.datasets.spec.layouts import Layout
    from aclnet.datasets.store.store import Store
    from aclnet.models.blocks import Output
    from aclnet.models.classifier import Classifier
    from aclnet.runs.config import Config, RetrievalConfig
    from aclnet.runs.run import Run
    from aclnet.runs.splits import Splits


class Network(nn.Module):
    """The classifier and the losses' own parameters, wrapped as one for DDP."""

    def __init__(
        self, model: Classifier, contrast: AffinityContrast, loss: OwnLoss | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.contrast = contrast
        self.loss = loss
        """Loss that replaces the cross-entropy."""

    def forward(self, tracks: Tensor, owner: Tensor, num_samples: int) -> Output:
        output: Output = self.model(tracks, owner, num_samples)
        return output


def build_network(config: Config, store: Store, splits: Splits) -> Network:
    """The classifier and its losses for the samples of a store."""
    sizes = splits.class_sizes(store)
    model = build_model(config, store.layout, channels(store, config.data), len(sizes))
    memory = config.loss.memory_rows or default_memory_rows(
        len(sizes), int(splits.train.sum()), config.optim.batch_size
    )
    contrast = AffinityContrast(model.feature_width, len(sizes), memory, config.loss)
    if config.loss.name == CROSS_ENTROPY:
        return Network(model, contrast)
    dimensions = LossDimensions(sizes, model.feature_width)
    loss = OwnLoss(find_loss(config.loss.name), dimensions, config.loss.options)
    return Network(model, contrast, loss)


def users_code(config: Config) -> tuple[CodeRecord, ...]:
    """The code of the user that a configuration names; raises AclnetError if its import fails."""
    found = [find_network(config.model.name)] if is_own(config.model.name) else []
    found += [find_loss(config.loss.name)] if config.loss.name != CROSS_ENTROPY else []
    return tuple(
        CodeRecord(name=f.name, file=str(f.file) if f.file else None, sha256=f.sha256())
        for f in found
    )


def build_model(
    config: Config, layout: Layout, in_channels: int, classes: int, own: str | None = None
) -> Classifier:
    """The classifier of a configuration, with initial weights.

    This imports the code of the user that `own`, or else the configuration, names. Only the user
    may choose this name, see `load_model`.
    """
    if is_own(config.model.name):
        return OwnNetwork(
            find_network(own or config.model.name),
            Dimensions(
                layout, classes, in_channels, config.data.frames, config.model.base_channels
            ),
            config.model.persons,
            config.model.options,
        )
    return make_model(
        config.model.name,
        layout,
        num_classes=classes,
        in_channels=in_channels,
        base_channels=config.model.base_channels,
        feature=config.model.feature,
        pooling=config.model.pooling,
        joint_embedding=config.model.joint_embedding,
        zero_init=config.model.zero_init,
        persons=config.model.persons,
        presence=config.data.presence,
        recompute=config.optim.recompute,
        window_scales=config.model.window_scales,
    )


def load_model(run: Run, store: Store | None = None) -> Classifier:
    """The final network of a run, on the CPU, in evaluation mode.

    Raises AclnetError if `store` differs from the training store in layout, coordinates or
    normalisation, if the checkpoint does not fit, or if the run names code that the user has not
    named again (`Run.own_model`).
    """
    if store is not None:
        check_same_input(run, store)
    name = run.config.model.name
    if names_code(name) and run.own_model is None:
        raise AclnetError(
            f"run {run.name} has the network {shown(name)}, whose code is not part of the run; "
            "aclnet does not import code that only a run names: name the network again with "
            "--model package.module:function (docs/networks.md)"
        )
    model = build_model(
        run.config, run.layout, run.record.channels, len(run.class_names), run.own_model
    )
    weights = run.weights()
    with run.fitting(run.selected):
        model.load_state_dict(weights)
    return model.eval()


def name_own_model(run: Run, name: str) -> str:
    """Uses a network of the user for a run; returns a remark for the user, if any.

    Raises AclnetError if the network of the run is not a network of the user.
    """
    theirs = run.config.model.name
    if not is_own(theirs):
        raise AclnetError(
            f"--model names a network of your own, but run {run.name} has the network {theirs}"
        )
    run.own_model = name
    trained_with = [c.sha256 for c in run.record.code if c.name == theirs]
    if trained_with in ([], [find_network(name).sha256()]):
        return ""
    return f"the code of {name} has changed since run {run.name} was trained with it"


def load_projection(run: Run, retrieval: RetrievalConfig) -> nn.Linear | None:
    """The projection of a run's contrastive embedding; None if the embedding needs no projection.

    Raises AclnetError if the run has no trained projection.
    """
    loss = run.config.loss
    if motion_of(retrieval.embedding) in ("pooled", None):
        return None
    weights = run.weights("contrast.intra_projection.")
    if not weights or not (run.imported or loss.lambda_intra > 0 or loss.triplet > 0):
        raise AclnetError(
            f"run {run.name} has no contrastive embedding: no term of its loss trains it. Use "
            "--embedding pooled"
        )
    outputs, inputs = weights["weight"].shape
    projection = nn.Linear(inputs, outputs)
    projection.load_state_dict(weights)
    return projection.eval()


def check_same_input(run: Run, store: Store) -> None:
    """Raises AclnetError if a store's sequences do not fit the run's training data."""
    layout, theirs = run.layout, store.layout
    found, wanted = channels(store, run.config.data), run.record.channels
    if (theirs.joints, found) != (layout.joints, wanted):
        raise AclnetError(
            f"run {run.name} was trained on layout {layout.name} with {layout.num_joints} joints "
            f"of {wanted} channels, but {store.path} has layout {theirs.name} with "
            f"{theirs.num_joints} joints of {found}"
        )
    normalisation = store.attributes.normalisation
    if normalisation != run.record.normalisation:
        raise AclnetError(
            f"run {run.name} was trained on sequences normalised by {run.record.normalisation}, "
            f"but those of {store.path} are normalised by {normalisation}; prepare a store with "
            "the run's --align and --normalise"
        )


def parameter_groups(network: Network) -> list[dict[str, Any]]:
    """Named groups; each projection of the losses is separate, because its decay is separate."""
    contrast = network.contrast
    groups = {
        "model": network.model,
        "inter": contrast.inter_projection,
        "intra": contrast.intra_projection,
        **({} if network.loss is None else {"loss": network.loss}),
    }
    return [{"name": name, "params": list(part.parameters())} for name, part in groups.items()]


def is_head(name: str) -> bool:
    """True if `name` is a weight of the classifier's last layer."""
    return name.removeprefix("network.").startswith("fc_cls.")


def start_from(model: Classifier, weights: dict[str, Tensor]) -> None:
    """Copies weights of another classifier; the head keeps new weights if they have no head.

    Raises AclnetError if they do not fit.
    """
    own = model.state_dict()
    for name, wanted in own.items():
        found = weights.get(name)
        absent = found is None and not is_head(name)
        if absent or (found is not None and found.shape != wanted.shape):
            theirs = "absent" if found is None else tuple(found.shape)
            raise AclnetError(
                f"the weights do not fit: {name} is {theirs} in the file, and "
                f"{tuple(wanted.shape)} here; use the same layout, model.name, model.size, "
                "model.persons and model.feature"
            )
    surplus = sorted(weights.keys() - own.keys())
    if surplus:
        raise AclnetError(
            f"the weights do not fit: the network here has no {first_of(surplus)}; use the same "
            "model.name and model.size"
        )
    model.load_state_dict({**own, **weights})
