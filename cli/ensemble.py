"""`aclnet ensemble`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import click

from aclnet.cli import options
from aclnet.cli.console import percent, print_json, screen, table

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

_SHOWN = 5
"""Classes that win, and that lose, in the table on the screen."""


@click.command()
@click.argument("runs", nargs=-1, required=True)
@click.option("--weights", metavar="W,W,...", help="One a member, in the order given.")
@click.option("--search", is_flag=True, help="Search the weights on validation scores.")
@click.option(
    "--order",
    metavar="FILE.pkl:SPLIT",
    help="Whose scores pickles hold: a split of PYSKL annotations, or a text file of ids.",
)
@click.option(
    "--labels",
    type=options.PATH,
    metavar="STORE",
    help="Store with the true classes of samples, where no member has them.",
)
@click.option(
    "--sum",
    "summed",
    type=click.Choice(["logits", "probabilities"]),
    help="What is summed. [default: logits where all members have them, else probabilities]",
)
@click.option("--out", type=options.PATH, help="Write the fused scores to an .npz.")
@options.as_json
def command(
    runs: tuple[str, ...],
    weights: str | None,
    search: bool,
    order: str | None,
    labels: Path | None,
    summed: Literal["logits", "probabilities"] | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Fuse the test scores of RUNS by sample id, and say what each ensemble gains.

    A member is a run, or a file of scores: an .npz with ids, scores and, if known, labels;
    epoch1_test_score.pkl of CTR-GCN and its relatives; the dump of mmaction2; or the result.pkl of
    PYSKL's tools/test.py, with --order. Say what a file is of as in j=result.pkl.

    The code of the CTR-GCN line sums logits, that of PYSKL probabilities; the table says which are
    summed. Give published weights by --weights, for example 0.6,0.6,0.4,0.4.

    The modalities decide the standard ensembles: j,b 1:1; j,b,jm,bm 2:2:1:1; j,b,k,jm,bm,km
    2:2:2:1:1:1. Runs of one modality are fused equally, and called seeds. --search takes the scores
    that `aclnet evaluate RUN --split val` wrote, never those of the test.
    """
    from aclnet.evaluation.ensemble import (
        Ensemble,
        best_stream,
        class_gains,
        fuse,
        member_class_names,
        open_members,
        report,
        search_on_validation,
        standard_ensembles,
    )

    if weights and search:
        raise click.UsageError("--weights and --search both say what counts how much: give one")
    if out and out.suffix != ".npz":
        raise click.UsageError(f"--out {out}: scores are written as .npz")
    members = open_members(runs, order, labels, summed)
    ensembles = standard_ensembles(members)
    searched = search_on_validation(members) if search else None
    if searched:
        ensembles.append(Ensemble("searched", searched.weights))
    elif weights:
        ensembles.append(Ensemble("given", _numbers(weights)))
    found = report(members, ensembles)
    fused = fuse(members, ensembles[-1].weights)
    gains = class_gains(best_stream(members).scores, fused, member_class_names(members))
    if out:
        fused.save(out)
        gains.to_csv(out.with_suffix(".per_class.csv"), index=False)
    if as_json:
        search_found = asdict(searched) if searched else None
        print_json({**found, "search": search_found, "classes": gains.to_dict("records")})
        return
    _show(found)
    _show_classes(gains)
    if searched:
        screen.print(
            f"weights found on {searched.samples} validation samples, in the order given: "
            f"{','.join(f'{weight:g}' for weight in searched.weights)}; log loss there "
            f"{searched.log_loss:.4f}, with equal weights {searched.log_loss_equal:.4f}"
        )
    if out:
        screen.print(f"fused scores: {out}; every class: {out.with_suffix('.per_class.csv')}")


def _numbers(weights: str) -> tuple[float, ...]:
    try:
        return tuple(map(float, weights.split(",")))
    except ValueError:
        raise click.UsageError(f"--weights {weights}: write numbers, as 2,2,1,1") from None


def _show(found: dict[str, Any]) -> None:
    rows = [
        [f"{stream['name']} ({stream['modality'] or '?'})", *_accuracies(stream), "", ""]
        for stream in found["streams"]
    ]
    rows += [
        [_label(one), *_accuracies(one), f"{100 * one['gain']:+.1f}", f"{one['p']:.3g}"]
        for one in found["ensembles"]
    ]
    table(
        f"{found['samples']} samples; {found['summed']} are summed; gain in top-1, and McNemar's "
        f"p, against the best stream, {found['best_stream']}",
        ["stream or ensemble", "top-1", "top-5", "mean class", "gain", "p"],
        rows,
    )


def _label(ensemble: dict[str, Any]) -> str:
    weights = ":".join(f"{weight:g}" for weight in ensemble["weights"] if weight)
    kind = "" if ensemble["kind"] in ("standard", "equal") else f" {ensemble['kind']}"
    return f"{ensemble['name']},{kind} {weights}"


def _accuracies(result: dict[str, Any]) -> list[str]:
    return [percent(result[name]) for name in ("top1", "top5", "mean_class")]


def _show_classes(gains: pd.DataFrame) -> None:
    ranked = gains.sort_values("gain", ascending=False, kind="stable")
    most = ranked[ranked["gain"] > 0].head(_SHOWN)
    least = ranked[ranked["gain"] < 0].tail(_SHOWN)
    if most.empty and least.empty:
        screen.print("no class is won or lost against the best stream")
        return
    table(
        "Classes that the last ensemble wins and loses most, against the best stream",
        ["class", "samples", "stream", "ensemble", "gain"],
        [
            (
                row["class"],
                row["samples"],
                percent(row["stream"]),
                percent(row["ensemble"]),
                f"{100 * row['gain']:+.1f}",
            )
            for part in (most, least)
            for _, row in part.iterrows()
        ],
    )
