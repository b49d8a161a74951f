"""Links and mentions in Markdown lead to files and headings; the site has every page."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
ADDED = {"changelog.md", "contributing.md", "datasets.md"}
"""Pages of the site that tools/docs_site.py adds from files at the top."""


def prose(file: Path) -> str:
    """The text of a Markdown file without blocks of code."""
    return re.sub(r"^```.*?^```$", "", file.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(file: Path) -> set[str]:
    """The anchors of the headings: lower case, no punctuation, hyphens for spaces."""
    headings = re.findall(r"^#+ (.*)$", prose(file), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(file):
    text = re.sub(r"`[^`\n]*`", "", prose(file))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (file.parent / path).resolve() if path else file
        assert found.is_file(), target
        assert found.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(found), target


def test_every_page_that_is_mentioned_exists():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py", "*.md", "*.toml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    files = [ROOT / line for line in listed.stdout.splitlines() if not line.startswith("tests/")]
    if not files:
        pytest.skip("not a checkout of git")
    for file in filter(Path.is_file, files):
        for page in re.findall(r"\bdocs/[\w/-]+\.md\b", file.read_text("utf-8")):
            if page != "docs/NAME.md":
                assert (ROOT / page).is_file(), f"{file} mentions {page}"


def test_the_navigation_of_the_site_has_every_page():
    nav = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r"([\w/-]+\.md)$", nav, re.MULTILINE)
    written = {file.relative_to(ROOT / "docs").as_posix() for file in (ROOT / "docs").rglob("*.md")}
    assert len(listed) == len(set(listed))
    assert {*listed} == written | ADDED
