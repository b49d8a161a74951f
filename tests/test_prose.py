"""Texts for users and readers follow the project's rules for prose, as far as patterns can see.

`RULES` applies to every sentence: pages, help texts, messages and docstrings. `LABEL` applies to
texts that describe one thing: they begin with a verb or a noun phrase and end with a full stop.
"""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
import pytest

from aclnet.cli.main import COMMANDS, cli
from aclnet.runs.config import Config
from aclnet.runs.settings import settings_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FOLDERS = ("aclnet", "cli", "datasets", "pipelines", "benchmarks", "tools", "examples")

MAX_WORDS = 40
"""Largest number of words of a sentence on a page; most sentences have fewer than 20."""
MAX_LABEL = 45
"""Largest number of words of a help text or a description."""
QUESTION_WORDS = "Who|Whose|Whom|What|Which|When|Where|Why|How"
COUNTED = (
    "bytes|clips|epochs|files|frames|joints|lines|MB|minutes|rows|samples|sequences|steps|windows"
)
UNITS = (
    "batch|class|clip|core|day|device|epoch|file|frame|joint|line|machine|minute|node|person|"
    "process|recording|row|run|sample|second|sequence|shard|step|window"
)

RULES = {
    "inverted opening": rf"^(Of|{QUESTION_WORDS}) (?!.*\?$)",
    "inverted order": r"\b(Only then|Nor|Neither|Never|So) (can|do|does|is|are|may|must|will)\b",
    "of which": r"\bof wh(ich|om)\b",
    "pronoun without a noun": r"\b(that|those|this) (which|whom|what) ",
    "litotes": r"\bnot (un|in)(common|known|likely|usual)\b|\bnot told apart\b",
    "a for per": rf"\b({COUNTED}) an? ({UNITS})\b",
    "each at the end": r"\ban? (array|bar|cell|column|file|folder|line|module|row|run|task) each\b",
    "unusual word": r"\b(anew|hence|hitherto|lest|mend|mended|mends|suffice|suffices|thereby|"
    r"therein|thereof|thereupon|thus|untold|upon|whence|whereas|wherein)\b",
    "unusual phrase": r"\b(as of|beyond all|for ever|gone through|in one go|is due|lies about|"
    r"made up(?! to)|of one's own|of then|save for|sound file|the like|to be had|to be told)\b",
    "resume": r"\b(going|go|goes|went) on\b",
    "exists": r"\b(is|are|was|were) there already\b",
    "not a": r"(?<![Tt]here )\b(is|was) no (?!longer|more|such|better|\W)\w+",
}
"""Patterns that no sentence may have."""
ANY = re.compile("|".join(RULES.values()).replace("^", ""))
"""A quick test of a whole text: most texts match no rule in any place."""

LABEL = {
    "opening": rf"^(Of|As|For|By|That|Those|It|Its|If|Whether|{QUESTION_WORDS})\b",
    "no capital letter": r"^[a-z]",
    "no full stop": r"[^.\]`]$",
    "question": r"\?",
}
"""Patterns that no help text and no description may have."""

DOCSTRING_OPENING = r"(Of|As|For|By|With|Whether|Who|What) "
"""Openings that no docstring may have."""

ALLOWED = {
    "Which file do I have?": "the question that brings a reader to the page",
    "m: metres; px: pixels.": "values, which have small letters",
    "usage: the command line is wrong;": "values, which have small letters",
}
"""Beginnings of texts that break a rule for a reason."""


class Text(NamedTuple):
    """A text, and its place for messages."""

    place: str
    text: str


def problems(text: str) -> list[str]:
    """The rules that sentences of a text break, with the sentences."""
    text = " ".join(text.split())
    if not ANY.search(text):
        return []
    return [
        f"{name}: {sentence}"
        for sentence in sentences(text)
        if not sentence.startswith(tuple(ALLOWED))
        for name, rule in RULES.items()
        if re.search(rule, sentence)
    ]


def label_problems(text: str) -> list[str]:
    """The rules that a help text or a description breaks."""
    if text.startswith(tuple(ALLOWED)):
        return []
    found = [f"{name}: {text}" for name, rule in LABEL.items() if re.search(rule, text)]
    return found + too_long(text, MAX_LABEL) + problems(text)


def too_long(text: str, most: int) -> list[str]:
    """The problem of a text with more than `most` words, if it has more."""
    return [f"more than {most} words: {text}"] if len(text.split()) > most else []


def sentences(text: str) -> list[str]:
    """The sentences of a text; code in them is replaced by a word."""
    text = re.sub(r"`[^`]*`", "`code`", text)
    text = re.sub(r"\]\([^)]*\)", "]", " ".join(text.split()))
    return re.split(r"(?<=[.!?:])[\")*]* (?=[\"(*]*[A-Z`\d]|aclnet\b)", text.strip())


@cache
def help_texts() -> list[Text]:
    """Summaries of the commands, and the help of all commands and options."""
    found = [Text(f"aclnet --help, {name}", text) for name, text in COMMANDS.items()]
    for name in ("", *COMMANDS):
        command = cli.get_command(click.Context(cli), name) if name else cli
        assert command is not None
        place = f"aclnet {name}".strip()
        found.append(Text(place, " ".join((command.help or "").split("\n\n")[0].split())))
        found.extend(
            Text(f"{place} {'/'.join(option.opts)}", option.help or "")
            for option in command.params
            if isinstance(option, click.Option)
        )
    return found


def labels() -> Iterator[Text]:
    """Texts that describe one thing: commands, options, keys of JSON documents, settings."""
    yield from help_texts()
    for file in sorted((ROOT / "cli" / "schemas").glob("*.json")):
        for text in descriptions(json.loads(file.read_text("utf-8"))):
            yield Text(file.name, text)
    for name, setting in settings_of(Config).items():
        yield Text(name, setting.meaning)


def descriptions(schema: dict) -> Iterator[str]:
    """Titles and descriptions in a JSON schema."""
    for key, value in schema.items():
        if isinstance(value, dict):
            yield from descriptions(value)
        elif key in ("title", "description"):
            yield value


def plain(page: Path) -> str:
    """A page without fenced blocks and HTML comments."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)


def paragraphs(page: Path) -> Iterator[str]:
    """The paragraphs and list items of a page, without headings and tables."""
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", plain(page)):
        lines = [line for line in block.splitlines() if not re.match(r"\s*(\||#|:::)", line)]
        yield re.sub(r"^\s*([-*]|\d+\.) ", "", "\n".join(lines))


def cells(page: Path) -> Iterator[str]:
    """The cells of a page's tables."""
    for line in plain(page).splitlines():
        if line.startswith("|"):
            yield from (cell.strip() for cell in re.sub(r"`[^`]*`", "`code`", line).split("|"))


@cache
def source_texts(file: Path) -> tuple[list[Text], list[Text]]:
    """Docstrings of a module, and its other texts of several words."""
    docstrings, others = [], []
    for parent in ast.walk(ast.parse(file.read_text("utf-8"))):
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    part.value if isinstance(part, ast.Constant) else "_" for part in node.values
                ]
                text, texts = "".join(map(str, parts)), others
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text, texts = node.value, docstrings if isinstance(parent, ast.Expr) else others
            else:
                continue
            if texts is docstrings or text.count(" ") > 1:
                texts.append(Text(f"{file.relative_to(ROOT)}:{node.lineno}", text))
    return docstrings, others


def modules() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from sorted((ROOT / folder).rglob("*.py"))


def report(found: Iterable[tuple[str, list[str]]]) -> None:
    """Fails with all problems at once."""
    lines = [f"{place}: {problem}" for place, problems in found for problem in problems]
    assert not lines, "\n".join(["", *lines])


def test_help_texts_and_descriptions_start_with_a_verb_or_a_noun_and_end_with_a_full_stop():
    report((label.place, label_problems(label.text)) for label in labels() if label.text)


def test_every_option_has_a_help_text():
    assert [text.place for text in help_texts() if not text.text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_have_short_sentences_in_the_usual_order(page):
    texts = [*paragraphs(page)]
    found = [problem for text in [*texts, *cells(page)] for problem in problems(text)]
    for text in texts:
        for sentence in sentences(text):
            found += too_long(sentence, MAX_WORDS)
    report([(page.name, found)])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_headings_are_noun_phrases_or_tasks(page):
    headings = re.findall(r"^#+ (.*)$", plain(page), re.MULTILINE)
    wrong = [heading for heading in headings if re.match(rf"({QUESTION_WORDS}|Of) ", heading)]
    assert [heading for heading in wrong if heading not in ALLOWED] == []


@pytest.mark.slow
def test_messages_and_docstrings_have_the_usual_order():
    texts = (text for file in modules() for texts in source_texts(file) for text in texts)
    report((text.place, problems(text.text)) for text in texts)


def test_docstrings_of_tests_have_the_usual_order():
    """They are found without parsing the files, which is much faster."""
    report(
        (str(file.relative_to(ROOT)), problems(text))
        for file in sorted((ROOT / "tests").rglob("*.py"))
        for text in re.findall(r'"""(.*?)"""', file.read_text("utf-8"), re.DOTALL)
    )


def test_docstrings_begin_with_a_verb_or_a_noun_and_end_with_a_full_stop():
    for file in modules():
        for place, text in source_texts(file)[0]:
            first = text.split("\n\n")[0].strip()
            assert re.search(r"[.:`)]$", first), place
            assert not re.match(DOCSTRING_OPENING, first), f"{place}: {first}"


@pytest.mark.parametrize(
    "bad",
    [
        "Of actions: accuracy and classes.",
        "Who is further is unknown.",
        "What they train on is for you to say.",
        "Only then can the run be read.",
        "Arrays of which some are missing.",
        "The difference is not unlikely.",
        "Rates are in sequences a second.",
        "Writes three tables, a file each.",
        "Start anew with another folder.",
        "The same command goes on where it stopped.",
        "The folder is there already.",
        "It is no run of aclnet.",
    ],
)
def test_a_sentence_that_breaks_a_rule_is_found(bad):
    assert problems(f"Good sentence. {bad}")


@pytest.mark.parametrize(
    "bad",
    [
        "As optim.epochs=30.",
        "Of weights, order and augmentation.",
        "Whether to align.",
        "seed for the weights.",
        "Seed for the weights",
        "Use this device?",
        "Word " * 46 + "end.",
    ],
)
def test_a_label_that_breaks_a_rule_is_found(bad):
    assert label_problems(bad)


@pytest.mark.parametrize(
    "good",
    [
        "Seed for the initial weights, sample order and augmentation.",
        "Override a setting, for example optim.epochs=30. May be repeated.",
        "Clips per sequence. [default: the run's]",
        "Distance threshold. Matches farther than this are reported as unknown.",
    ],
)
def test_good_labels_pass(good):
    assert label_problems(good) == []
