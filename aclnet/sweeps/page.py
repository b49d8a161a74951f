"""Page of a sweep in Markdown: settings, machine, cost and results."""

from __future__ import annotations

from collections import Counter
from math import isnan
from typing import TYPE_CHECKING, Any

from aclnet.evaluation.outcomes import CLEAN
from aclnet.pipelines.inputs.protocols import PARTS
from aclnet.runs.run import Run, is_finished
from aclnet.runs.writing import writing
from aclnet.sweeps.occlusion import MEAN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from aclnet.sweeps.occlusion import Occluded
    from aclnet.sweeps.plan import Sweep

INTERVALS = (
    "The intervals have a level of 95 %. A bootstrap draws seeds, and the same sequences (or "
    "people) for all seeds, with replacement. Effect is Cohen's h. Visible is the smallest "
    "difference that this number of seeds and sequences shows in 80 % of cases."
)


def write_page(
    path: Path,
    sweep: Sweep,
    tables: dict[str, pd.DataFrame],
    occluded: Occluded | None,
    command: str,
) -> None:
    """Writes the page of a sweep: `tables` of `aclnet.sweeps.results`, and of the bench."""
    parts = [f"# {sweep.rows.title or 'Sweep'}", *_about(sweep, tables["runs"], command)]
    parts += ["## Settings", _settings(sweep), "## Accuracy", _accuracy(sweep, tables)]
    parts += ["## Differences", INTERVALS, _differences(tables["differences"])]
    if occluded is not None:
        parts += ["## With joints or frames missing", *_occlusion(sweep, occluded)]
    with writing(path) as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _about(sweep: Sweep, runs: pd.DataFrame, command: str) -> list[str]:
    config = sweep.cells[0].job.config
    done = runs.drop_duplicates("run")["minutes"].dropna()
    records = [Run(job.path).record for job in sweep.jobs if is_finished(job.path)]
    facts = {
        "data": f"{sweep.store.name}, {sweep.tested}",
        "recipe": f"{config.recipe}, weights: {config.select}",
        "settings of all rows": _code(sweep.rows.common) or "those of the recipe",
        "seeds": ", ".join(map(str, sweep.seeds)),
        "runs": f"{len(done)} of {len(sweep.jobs)} finished",
        "cost": f"{done.sum() / 60:.1f} hours of training, {done.mean():.1f} minutes per run",
    }
    for name in ("machine", "gpu", "torch", "aclnet", "commit"):
        values = Counter(r.environment[name] for r in records if name in r.environment)
        if values:
            facts[name] = ", ".join(values)
    lines = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    return [lines, f"```bash\n{command}\n```"]


def _settings(sweep: Sweep) -> str:
    return _markdown(
        [*sweep.rows.keys, "settings"],
        ((*row, _code(settings)) for row, settings in sweep.rows.settings.items()),
    )


def _accuracy(sweep: Sweep, tables: dict[str, pd.DataFrame]) -> str:
    minutes = tables["runs"].groupby(sweep.rows.keys, sort=False)["minutes"].mean()
    return _markdown(
        [*sweep.rows.keys, "top-1, %", "sd", "range", "seeds", "minutes per run"],
        (
            (
                *(row[key] for key in sweep.rows.keys),
                _share(row["top1"]),
                _share(row["sd"]),
                f"{_share(row['lowest'])} to {_share(row['highest'])}",
                row["seeds"],
                f"{cost:.1f}",
            )
            for row, cost in zip(tables["rows"].to_dict("records"), minutes, strict=True)
        ),
    )


def _differences(table: pd.DataFrame) -> str:
    return _markdown(
        ["from", "to", "points", "interval", "effect", "visible", "seeds"],
        (
            (
                row["first"],
                row["second"],
                *_gain(row),
                "-" if isnan(row["effect"]) else f"{row['effect']:+.2f}",
                _share(row["visible"]),
                row["seeds"],
            )
            for row in table.to_dict("records")
        ),
    )


def _occlusion(sweep: Sweep, occluded: Occluded) -> list[str]:
    asked = sweep.rows.occlusion
    accuracies = occluded.accuracies()
    rows = list(accuracies.columns[1:])
    number = asked.clips if asked else None
    clips = f"{number} clip{'s' * (number > 1)} per sequence" if number else "the runs' own clips"
    meaning = asked.missing if asked else ""
    told = [
        f"Suite {asked.suite if asked else ''}, {clips}; missing joints: {meaning}. Accuracy in %, "
        "mean over the seeds.",
        _markdown(
            ["protocol", *rows],
            (
                [_short(r["protocol"]), *(_share(r[n]) for n in rows)]
                for r in accuracies.to_dict("records")
            ),
        ),
        "Share of the clean accuracy that is kept, in %:",
        _kept(accuracies, rows),
        "Differences in points, with intervals:",
        _markdown(
            ["from", "to", "protocol", "points", "interval", "visible"],
            (
                (r["first"], r["second"], _short(r["protocol"]), *_gain(r), _share(r["visible"]))
                for r in occluded.differences().to_dict("records")
                if r["protocol"] in _headline(occluded)
            ),
        ),
    ]
    if occluded.left_out:
        reasons = [f"- `{name}`: {why}" for name, why in occluded.left_out.items()]
        told.append("\n".join(["Left out:", "", *reasons]))
    return told


def _kept(accuracies: pd.DataFrame, rows: Sequence[str]) -> str:
    clean = accuracies.set_index("protocol").loc[CLEAN]
    return _markdown(
        ["protocol", *rows],
        (
            (_short(r["protocol"]), *(_share(r[n] / clean[n]) if clean[n] else "-" for n in rows))
            for r in accuracies.to_dict("records")
            if r["protocol"] != CLEAN
        ),
    )


def _headline(occluded: Occluded) -> list[str]:
    """Conditions whose differences the page shows; `occlusion-differences.csv` has all."""
    shown = {"clean", MEAN, *(f"{PARTS}/{part}" for part in ("hands", "arms", "legs", "trunk"))}
    return [name for name in occluded.protocols if _short(name) in shown]


def _short(protocol: str) -> str:
    """The name without the meaning of missing, which is once on the page."""
    return "clean" if protocol == CLEAN else protocol.partition(" (")[0]


def _gain(row: Mapping[Any, Any]) -> tuple[str, str]:
    if isnan(row["difference"]):
        return "-", "-"
    low, high = 100 * row["low"], 100 * row["high"]
    return f"{100 * row['difference']:+.1f}", f"{low:+.1f} to {high:+.1f}"


def _share(value: float) -> str:
    return "-" if isnan(value) else f"{100 * value:.1f}"


def _code(settings: Iterable[str]) -> str:
    return ", ".join(f"`{setting}`" for setting in settings)


def _markdown(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [[str(cell).replace("|", "/") for cell in line] for line in (columns, *rows)]
    lines.insert(1, ["---"] * len(columns))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
