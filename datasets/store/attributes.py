"""Attributes of a store's Zarr group, which describe the store."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from aclnet.datasets.spec import Units
from aclnet.datasets.spec.layouts import Layout
from aclnet.datasets.spec.records import Record


class StoreAttributes(Record):
    """Facts about the whole store, in the order in which they are written."""

    schema_version: int = Field(alias="schema")
    dataset: str
    """Name of the dataset, as `aclnet prepare` knows it."""
    title: str
    layout: Layout
    conversion: dict[str, list[str]]
    """Layouts that the joints went through, see `aclnet.pipelines.steps.convert.summary`."""
    coordinates: int = Field(ge=1, le=3)
    """C: coordinates of a joint."""
    units: Units
    class_names: list[str]
    cleaning: str
    """Name of the step of `aclnet.pipelines.steps.clean`, or `none`."""
    normalisation: str
    """Recipe of `aclnet.pipelines.steps.normalise`."""
    options: dict[str, Any]
    """`aclnet.pipelines.prepare.options.PrepareOptions`."""
    protocols: dict[str, dict[str, int]]
    """Samples by protocol and side, the dataset's first protocol first."""
    protocol_classes: dict[str, int]
    """How many of the classes, the first ones, take part in a protocol that has not all."""
    rejected: dict[str, int]
    """Inputs that could not be used, by kind."""
    plan: str
    """Hash of what was to be made: sources, options, recipes."""
    software: dict[str, str]
    shard_rows: int = Field(ge=1)
    """Rows of a shard of every `frames/` array."""
