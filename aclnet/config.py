"""Configuration of a training run: recipes are TOML files, settings change single values."""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aclnet.datasets.errors import AclnetError
from aclnet.losses import ContrastSettings
from aclnet.pipelines.augment import AugmentSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails

Modality = Literal["j", "b", "k", "jm", "bm", "km"]
PRESETS = {"paper": 96, "small": 32, "tiny": 16}
"""Base widths of the network."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelConfig(_Section):
    """The network."""

    size: Literal["paper", "small", "tiny"] = "paper"
    feature: Literal["topology", "pooled"] = "topology"
    persons: Literal["present", "padded"] = "present"

    @property
    def base_channels(self) -> int:
        return PRESETS[self.size]


class DataConfig(_Section):
    """What is fed to it."""

    protocol: str = ""
    """Empty: the store's first."""
    modality: Modality = "j"
    frames: int = Field(default=100, ge=1)
    """Frames of a clip."""
    interval: tuple[float, float] = (1.0, 1.0)
    """Share of the sequence that a training clip is drawn from."""
    clips: int = Field(default=10, ge=1)
    """Clips a sequence is tested with."""
    balance: bool = False
    """Draw every class equally often."""
    window: int | None = Field(default=None, ge=1)
    """Shards that are shuffled together; empty: chosen from the store's size."""

    @model_validator(mode="after")
    def _interval_is_a_share(self) -> Self:
        low, high = self.interval
        if not 0 < low <= high <= 1:
            raise ValueError(f"interval must be 0 < low <= high <= 1, not {low:g} and {high:g}")
        return self


class OptimConfig(_Section):
    """How it is trained."""

    epochs: int = Field(default=150, ge=1)
    batch_size: int = Field(default=64, ge=2)
    """Samples an optimiser step, over all processes and accumulated parts."""
    accumulate: int = Field(default=1, ge=1)
    """Parts a batch is cut into to save memory."""
    lr: float = Field(default=0.1, gt=0)
    """Learning rate at `base_batch`; scaled in proportion to the batch size."""
    base_batch: int = Field(default=64, ge=1)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    warmup_epochs: float = Field(default=0.0, ge=0)
    """Epochs over which the learning rate rises from zero."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    class_weights: bool = False
    """Weight the cross-entropy by inverse class frequency; a training sample's mean weight is 1."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"

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


class Config(_Section):
    """Everything that decides the weights a run ends with."""

    recipe: str = "default"
    seed: int = Field(default=0, ge=0, lt=1 << 32)
    select: Literal["last", "val", "test"] = "last"
    """Which weights are the result: the last, or the best on held-out training data or on test."""
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    augment: AugmentSpec = AugmentSpec()
    optim: OptimConfig = OptimConfig()
    loss: ContrastSettings = ContrastSettings()

    def digest(self) -> str:
        """Identity of the configuration."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_toml(self) -> str:
        """The configuration as `from_toml` reads it."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def load_recipe(name_or_file: str) -> dict[str, Any]:
    """A shipped recipe by name, or one from a TOML file, with what it extends merged in.

    A recipe may say `extends = "other"`, a name or a file beside it; its own values win.
    AclnetError on an unknown recipe, on what is not TOML, and on recipes that extend one another.
    """
    return {**_load(name_or_file, ()), "recipe": recipe_name(name_or_file)}


def recipe_name(name_or_file: str) -> str:
    """What runs of a recipe are called."""
    return Path(name_or_file).name.removesuffix(".toml")


def _load(name_or_file: str, extended_by: tuple[str, ...]) -> dict[str, Any]:
    if name_or_file in extended_by:
        raise AclnetError(f"recipes extend one another: {' > '.join((*extended_by, name_or_file))}")
    try:
        values = tomllib.loads(_recipe_text(name_or_file))
    except ValueError as error:
        raise AclnetError(f"recipe {name_or_file} is not TOML: {error}") from None
    parent = values.pop("extends", None)
    if parent is None:
        return values
    if not isinstance(parent, str):
        raise AclnetError(f"recipe {name_or_file}: extends must be one name or file")
    if parent.endswith(".toml"):
        parent = str(Path(name_or_file).parent / parent)
    return _merge(_load(parent, (*extended_by, name_or_file)), values)


def _recipe_text(name_or_file: str) -> str:
    if name_or_file.endswith(".toml"):
        try:
            return Path(name_or_file).read_text(encoding="utf-8")
        except OSError as error:
            raise AclnetError(
                f"recipe file {name_or_file} cannot be read: {error.strerror}"
            ) from None
    shipped = files("aclnet.recipes")
    entry = shipped / f"{name_or_file}.toml"
    if not entry.is_file():
        known = sorted(f.name[:-5] for f in shipped.iterdir() if f.name.endswith(".toml"))
        raise AclnetError(
            f"unknown recipe {name_or_file!r}; known: {', '.join(known)}, or a .toml file"
        )
    return entry.read_text(encoding="utf-8")


def default_recipe(dataset: str) -> str:
    """The recipe of a dataset, `default` where there is none of its name."""
    return dataset if (files("aclnet.recipes") / f"{dataset}.toml").is_file() else "default"


def build_config(recipe: str, settings: Iterable[str] = (), **top: Any) -> Config:  # noqa: ANN401
    """A configuration from a recipe, `key=value` settings (dotted keys) and top-level values.

    Values are read as TOML where they are, else as text (`loss.inter_weight=0.2`,
    `data.modality=bm`). Of `top`, None is left out. AclnetError on an unknown key or a bad value.
    """
    values = load_recipe(recipe)
    for setting in settings:
        values = _merge(values, _parse_setting(setting))
    values |= {key: value for key, value in top.items() if value is not None}
    if values["recipe"] != recipe_name(recipe):
        raise AclnetError("a setting cannot change the recipe: choose it with --recipe")
    return validate(values, f"recipe {recipe} with its settings")


def validate(values: dict[str, Any], where: str) -> Config:
    """The configuration of nested values; AclnetError that names the key otherwise."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(map(_problem, error.errors(include_url=False)))
        raise AclnetError(f"{where}: {problems}") from None


def _problem(error: ErrorDetails) -> str:
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"there is no {key}; known: {', '.join(_known(error['loc'][:-1]))}"
    message = error["msg"].removeprefix("Value error, ")
    given = error["input"]
    return f"{key}: {message}" + ("" if isinstance(given, dict) else f", not {given!r}")


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
    for group in reversed(groups):
        value = {group: value}
    return value  # type: ignore[no-any-return]


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        nested = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merge(old, value) if nested else value  # type: ignore[arg-type]
    return merged
