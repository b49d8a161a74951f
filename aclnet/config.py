"""Configuration of a training run: recipes are TOML files, settings change single values."""

from __future__ import annotations

import hashlib
import json
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aclnet.datasets.errors import AclnetError
from aclnet.losses import ContrastSettings
from aclnet.pipelines.augment import AugmentSpec

Modality = Literal["j", "b", "k", "jm", "bm", "km"]
PRESETS = {"paper": 96, "small": 32, "tiny": 16}
"""Base widths of the network."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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
    warmup_epochs: float = Field(default=0, ge=0)
    """Epochs over which the learning rate rises from zero."""
    label_smoothing: float = Field(default=0, ge=0, lt=1)
    class_weights: bool = False
    """Weight the cross-entropy by inverse class frequency."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"

    @property
    def scaled_lr(self) -> float:
        return self.lr * self.batch_size / self.base_batch


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

    A recipe may say `extends = "other"`; its own values win.
    """
    if name_or_file.endswith(".toml"):
        path = Path(name_or_file)
        if not path.is_file():
            raise AclnetError(f"recipe file {path} is not there")
        text, where = path.read_text(), name_or_file
    else:
        shipped = files("aclnet.recipes")
        entry = shipped / f"{name_or_file}.toml"
        if not entry.is_file():
            known = sorted(f.name[:-5] for f in shipped.iterdir() if f.name.endswith(".toml"))
            raise AclnetError(
                f"unknown recipe {name_or_file!r}; known: {', '.join(known)}, or a .toml file"
            )
        text, where = entry.read_text(), f"recipe {name_or_file}"
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise AclnetError(f"{where} is not TOML: {error}") from None
    parent = values.pop("extends", None)
    merged = _merge(load_recipe(parent), values) if parent else values
    return {**merged, "recipe": Path(name_or_file).stem}


def default_recipe(dataset: str) -> str:
    """The recipe of a dataset, `default` where there is none of its name."""
    return dataset if (files("aclnet.recipes") / f"{dataset}.toml").is_file() else "default"


def build_config(recipe: str, settings: list[str] | None = None, **top: Any) -> Config:  # noqa: ANN401
    """A configuration from a recipe, `key=value` settings (dotted keys) and top-level values.

    Values are read as TOML (`loss.inter_weight=0.2`, `data.modality=bm`); AclnetError on an
    unknown key or a bad value.
    """
    values = load_recipe(recipe)
    for setting in settings or []:
        values = _merge(values, _parse_setting(setting))
    return validate({**values, **{k: v for k, v in top.items() if v is not None}}, recipe)


def validate(values: dict[str, Any], where: str) -> Config:
    """The configuration of nested values; AclnetError that names the key otherwise."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise AclnetError(f"configuration {where}: {problems}") from None


def _parse_setting(setting: str) -> dict[str, Any]:
    key, separator, text = setting.partition("=")
    if not separator or not key:
        raise AclnetError(f"--set {setting!r}: write key=value, for example optim.epochs=30")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    nested: dict[str, Any] = {}
    *groups, last = key.strip().split(".")
    inner = nested
    for group in groups:
        inner = inner.setdefault(group, {})
    inner[last] = value
    return nested


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        nested = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merge(old, value) if nested else value  # type: ignore[arg-type]
    return merged
