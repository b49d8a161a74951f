"""Parsing of JSON."""

from __future__ import annotations

import json
from typing import Any

from aclnet.datasets.spec import DamageError


def parse_json(data: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """The content of a JSON file; raises DamageError with the line if it is not JSON."""
    if not data.strip():
        raise DamageError("the file is empty")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise DamageError(f"not JSON: {error}", line) from None
