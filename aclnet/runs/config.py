"""Configuration of a training run: recipes are TOML files, settings change single values."""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aclnet.datasets.spec import AclnetError, Task, first_of, shown
from aclnet.losses.settings import OFFICIAL, ContrastSettings
from aclnet.models.choices import (
    MAX_WINDOW_SCALES,
    WINDOW_SCALES,
    Feature,
    ModelName,
    Persons,
    preset_widths,
)
from aclnet.pipelines.choices import Modality
from aclnet.pipelines.inputs.augment import AugmentSpec
from aclnet.pipelines.inputs.features import MODALITIES
from aclnet.runs.choices import Embedding, Metric, Select
from aclnet.runs.recipes import check_depth, load_recipe, merge, recipe_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails

_MAX_BATCH = 65_536
_MANY = 1_000_000
"""Upper bounds refuse slips of the keyboard before they take all memory or all time: the largest
values in use are hundreds of times smaller."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelConfig(_Section):
    """The network."""

    name: ModelName = "aclnet"
    size: Literal["paper", "small", "tiny"] | Annotated[int, Field(ge=8, le=4096)] = "paper"
    """A preset, or the width of the first block."""
    feature: Feature = "topology"
    """Input of the contrastive losses; networks other than `aclnet` have no topology to offer."""
    persons: Persons = "present"
    window_scales: int = Field(default=WINDOW_SCALES, ge=1, le=MAX_WINDOW_SCALES)
    """Scales of graph convolutions over windows, of `msg3d` alone."""

    @model_validator(mode="before")
    @classmethod
    def _others_are_pooled(cls, given: Any) -> Any:  # noqa: ANN401 - whatever pydantic was given
        if not isinstance(given, dict) or given.get("name", "aclnet") == "aclnet":
            return given
        return {"feature": "pooled", **given}

    @model_validator(mode="after")
    def _has_the_feature(self) -> Self:
        if self.feature == "topology" and self.name != "aclnet":
            raise ValueError(f"feature=topology needs name=aclnet; with {self.name} use pooled")
        return self

    @property
    def base_channels(self) -> int:
        return preset_widths(self.name)[self.size] if isinstance(self.size, str) else self.size


class DataConfig(_Section):
    """What is fed to it."""

    protocol: str = ""
    """Empty: the store's first."""
    modality: Modality = "j"
    frames: int = Field(default=100, ge=1, le=65_536)
    """Frames of a clip."""
    sampling: Literal["uniform", "consecutive"] = "uniform"
    """Frames from the whole sequence, as actions want it, or frames that follow one another, as
    gait and re-identification do (`aclnet.pipelines.inputs.sampling`)."""
    interval: tuple[float, float] = (1.0, 1.0)
    """Share of the sequence that a training clip of uniform sampling is drawn from."""
    clips: int = Field(default=10, ge=1, le=10_000)
    """Clips a sequence is tested with."""
    balance: bool = False
    """Draw every class equally often."""
    per_class: int | None = Field(default=None, ge=1, le=_MAX_BATCH)
    """Compose batches of classes with so many samples of each, for losses that compare samples of a
    batch, as the triplet term; empty: of samples at random."""
    motion: Literal["next", "timed", "sampled"] = "next"
    """End of a motion: the next frame that the recording has (the released code, 3-D data);
    the same, per frame of time where frames between are missing; or the next frame sampled (the
    released code, 2-D data)."""
    short_clips: Literal["random", "spread"] = "random"
    """Where a uniform test clip of a sequence with fewer frames begins: as the released code does
    it with 3-D data, or with 2-D data."""
    score: bool = True
    """The confidence of each joint is one channel more, where the store has it."""
    window: int | None = Field(default=None, ge=1, le=_MANY)
    """Shards that are shuffled together; empty: chosen from the store's size."""

    @model_validator(mode="after")
    def _interval_is_a_share(self) -> Self:
        low, high = self.interval
        if not 0 < low <= high <= 1:
            raise ValueError(f"interval must be 0 < low <= high <= 1, not {low:g} and {high:g}")
        return self


class OptimConfig(_Section):
    """How it is trained."""

    epochs: int = Field(default=150, ge=1, le=_MANY)
    batch_size: int = Field(default=64, ge=2, le=_MAX_BATCH)
    """Samples an optimizer step, over all processes and accumulated parts."""
    accumulate: int = Field(default=1, ge=1, le=_MAX_BATCH)
    """Parts a batch is cut into to save memory."""
    lr: float = Field(default=0.1, gt=0)
    """Learning rate at `base_batch`; scaled in proportion to the batch size."""
    base_batch: int = Field(default=64, ge=1, le=_MANY)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    warmup_epochs: float = Field(default=0.0, ge=0)
    """Epochs over which the learning rate rises from zero."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    class_weights: bool = False
    """Weight the cross-entropy by inverse class frequency; a training sample's mean weight is 1."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    recompute: bool = False
    """Activations of blocks are computed again in the backward pass instead of kept: less memory,
    about a third more time (docs/performance.md); the same numbers."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"accumulate={self.accumulate} parts must divide batch_size={self.batch_size}"
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
    """How a sequence is compared with known ones, where that is how it is recognised."""

    embedding: Embedding = "pooled"
    """What stands for it."""
    metric: Metric = "cosine"
    flip: bool = False
    """The mean of the embeddings of a sequence and of its mirror image."""

    def changed(self, **settings: str | bool | None) -> Self:
        """The same with other settings, of which None is left out."""
        given = {name: value for name, value in settings.items() if value is not None}
        return self.model_copy(update=given)


class Config(_Section):
    """Everything that decides the weights a run ends with.

    `settings = "official"` changes the defaults to those of the released code; what is set beside
    it still holds.
    """

    recipe: str = "default"
    settings: Literal["default", "official"] = "default"
    seed: int = Field(default=0, ge=0, lt=1 << 32)
    select: Select = "last"
    """Which weights are the result."""
    task: Task = "action"
    """What is recognised: actions; people by their gait, tested across views; people again
    (re-identification). People are tested by retrieval: who of a gallery is nearest to a probe?"""
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
                "loss.families.source=val counts confusions of held-out samples, and with "
                f"task={self.task} these are of people who do not train; use source=train"
            )
        return self

    @model_validator(mode="after")
    def _embedding_is_trained(self) -> Self:
        trained = self.loss.lambda_intra > 0 or self.loss.triplet > 0
        if self.retrieval.embedding != "pooled" and not trained:
            raise ValueError(
                f"retrieval.embedding={self.retrieval.embedding} is what the intra-class and the "
                "triplet term train, and neither is in the loss; use pooled, or loss.triplet=1"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _fill_in_official(cls, given: Any) -> Any:  # noqa: ANN401 - whatever pydantic was given
        if not isinstance(given, dict) or given.get("settings") != "official":
            return given
        return merge({"model": {"persons": "padded"}, "loss": OFFICIAL}, given)

    def digest(self) -> str:
        """Identity of what the configuration comes to, in whatever words it was given."""
        values = self.model_dump(
            mode="json",
            exclude={
                "settings": True,
                "model": {"size"},
                "optim": {"recompute"},
                "loss": {"terms", "weight", "inter_weight", "intra_weight"},
            },
        )
        for name, value in (("name", "aclnet"), ("window_scales", WINDOW_SCALES)):
            if values["model"][name] == value:
                # from before this setting was there: runs keep their names
                del values["model"][name]
        effective = [self.model.base_channels, self.loss.lambda_inter, self.loss.lambda_intra]
        text = json.dumps([values, effective], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_toml(self) -> str:
        """The configuration as `from_toml` reads it."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def build_config(recipe: str, settings: Iterable[str] = (), **top: Any) -> Config:  # noqa: ANN401
    """A configuration from a recipe, `key=value` settings (dotted keys) and top-level values.

    Values are read as TOML where they are, else as text (`loss.weight=0.2`, `data.modality=bm`).
    Of `top`, None is left out. What is given here wins over what the recipe says of the
    modality's stream, and that over the rest of the recipe. AclnetError on an unknown key or a bad
    value, be it of another modality's stream.
    """
    values = load_recipe(recipe)
    streams = _take_streams(recipe, values)
    changes: dict[str, Any] = {}
    for setting in settings:
        changes = merge(changes, _parse_setting(setting))
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
    """What of a recipe's values differs by modality, taken out of them."""
    streams = values.pop("streams", {})
    known = isinstance(streams, dict) and set(streams) <= set(MODALITIES)
    if not known or not all(isinstance(stream, dict) for stream in streams.values()):
        raise AclnetError(
            f"recipe {recipe}: streams holds tables of settings called {', '.join(MODALITIES)}, "
            f"not {shown(repr(streams))}"
        )
    return streams  # type: ignore[no-any-return]


def validate(values: dict[str, Any], where: str) -> Config:
    """The configuration of nested values; AclnetError that names the key otherwise."""
    check_depth(values, where)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        problems = list(map(_problem, error.errors(include_url=False)))
        raise AclnetError(f"{where}: {first_of(problems, separator='; ')}") from None


def _problem(error: ErrorDetails) -> str:
    names = list(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return (
            f"there is no {shown('.'.join(names))}; known: {', '.join(_known(error['loc'][:-1]))}"
        )
    # not the member of a union that was tried, as `constrained-int`
    key = ".".join(filter(str.isidentifier, names))
    message = error["msg"].removeprefix("Value error, ")
    given = error["input"]
    return f"{key}: {message}" + ("" if isinstance(given, dict) else f", not {shown(repr(given))}")


def _known(section: tuple[int | str, ...]) -> list[str]:
    """Keys of a section of the configuration."""
    model: type[BaseModel] = Config
    for name in section:
        model = model.model_fields[str(name)].annotation  # type: ignore[assignment]
    prefix = "".join(f"{name}." for name in section)
    return [f"{prefix}{name}" for name in model.model_fields]


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
