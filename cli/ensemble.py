"""`aclnet ensemble`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import click

from aclnet.cli import completion, options
from aclnet.cli.console import percent, screen
from aclnet.cli.results import Table, emit

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from aclnet.cli.results import Form

_SHOWN = 5
"""Number of classes with the largest gains, and losses, in the table; JSON and CSV have all."""


@click.command()
@click.argument("runs", nargs=-1, required=True, shell_complete=completion.run)
@click.option("--weights", metavar="W,W,...", help="Weight of each member, in their order.")
@click.option("--search", is_flag=True, help="Search for weights on validation scores.")
@click.option(
    "--order",
    metavar="FILE.pkl:SPLIT",
    help="Samples of pickled scores: a split of PYSKL annotations, or a text file of ids.",
)
@click.option(
    "--labels",
    type=options.PATH,
    shell_complete=completion.store,
    metavar="STORE",
    help="Store with the true classes of samples, if no member has them. A store prepared from "
    "CTR-GCN's .npz also identifies the samples test_0, test_1, ...",
)
@click.option(
    "--sum",
    "summed",
    type=click.Choice(["logits", "probabilities"]),
    help="Values to sum. [default: logits if all members have them, else probabilities]",
)
@click.option("--out", type=options.PATH, help="Write the fused scores to an .npz.")
@options.output_form
def command(
    runs: tuple[str, ...],
    weights: str | None,
    search: bool,
    order: str | None,
    labels: Path | None,
    summed: Literal["logits", "probabilities"] | None,
    out: Path | None,
    output: Form,
) -> None:
    """Fuse the test scores of RUNS by sample id, and report the gain of each ensemble.

    A member is a run or a file of scores. The file may be an .npz with ids, scores and, if known,
    labels; epoch1_test_score.pkl of CTR-GCN and its relatives; the dump of mmaction2; or the
    result.pkl of PYSKL's tools/test.py, with --order. Write the modality of a file in front of it,
    for example j=result.pkl.

    Code based on CTR-GCN sums logits, and PYSKL sums probabilities; the table names the summed
    values. Give published weights with --weights, for example 0.6,0.6,0.4,0.4.

    The modalities decide the standard ensembles: j,b 1:1; j,b,jm,bm 2:2:1:1; j,b,k,jm,bm,km
    2:2:2:1:1:1. Runs of one modality count as seeds and have equal weights. --search uses the
    scores that `aclnet evaluate RUN --split val` wrote, never test scores.
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
        raise click.UsageError("--weights and --search both set the weights: give one of them")
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
    document = {
        **found,
        "search": asdict(searched) if searched else None,
        "classes": gains.to_dict("records"),
    }
    emit(output, "ensemble/1", document, [_accuracy_table(found), *_class_tables(gains)])
    if searched:
        screen.print(
            f"weights chosen on {searched.samples} validation samples, in the order of the "
            f"members: {','.join(f'{weight:g}' for weight in searched.weights)}; log loss there "
            f"{searched.log_loss:.4f}; with equal weights {searched.log_loss_equal:.4f}"
        )
    if out:
        screen.print(f"fused scores: {out}; every class: {out.with_suffix('.per_class.csv')}")


def _numbers(weights: str) -> tuple[float, ...]:
    try:
        return tuple(map(float, weights.split(",")))
    except ValueError:
        raise click.UsageError(f"--weights {weights}: write numbers, as 2,2,1,1") from None


def _accuracy_table(found: dict[str, Any]) -> Table:
    rows = [
        [f"{stream['name']} ({stream['modality'] or '?'})", *_accuracies(stream), "", ""]
        for stream in found["streams"]
    ]
    rows += [
        [_label(one), *_accuracies(one), f"{100 * one['gain']:+.1f}", f"{one['p']:.3g}"]
        for one in found["ensembles"]
    ]
    return Table(
        f"{found['samples']} samples; the {found['summed']} are summed; gain in top-1 and "
        f"McNemar's p compare with the best stream, {found['best_stream']}",
        ["stream or ensemble", "top-1", "top-5", "mean class", "gain", "p"],
        rows,
    )


def _label(ensemble: dict[str, Any]) -> str:
    weights = ":".join(f"{weight:g}" for weight in ensemble["weights"] if weight)
    kind = "" if ensemble["kind"] in ("standard", "equal") else f" {ensemble['kind']}"
    return f"{ensemble['name']},{kind} {weights}"


def _accuracies(result: dict[str, Any]) -> list[str]:
    return [percent(result[name]) for name in ("top1", "top5", "mean_class")]


def _class_tables(gains: pd.DataFrame) -> list[Table]:
    ranked = gains.sort_values("gain", ascending=False, kind="stable")
    most = ranked[ranked["gain"] > 0].head(_SHOWN)
    least = ranked[ranked["gain"] < 0].tail(_SHOWN)
    if most.empty and least.empty:
        screen.print("no class is more or less accurate than with the best stream")
        return []
    title = (
        "Classes with the largest gains and losses of the last ensemble, against the best stream"
    )
    rows = [
        (
            row["class"],
            row["samples"],
            percent(row["stream"]),
            percent(row["ensemble"]),
            f"{100 * row['gain']:+.1f}",
        )
        for part in (most, least)
        for _, row in part.iterrows()
    ]
    return [Table(title, ["class", "samples", "stream", "ensemble", "gain"], rows)]
