"""Occlusion benches of a run, from the outcomes that the benches kept in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aclnet.datasets.store import manifest
from aclnet.evaluation.outcomes import CLEAN, Outcome
from aclnet.evaluation.robustness import Result, table
from aclnet.pipelines.inputs.protocols import open_protocol
from aclnet.report.parts import Missing, Occlusion, rows_of
from aclnet.report.results import store_option

if TYPE_CHECKING:
    from aclnet.pipelines.inputs.protocols import Protocol
    from aclnet.runs.run import Run

_SHARED = ("store", "split", "samples", "clips", "retrieval")
"""Conditions that all outcomes of one bench share."""


def occlusion_of(run: Run) -> list[Occlusion] | Missing:
    """A bench for each way to test the run's weights, the one with the most protocols first."""
    files = sorted((run.path / "occlusion" / "outcomes").glob("*.npz"))
    outcomes = [outcome for outcome in map(Outcome.load, files) if _is_of(run, outcome)]
    clean = [outcome for outcome in outcomes if outcome.made["protocol"] == CLEAN]
    benches = []
    for outcome in clean:
        alike = [o for o in outcomes if o is not outcome and _way(o) == _way(outcome)]
        ways = {(o.made["missing"], o.made["seed"]) for o in alike if o.made["missing"]}
        # protocols that hide nothing do not depend on the meaning of missing: they are in each
        # bench
        for missing, seed in sorted(ways, key=str) or [(None, 0)]:
            own = [o for o in alike if o.made["missing"] in (None, missing)]
            own = [o for o in own if o.made["seed"] == seed]
            if own:
                benches.append(_bench(run, outcome, own, missing))
    if not benches:
        return Missing(
            "The run was not tested with joints or frames missing.",
            f"aclnet occlusion-bench {run.path} --suite quick{store_option(run)}",
        )
    return sorted(benches, key=lambda bench: -len(bench.rows))


def _is_of(run: Run, outcome: Outcome) -> bool:
    """Tells if an outcome was made with the current weights of the run."""
    weights = run.checkpoint(run.selected)
    found = manifest.describe_file(weights).sha256 if weights.is_file() else None
    return bool(outcome.made.get("weights") == found)


def _way(outcome: Outcome) -> list[Any]:
    return [outcome.made[name] for name in _SHARED]


def _bench(run: Run, clean: Outcome, outcomes: list[Outcome], missing: str | None) -> Occlusion:
    protocols = {id(o): _protocol(run, o) for o in outcomes}
    ordered = sorted(outcomes, key=lambda o: _place(protocols[id(o)]))
    chosen = [protocols[id(o)] for o in ordered]
    rows = rows_of(table(Result.of(run.name, chosen, [clean, *ordered])))
    curves = [None, *(protocol.curve for protocol in chosen)]
    made = clean.made
    words = [made["split"], f"{made['clips']} clips" if made["clips"] != 1 else "1 clip"]
    words += [f"missing joints: {missing}"] if missing else []
    return Occlusion(
        ", ".join(words),
        [
            row | {"short": short(row["protocol"]), "curve": curve}
            for row, curve in zip(rows, curves, strict=True)
        ],
    )


def _protocol(run: Run, outcome: Outcome) -> Protocol:
    made = outcome.made
    name = made["protocol"].partition(" (")[0]
    return open_protocol(name, run.layout, made["missing"] or "centre", made["seed"])


def _place(protocol: Protocol) -> tuple[str, float, str]:
    """Orders protocols by kind, the lowest severity first."""
    return protocol.curve or protocol.name, protocol.severity, protocol.name


def short(protocol: str) -> str:
    """The name without the meaning of missing, which is in the title."""
    return "complete" if protocol == CLEAN else protocol.partition(" (")[0]
