"""JSON out of bytes."""

from __future__ import annotations

import json
from typing import Any

from aclnet.datasets.spec import DamageError


def parse_json(data: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """The content of a file; DamageError with the line where it is not JSON."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise DamageError(f"not JSON: {error}", line) from None
