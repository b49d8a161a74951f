"""`aclnet compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aclnet.cli import options
from aclnet.cli.console import percent, print_json, table

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("runs", type=options.PATH, nargs=-1, required=True)
@click.option(
    "--with",
    "others",
    type=options.PATH,
    multiple=True,
    required=True,
    help="A run to compare with; as many as RUNS, paired in order.",
)
@click.option("--scores", help="Name of a file in scores/. [default: of the protocol's test split]")
@options.as_json
def command(
    runs: tuple[Path, ...], others: tuple[Path, ...], scores: str | None, as_json: bool
) -> None:
    """Compare the scores of RUNS with others on the same samples, pair by pair.

    A file of scores, as `aclnet ensemble --out` writes, can stand for a run.

    The test is McNemar's, exact: of the samples that one of a pair has right and the other wrong,
    how uneven is the share? Pairs of several seeds are pooled, which takes them for independent.
    """
    from aclnet.evaluation.compare import compare
    from aclnet.runs.run import Run
    from aclnet.runs.scores import Scores

    def load(path: Path) -> Scores:
        if path.is_file():
            return Scores.load(path)
        run = Run(path)
        return Scores.load(run.scores(scores) if scores else run.test_scores)

    first, second = ([load(run) for run in side] for side in (runs, others))
    found = compare(first, second)
    if as_json:
        print_json(found)
        return
    rows = [
        [f"{a.name} - {b.name}", percent(p["first"]), percent(p["second"]), *_test(p)]
        for a, b, p in zip(runs, others, found["pairs"], strict=True)
    ]
    pooled = found["pooled"]
    rows.append(["pooled", percent(pooled["first"]), percent(pooled["second"]), *_test(pooled)])
    table(
        f"Top-1 on {found['samples']} samples",
        ["pair", "first", "second", "only first right", "only second right", "p"],
        rows,
    )


def _test(pair: dict[str, float]) -> list[str]:
    return [f"{pair['only_first']:.0f}", f"{pair['only_second']:.0f}", f"{pair['p']:.3g}"]
