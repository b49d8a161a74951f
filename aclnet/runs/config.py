"""Configuration of a training run: recipes are TOML files, settings change single values."""

from __future__ import annotations

import hashlib
import json
import math
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aclnet.datasets.spec import AclnetError, Task, did_you_mean, first_of, shown
from aclnet.losses.settings import CROSS_ENTROPY, OFFICIAL, ContrastSettings
from aclnet.models.choices import (
    MAX_WINDOW_SCALES,
    WINDOW_SCALES,
    Feature,
    Persons,
    Pooling,
    is_own,
    preset_widths,
)
from aclnet.pipelines.choices import Modality
from aclnet.pipelines.inputs.augment import AugmentSpec
from aclnet.pipelines.inputs.features import MODALITIES
from aclnet.runs.choices import Embedding, Metric, Precision, Select, motion_of, uses_shape
from aclnet.runs.recipes import check_depth, load_recipe, merge, recipe_name
from aclnet.runs.settings import Setting, problems, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_BATCH = 65_536
_MANY = 1_000_000
"""Upper bounds refuse typing errors before they take all memory or time. The largest values in use
are hundreds of times smaller."""
_MODEL_LATER = ("name", "window_scales", "options", "pooling", "joint_embedding", "zero_init")
_LATER = (
    *(("model", name) for name in _MODEL_LATER),
    *(("loss", name) for name in ("name", "options")),
    *(("data", name) for name in ("presence", "root_path", "image_scale", "lanes", "repeats")),
    *(("optim", name) for name in ("name", "matmul", "deterministic")),
    *(("augment", name) for name in ("parts", "joint_mask", "time_mask", "ramp", "confidence")),
)
"""Settings that did not exist in the first version."""


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class ModelConfig(_Section):
    """The network."""

    name: str = Field(default="aclnet", min_length=1, max_length=1000)
    """A network of aclnet (docs/method.md), an entry point of the group `aclnet.models`, or a
    network of your own as `package.module:function` or `path/to/file.py:function`."""
    options: dict[str, Any] = {}
    """Arguments of the function that builds a network of your own."""
    size: Literal["paper", "small", "tiny"] | Annotated[int, Field(ge=8, le=4096)] = "paper"
    """A preset, or the number of channels of the first block."""
    feature: Feature = "topology"
    """Input of the contrastive losses: the topology of the last block, or the pooled activations.
    Networks other than `aclnet` have no topology."""
    pooling: Pooling = "all"
    """Activations that the last layer gets: the mean over frames and joints (`all`, as published),
    or the means over the frames of each joint (`joint`), which show small differences between
    joints. It has no effect on networks of your own."""
    joint_embedding: bool = False
    """Add a learned vector of each joint to its input, which shows the network which joint it sees.
    It has no effect on networks of your own."""
    zero_init: bool = False
    """Begin the training with blocks that pass on their input; only for `aclnet`."""
    persons: Persons = "present"
    """Persons of a sample: only present persons, or always two, with zeros for absent persons."""
    window_scales: int = Field(default=WINDOW_SCALES, ge=1, le=MAX_WINDOW_SCALES)
    """Number of scales of the graph convolutions over windows; only for `msg3d`."""

    @model_validator(mode="before")
    @classmethod
    def _others_are_pooled(cls, given: Any) -> Any:  # noqa: ANN401 - whatever pydantic was given
        if not isinstance(given, dict) or given.get("name", "aclnet") == "aclnet":
            return given
        return {"feature": "pooled", **given}

    @model_validator(mode="after")
    def _has_the_feature(self) -> Self:
        if self.feature == "topology" and self.name != "aclnet":
            raise ValueError(
                f"feature=topology needs name=aclnet; with name={self.name}, use feature=pooled"
            )
        return self

    @model_validator(mode="after")
    def _has_options(self) -> Self:
        if self.options and not is_own(self.name):
            raise ValueError(f"options are for a network of your own; {self.name} has no options")
        return self

    @property
    def label(self) -> str:
        """The network's name as part of the names of folders."""
        return re.sub(r"\W+", "-", Path(self.name.replace(".py:", ":")).name)[:60].strip("-")

    @property
    def base_channels(self) -> int:
        return preset_widths(self.name)[self.size] if isinstance(self.size, str) else self.size


class DataConfig(_Section):
    """The input of the network."""

    protocol: str = ""
    """Protocol to train and test on. Empty: the first protocol of the store."""
    modality: Modality = "j"
    """Joints (j), bones (b), k-bones (k), or their motions (jm, bm, km)."""
    frames: int = Field(default=100, ge=1, le=65_536)
    """Number of frames in a clip."""
    sampling: Literal["uniform", "even", "consecutive"] = "uniform"
    """Uniform: frames from the whole sequence, for actions; a short one runs in a loop (released
    code). Even: frames of equal parts; a short sequence repeats frames. Consecutive: frames that
    follow one another, for gait and re-identification."""
    interval: tuple[float, float] = (1.0, 1.0)
    """Share of the sequence that a training clip of uniform or even sampling is drawn from."""
    clips: int = Field(default=10, ge=1, le=10_000)
    """Number of clips for each sequence in a test."""
    balance: bool = False
    """Draw every class equally often."""
    repeats: int = Field(default=1, ge=1, le=_MANY)
    """Number of times that an epoch draws each training sample, each time with other frames and
    augmentation. It is useful if there are few, long sequences, and a clip covers a small part."""
    per_class: int | None = Field(default=None, ge=1, le=_MAX_BATCH)
    """Number of samples of each class in a batch, for losses that compare samples of a batch, such
    as the triplet term. Not set: the samples of a batch are drawn at random."""
    motion: Literal["next", "timed", "sampled"] = "next"
    """End of a motion. Next: the next frame of the recording (released code, 3-D). Timed: the same,
    divided by the time between the frames. Sampled: the next frame of the clip (released code,
    2-D)."""
    short_clips: Literal["random", "spread"] = "random"
    """First frame of a uniform test clip of a sequence with fewer frames than the clip. Random: as
    the released code does for 3-D data. Spread: as it does for 2-D data."""
    score: bool = True
    """Add the confidence of each joint as a channel, if the store has it."""
    presence: bool = False
    """Add a channel that marks the present joints. It distinguishes a missing joint from a joint at
    the centre of the body."""
    root_path: bool = False
    """Bones, k-bones and their motions keep the path of the body: the root, whose bone is zero as
    published, gets its coordinates, and in motions their change."""
    image_scale: bool = False
    """Scale joints in pixels to their image, as PYSKL does. Joints in metres are not changed."""
    window: int | None = Field(default=None, ge=1, le=_MANY)
    """Number of shards that are shuffled together. Not set: chosen from the size of the store."""
    lanes: int | None = Field(default=None, ge=1, le=_MAX_BATCH)
    """Number of parts that the training shards are divided into. A batch takes equally many samples
    from each part, and a process reads the shards of its parts alone (docs/performance.md). Not
    set: chosen from the size of the store."""
    cache: int | None = Field(default=None, ge=0, le=_MANY * 1000)
    """MB of decoded shards that each process keeps from epoch to epoch; 0: none. Not set: a quarter
    of the free memory, divided among the processes on a machine. The result is the same."""

    @property
    def cache_bytes(self) -> int | None:
        """Limit of the decoded shards that a process keeps; None: by the memory of the machine."""
        return None if self.cache is None else self.cache * 10**6

    @model_validator(mode="after")
    def _interval_is_a_share(self) -> Self:
        low, high = self.interval
        if not 0 < low <= high <= 1:
            raise ValueError(f"interval must be 0 < low <= high <= 1, not {low:g} and {high:g}")
        return self


class OptimConfig(_Section):
    """The optimizer and the length of the training."""

    name: Literal["sgd", "adamw"] = "sgd"
    """Stochastic gradient descent with momentum, or AdamW (Loshchilov and Hutter, "Decoupled weight
    decay regularization", ICLR 2019), which scales the step of each weight by its gradients."""
    epochs: int = Field(default=150, ge=1, le=_MANY)
    """Number of passes over the training samples."""
    batch_size: int = Field(default=64, ge=2, le=_MAX_BATCH)
    """Samples of an optimizer step, over all processes and accumulated parts."""
    accumulate: int = Field(default=1, ge=1, le=_MAX_BATCH)
    """Number of parts that a batch is cut into to save memory."""
    lr: float = Field(default=0.1, gt=0)
    """Learning rate at `base_batch`. It is scaled in proportion to the batch size."""
    base_batch: int = Field(default=64, ge=1, le=_MANY)
    """Batch size that `lr` is given for."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Nesterov momentum of `sgd`; decay of the mean gradient of `adamw`."""
    weight_decay: float = Field(default=5e-4, ge=0)
    """L2 penalty of the weights with `sgd`. With `adamw`, each step multiplies the weights by 1
    minus this value times the learning rate."""
    warmup_epochs: float = Field(default=0.0, ge=0)
    """Epochs over which the learning rate rises from zero."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target that the cross-entropy spreads over all classes."""
    class_weights: bool = False
    """Weight the cross-entropy by inverse class frequency; a training sample's mean weight is 1."""
    precision: Precision = "32-true"
    """Precision of the computation, as Lightning Fabric names it. `bf16-mixed` and `16-mixed` round
    the products; coordinates, losses and weights stay float32. Not set: bf16-mixed on a GPU that
    has bfloat16, except with the official settings."""
    matmul: Literal["float32", "tf32"] = "float32"
    """Matrix products of float32 values on a GPU. tf32: round their factors to 10 bits, which is
    faster. The convolutions over time use tf32 in any case."""
    deterministic: bool = False
    """Use only operations on a GPU that give the same result each time. They are slower. On a CPU
    all operations do."""
    recompute: bool = False
    """Compute the activations of blocks again in the backward pass instead of keeping them. It
    needs less memory and about a third more time (docs/performance.md). The result is the
    same."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"accumulate={self.accumulate} must divide batch_size={self.batch_size}"
            )
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs={self.warmup_epochs:g} must be less than epochs={self.epochs}"
            )
        return self

    @property
    def scaled_lr(self) -> float:
        """The learning rate of this batch size, after warm-up and before the cosine."""
        return self.lr * self.batch_size / self.base_batch

    def lr_at(self, progress: float) -> float:
        """Learning rate when a share `progress` of all steps is done: linear warm-up, then cosine.

        Loshchilov and Hutter, "SGDR: Stochastic gradient descent with warm restarts" (ICLR 2017),
        without restarts, to zero at the end.
        """
        warm = self.warmup_epochs / self.epochs
        if progress < warm:
            return self.scaled_lr * progress / warm
        return self.scaled_lr * (1 + math.cos(math.pi * (progress - warm) / (1 - warm))) / 2


class RetrievalConfig(_Section):
    """Comparison of a sequence with known ones, for tasks that recognise by retrieval."""

    embedding: Embedding = "pooled"
    """Embedding that stands for a sequence: the pooled activations, the vector that the contrastive
    losses compare, or both; `shape`, the lengths of the body alone; or shape and one of these."""
    metric: Metric = "cosine"
    """Distance between embeddings."""
    flip: bool = False
    """Use the mean of the embeddings of a sequence and of its mirror image."""

    def changed(self, **settings: str | bool | None) -> Self:
        """The same with other settings; those that are None stay unchanged."""
        given = {name: value for name, value in settings.items() if value is not None}
        return self.model_copy(update=given)


class Config(_Section):
    """All settings that determine the final weights of a run.

    `settings = "official"` changes the defaults to those of the released code; other settings
    still override them.
    """

    recipe: str = "default"
    """Recipe that the settings come from; choose it with `--recipe`."""
    settings: Literal["default", "official"] = "default"
    """Official: the defaults are those of the released code (docs/method.md)."""
    seed: int = Field(default=0, ge=0, lt=1 << 32)
    """Seed for the initial weights, sample order and augmentation."""
    select: Select = "last"
    """Weights to keep: the last, or the best on validation or test samples."""
    task: Task = "action"
    """Actions; people by their gait, tested across views; or people in re-identification. People
    are tested by retrieval: a probe is compared with a gallery."""
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    augment: AugmentSpec = AugmentSpec()
    optim: OptimConfig = OptimConfig()
    loss: ContrastSettings = ContrastSettings()
    retrieval: RetrievalConfig = RetrievalConfig()

    @model_validator(mode="after")
    def _families_are_of_classes(self) -> Self:
        if self.task != "action" and self.loss.families.source == "val":
            raise ValueError(
                "loss.families.source=val counts confusions of held-out samples, but with "
                f"task={self.task} these show people who do not train; use source=train"
            )
        return self

    @model_validator(mode="after")
    def _lanes_divide_the_batch(self) -> Self:
        if self.optim.batch_size % (self.data.lanes or 1):
            raise ValueError(
                f"data.lanes={self.data.lanes} must divide optim.batch_size={self.optim.batch_size}"
            )
        if (self.data.lanes or 1) > 1 and self.data.per_class is not None:
            raise ValueError(
                f"data.per_class chooses the classes of a batch from all shards of a window; "
                f"use data.lanes=1, not {self.data.lanes}"
            )
        return self

    @model_validator(mode="after")
    def _embedding_is_trained(self) -> Self:
        trained = self.loss.lambda_intra > 0 or self.loss.triplet > 0
        if motion_of(self.retrieval.embedding) in ("contrastive", "both") and not trained:
            raise ValueError(
                f"retrieval.embedding={self.retrieval.embedding} is trained by the intra-class and "
                "the triplet term, but the loss has neither; use pooled, or loss.triplet=1"
            )
        return self

    @model_validator(mode="after")
    def _shape_is_of_people(self) -> Self:
        if self.task == "action" and uses_shape(self.retrieval.embedding):
            raise ValueError(
                f"retrieval.embedding={self.retrieval.embedding} compares bodies, but task=action "
                "recognises actions; use pooled, or task=gait or reid"
            )
        return self

    @model_validator(mode="after")
    def _settings_fit_the_users_code(self) -> Self:
        if self.optim.recompute and is_own(self.model.name):
            raise ValueError(
                f"optim.recompute is for aclnet's networks, but model.name is {self.model.name}; "
                "use optim.recompute=false"
            )
        smoothed = self.optim.label_smoothing > 0 or self.optim.class_weights
        if smoothed and self.loss.name != CROSS_ENTROPY:
            raise ValueError(
                "optim.label_smoothing and optim.class_weights are for the cross-entropy, but "
                f"loss.name is {self.loss.name}; use label_smoothing=0 and class_weights=false"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _fill_in_official(cls, given: Any) -> Any:  # noqa: ANN401 - whatever pydantic was given
        if not isinstance(given, dict) or given.get("settings") != "official":
            return given
        return merge({"model": {"persons": "padded"}, "loss": OFFICIAL}, given)

    def digest(self) -> str:
        """Identity of the values of the configuration, independent of their notation."""
        values = self.model_dump(
            mode="json",
            exclude={
                "settings": True,
                "model": {"size"},
                "data": {"cache"},
                "optim": {"recompute"},
                "loss": {"terms", "weight", "inter_weight", "intra_weight"},
            },
        )
        for section, name in _LATER:
            chosen = getattr(self, section)
            if getattr(chosen, name) == type(chosen).model_fields[name].default:
                # This setting did not exist for the first runs, and runs keep their names.
                del values[section][name]
        if self.loss.families.confusions == "predicted":
            del values["loss"]["families"]["confusions"]  # as above
        if self.data.lanes == 1:
            del values["data"]["lanes"]  # the first runs had one lane
        effective = [self.model.base_channels, self.loss.lambda_inter, self.loss.lambda_intra]
        text = json.dumps([values, effective], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_toml(self) -> str:
        """The configuration as `from_toml` reads it."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def build_config(
    recipe: str,
    settings: Iterable[str] = (),
    by_rule: Iterable[str] = (),
    **top: Any,  # noqa: ANN401 - values of any kind
) -> Config:
    """A configuration from a recipe, `key=value` settings (dotted keys) and top-level values.

    `by_rule` are the settings that the recipe's rule chooses (`load_recipe`).

    Values are read as TOML if possible, else as text (`loss.weight=0.2`, `data.modality=bm`).
    Values of `top` that are None are left out. These settings override the recipe's stream of the
    modality, which overrides the rest of the recipe. Raises AclnetError for an unknown key or a bad
    value, also in the stream of another modality.
    """
    values = load_recipe(recipe, _parse_settings(by_rule))
    streams = _take_streams(recipe, values)
    changes = _parse_settings(settings)
    changes |= {key: value for key, value in top.items() if value is not None}
    where = f"recipe {recipe} with its settings"
    config = validate(merge(values, changes), where)
    if config.recipe != recipe_name(recipe):
        raise AclnetError("a setting cannot change the recipe: choose it with --recipe")
    configs = {
        name: validate(merge(merge(values, stream), changes), f"{where}, streams.{name}")
        for name, stream in streams.items()
    }
    for name, other in configs.items():
        if (other.recipe, other.data.modality) != (config.recipe, config.data.modality):
            raise AclnetError(f"{where}: streams.{name} cannot change the recipe or the modality")
    return configs.get(config.data.modality, config)


def _take_streams(recipe: str, values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Removes the values that differ by modality from those of a recipe, and returns them."""
    streams = values.pop("streams", {})
    known = isinstance(streams, dict) and set(streams) <= set(MODALITIES)
    if not known or not all(isinstance(stream, dict) for stream in streams.values()):
        raise AclnetError(
            f"recipe {recipe}: streams holds tables of settings called {', '.join(MODALITIES)}, "
            f"not {shown(repr(streams))}"
        )
    return streams  # type: ignore[no-any-return]


def validate(values: dict[str, Any], where: str) -> Config:
    """The configuration of nested values; raises AclnetError with the key for a wrong value."""
    check_depth(values, where)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise AclnetError(f"{where}: {first_of(problems(error, Config), separator='; ')}") from None


def find_settings(prefix: str = "") -> list[Setting]:
    """The settings whose names begin with `prefix`; raises AclnetError if there is none."""
    known = settings_of(Config)
    found = [setting for name, setting in known.items() if name.startswith(prefix)]
    if not found:
        similar = did_you_mean(prefix, known, dotted=True)
        raise AclnetError(f"no setting begins with {shown(prefix)}{similar}")
    return found


def _parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for setting in settings:
        changes = merge(changes, _parse_setting(setting))
    return changes


def _parse_setting(setting: str) -> dict[str, Any]:
    key, separator, text = setting.partition("=")
    groups = key.strip().split(".")
    if not separator or not all(groups):
        raise AclnetError(f"--set {setting!r}: write key=value, for example optim.epochs=30")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    except (ValueError, RecursionError) as error:
        raise AclnetError(f"--set {key}: the value is not TOML: {error}") from None
    for group in reversed(groups):
        value = {group: value}
    check_depth(value, f"--set {key[:40].strip()}")
    return value  # type: ignore[no-any-return]
