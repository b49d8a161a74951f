"""Builds `.typing/aclnet`, a tree of links that shows the packages where they are imported from.

The top-level folders are mapped into the namespace `aclnet` by setuptools, which type checkers do
not follow; through the links they see every file.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> None:
    target = ROOT / ".typing" / "aclnet"
    target.mkdir(parents=True, exist_ok=True)
    wanted = {entry.name: entry for entry in (ROOT / "aclnet").iterdir() if entry.name[0] != "_"}
    wanted["__init__.py"] = ROOT / "aclnet" / "__init__.py"
    wanted |= {name: ROOT / name for name in ("datasets", "pipelines", "cli")}
    for link in target.iterdir():
        link.unlink()
    for name, entry in wanted.items():
        (target / name).symlink_to(entry)


if __name__ == "__main__":
    main()
