"""Attributes of a store's Zarr group, which describe the store."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from aclnet.datasets.spec import Units
from aclnet.datasets.spec.layouts import Layout
from aclnet.datasets.spec.records import Record


class Part(Record):
    """The part of a preparation that a store is, see `aclnet prepare --shards`."""

    number: int = Field(ge=1)
    """Number of the part, from 1."""
    of: int = Field(ge=1)
    """Number of parts."""
    plan: str
    """Hash of the whole preparation."""
    published: dict[str, int]
    """Number of samples of each `protocol/side` of the complete dataset, where it is published."""

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


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
    """Name of the normalisation, see `aclnet.pipelines.steps.normalise`."""
    options: dict[str, Any]
    """Options of the preparation, see `aclnet.pipelines.prepare.options.PrepareOptions`."""
    protocols: dict[str, dict[str, int]]
    """Number of samples by protocol and side, the dataset's first protocol first."""
    protocol_classes: dict[str, int]
    """Number of classes, from the first, of each protocol that does not have all classes."""
    rejected: dict[str, int]
    """Inputs that could not be used, by kind."""
    plan: str
    """Hash of what determines the store: sources, options, recipes."""
    software: dict[str, str]
    shard_rows: int = Field(ge=1)
    """Number of rows in a shard of every `frames/` array."""
    part: Part | None = None
    """None: the store is a whole preparation."""
