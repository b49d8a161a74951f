"""Hooks of MkDocs: pages from outside docs/, pages from code, and links between all of them.

`mkdocs.yml` names this file. The Markdown files are written for readers of the repository: a link
leads to a file by its path, and running text names a page as `docs/NAME.md`. Both become links to
pages of the site here.
"""

from __future__ import annotations

import html
import inspect
import json
import logging
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
from mkdocs.structure.files import File

from aclnet.cli.main import GROUPS, cli
from aclnet.runs.config import find_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
OUTSIDE = {
    "DATA.md": "datasets.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",
}
"""Files at the top of the repository, and the pages of the site that stand for them."""

_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")
_MENTION = re.compile(
    r"(?P<kept><(?P<tag>a|pre|title|h\d)\b.*?</(?P=tag)>|<[^>]*>)"
    r"|(?P<page>\bdocs/[\w/-]+\.md|(?<!/)\b(?:DATA|CHANGELOG|CONTRIBUTING)\.md)",
    re.DOTALL,
)
_log = logging.getLogger("mkdocs.plugins.docs_site")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are not in docs/, and the examples as files to download."""
    for name, page in OUTSIDE.items():
        if page != "index.md":
            files.append(File.generated(config, page, content=(ROOT / name).read_text("utf-8")))
    for example in sorted((ROOT / "examples").glob("*.py")):
        path = example.relative_to(ROOT).as_posix()
        files.append(File.generated(config, path, content=example.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Adds what comes from code, and makes links to pages of links to files of the repository."""
    here = posixpath.dirname(_repository_path(page.file.src_uri))

    def to_page(match: re.Match[str]) -> str:
        return _relative(_site_path(posixpath.normpath(posixpath.join(here, match[1]))), page)

    parts = re.split(r"(^```.*?^```$|`[^`\n]+`)", markdown, flags=re.DOTALL | re.MULTILINE)
    written = "".join(part if n % 2 else _LINK.sub(to_page, part) for n, part in enumerate(parts))
    return written + _FROM_CODE.get(page.file.src_uri, str)()


def on_page_content(content: str, page: Page, files: Files, **_: object) -> str:
    """Makes a link of each mention of a page, for example in a help text or a docstring."""

    def linked(match: re.Match[str]) -> str:
        if match["kept"]:
            return match[0]
        target = files.get_file_from_path(_site_path(match["page"]))
        if target is None:
            _log.warning("%s mentions %s, which is not a page", page.file.src_uri, match["page"])
            return match[0]
        if target is page.file:
            return match[0]
        return f'<a href="{target.url_relative_to(page.file)}">{match[0]}</a>'

    return _MENTION.sub(linked, content)


def commands() -> str:
    """The help texts of all commands, in the groups of `aclnet --help`."""
    lines = [""]
    for heading, group in GROUPS.items():
        lines += [f"## {heading}", ""]
        for name in group:
            lines += [*_command(name), ""]
    return "\n".join(lines)


def _command(name: str) -> Iterator[str]:
    """The help text of a command: usage, description and a table of its options."""
    context = click.Context(cli, info_name="aclnet")
    command = cli.get_command(context, name)
    assert command
    context = click.Context(command, context, name)
    usage = " ".join(command.collect_usage_pieces(context))
    yield from (f"### `aclnet {name}`", "", "```text", f"aclnet {name} {usage}", "```", "")
    yield _escaped(inspect.cleandoc(command.help or ""))
    yield from ("", "| option | meaning |", "|---|---|")
    for option in command.get_params(context):
        record = option.get_help_record(context)
        if record and isinstance(option, click.Option) and "--help" not in option.opts:
            yield _row(f"`{record[0]}`", _escaped(" ".join(record[1].split())))


def settings() -> str:
    """All settings, a table for each section of the configuration."""
    lines = []
    section = None
    for setting in find_settings(""):
        if section != (section := setting.name.rpartition(".")[0]):
            lines += ["", f"## {section or 'Run'}", ""]
            lines += ["| name | values | default | meaning |", "|---|---|---|---|"]
        default = "not set" if setting.default is None else f"`{json.dumps(setting.default)}`"
        lines.append(_row(f"`{setting.name}`", setting.values, default, _escaped(setting.meaning)))
    return "\n".join([*lines, ""])


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Text whose only Markdown is code between backticks."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(
        part if n % 2 else re.sub(r"([\\*_{}\[\]#|])", r"\\\1", html.escape(part, quote=False))
        for n, part in enumerate(parts)
    )


_FROM_CODE = {"reference/commands.md": commands, "reference/settings.md": settings}
"""Pages that continue with what comes from code."""


def _repository_path(page: str) -> str:
    """Path in the repository of a page of the site."""
    outside = {page: name for name, page in OUTSIDE.items() if page != "index.md"}
    return outside.get(page, f"docs/{page}")


def _site_path(path: str) -> str:
    """Path in the site of a file of the repository."""
    return OUTSIDE.get(path, path.removeprefix("docs/"))


def _relative(path: str, page: Page) -> str:
    return posixpath.relpath(path, posixpath.dirname(page.file.src_uri) or ".")
