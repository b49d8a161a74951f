"""The check of the JSON documents that commands print."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMAS = {
    file.name.removesuffix(".json"): Draft202012Validator(json.loads(file.read_text("utf-8")))
    for file in (files("aclnet.cli") / "schemas").iterdir()
}
"""Schemas of the documents that commands print, by name."""


def check_json(text: str) -> None:
    """Fails if a text is not exactly one document that fits the schema that it names."""
    document = json.loads(text, parse_constant=pytest.fail)
    name, _, version = document["schema"].removeprefix("aclnet.").partition("/")
    assert version.isdigit()
    SCHEMAS[name].validate(document)
    wrong = [key for key in _keys(document) if not re.fullmatch(r"[a-z][a-z0-9_]*", key)]
    assert not wrong, "keys are in snake_case"


def _keys(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _keys(inner)
