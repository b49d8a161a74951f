"""Builds `.typing/aclnet`, a tree of links to the packages at their import paths.

Setuptools maps the top-level folders into the namespace `aclnet`. Type checkers do not follow this
mapping; through the links they see every file.
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
