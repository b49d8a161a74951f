"""Writes the keys of all JSON documents into docs/json.md, from the schemas in cli/schemas.

    python tools/json_docs.py [--check]

With --check, nothing is written, and the exit status is 1 if the file is not up to date.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
MARK = "<!-- tools/json_docs.py writes the rest of this file -->\n"


def sections() -> Iterator[str]:
    """A section per schema: its title and a table of its keys."""
    for file in sorted((ROOT / "cli" / "schemas").glob("*.json")):
        schema = json.loads(file.read_text("utf-8"))
        yield f"\n## `{schema['properties']['schema']['const']}`\n\n{schema['title']}\n"
        yield "\n| key | type | meaning |\n| --- | --- | --- |\n"
        yield from (f"| `{key}` | {kind} | {text} |\n" for key, kind, text in rows(schema))


def rows(schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Key, type and meaning of everything in an object but `schema`."""
    for key, about in schema["properties"].items():
        if key == "schema":
            continue
        kinds = about.get("type", "any")
        kind = " or ".join([kinds] if isinstance(kinds, str) else kinds)
        items = about.get("items", {})
        if items:
            kind = "array of objects" if "properties" in items else f"array of {items['type']}s"
        optional = "" if key in schema["required"] else ", optional"
        yield f"{prefix}{key}", kind + optional, about["description"].replace("|", "\\|")
        inner = items if "properties" in items else about
        if "properties" in inner:
            yield from rows(inner, f"{prefix}{key}[]." if items else f"{prefix}{key}.")


def main() -> None:
    """Writes or checks the file."""
    file = ROOT / "docs" / "json.md"
    text = file.read_text("utf-8")
    begin, mark, _ = text.partition(MARK)
    wanted = begin + mark + "".join(sections())
    if "--check" not in sys.argv:
        file.write_text(wanted, "utf-8")
    elif text != wanted:
        sys.exit("docs/json.md is not up to date: python tools/json_docs.py")


if __name__ == "__main__":
    main()
