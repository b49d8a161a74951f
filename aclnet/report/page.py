"""The page of a report: one HTML file that loads nothing."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from importlib.resources import files
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any

from aclnet.report.parts import Missing
from aclnet.runs.writing import writing
from aclnet.viewing.camera import AZIMUTH, ELEVATION
from aclnet.viewing.page import assets

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from aclnet.report.parts import Curves, Improvement, Report, RunReport

_SIGNIFICANT = 0.05
_TERMS = {"inter": "inter-class", "intra": "intra-class", "triplet": "triplet"}
_COLUMNS = {
    "rank1": "rank-1",
    "rank5": "rank-5",
    "rank10": "rank-10",
    "rank1_all_views": "rank-1 with equal views",
    "rank1_theirs": "rank-1 as other code counts",
    "without_match": "probes without a match",
    "probe_condition": "condition of the probe",
    "gallery_condition": "condition of the gallery",
    "probe_view": "view of the probe",
}


def write_page(report: Report, path: Path) -> None:
    """Writes the page of a report; raises AclnetError if the file cannot be written."""
    text = render(report)
    with writing(path) as temporary:
        # names from files may have surrogates, which UTF-8 cannot express
        temporary.write_bytes(text.encode("utf-8", "replace"))


def render(report: Report) -> str:
    """The page as text."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.filters |= {
        "percent": _percent,
        "points": _points,
        "probability": _probability,
        "share": _share,
        "cell": _cell,
        "column": _column,
    }
    template = environment.from_string(_file("page.html.j2"))
    view_table = environment.from_string(_VIEWS)
    return template.render(
        report=report,
        title=" and ".join(run.name for run in report.runs)
        if len(report.runs) < 3
        else f"{len(report.runs)} runs",
        lead=_lead(report),
        headings=list(dict.fromkeys(label for run in report.runs for label, *_ in run.headline)),
        sections=_sections,
        verdict=_verdict,
        significant=_significant,
        beginnings=_beginnings,
        view_table=lambda cells: Markup(view_table.render(**_grid(cells))),
        version=version("aclnet"),
        looks=_looks,
        viewer=Markup(assets()),
        data=_plain(asdict(report)) | {"turn": {"azimuth": AZIMUTH, "elevation": ELEVATION}},
        css=Markup(_file("page.css")),
        js=Markup(_file("page.js")),
    )


_VIEWS = """<div class="scroll" tabindex="0" role="region" aria-label="Rank-1 by view"><table
class="views"><thead><tr><th scope="col">probe</th>{% for view in columns %}<th scope="col"
class="n">{{ view }}</th>{% endfor %}</tr></thead><tbody>{% for view, row in rows.items() %}<tr>
<th scope="row">{{ view }}</th>{% for other, value in row.items() %}{% if value is none %}<td>–</td>
{% else %}<td class="heat{{ ' same' if other == view else '' }}" style="--v:{{ value|share }}">{{
"%.0f"|format(100 * value) }}</td>{% endif %}{% endfor %}</tr>{% endfor %}</tbody></table></div>"""


def _file(name: str) -> str:
    return (files("aclnet.report") / name).read_text(encoding="utf-8")


def _lead(report: Report) -> str:
    """Returns a line with the data, recipes and seeds of the runs, each text once."""
    data = [run.facts.groups["Data"] for run in report.runs]
    training = [run.facts.groups["Training"] for run in report.runs]
    words = [f"{d['dataset']}, {d['test split']}" for d in data]
    words += [f"recipe {t['recipe']}" for t in training]
    words += [f"seed {t['seed']}" for t in training]
    return " · ".join(dict.fromkeys(words))


def _sections(run: RunReport) -> list[tuple[str, str]]:
    people = [("people", "People")] if run.people is not None else []
    return [
        ("overview", "Overview"),
        ("curves", "Training"),
        ("accuracy", "Accuracy"),
        *people,
        ("confusion", "Confusion"),
        ("classes", "Classes"),
        ("skeletons", "Skeletons"),
        ("families", "Families"),
        ("occlusion", "Occlusion"),
        ("embedding", "Embeddings"),
    ]


def _looks(run: RunReport) -> dict[str, set[Any]]:
    """Ids, errors, and pairs of classes in both orders, that have skeletons on the page."""
    rows = [] if isinstance(run.skeletons, Missing) else run.skeletons.examples
    wrong = [row for row in rows if row["true"] != row["predicted"]]
    pairs = {(row["true"], row["predicted"]) for row in wrong}
    return {
        "ids": {row["id"] for row in rows},
        "errors": {row["id"] for row in wrong},
        "pairs": pairs | {(b, a) for a, b in pairs},
    }


def _verdict(found: Improvement, first: str, second: str) -> str:
    total = found.total
    words = f"{100 * abs(total['difference']):.1f} points"
    way = "more" if total["difference"] >= 0 else "less"
    significant = total["low"] > 0 or total["high"] < 0
    # the test assumes independent sequences, but sequences of one person are not independent
    p = _probability(total["p"])
    p = p if p.startswith("<") else f"= {p}"
    test = f" (exact McNemar test, p {p})" if found.unit == "sequences" else ""
    return (
        f"{second} is {words} {way} accurate than {first}: {_percent(total['second'])} and "
        f"{_percent(total['first'])}. The 95 % interval of the difference is "
        f"{_points(total['low'])} to {_points(total['high'])} points, from drawing {found.unit} "
        f"again; it is for these trained networks, not for other seeds. Only {first} is right on "
        f"{total['only_first']} sequences, only {second} on {total['only_second']}{test}. The "
        f"interval {'does not contain' if significant else 'contains'} 0, so the difference is "
        f"{'' if significant else 'not '}significant."
    )


def _significant(found: Improvement) -> str:
    """Returns the numbers of classes that are significantly better and worse."""
    better, worse = (
        sum(row["q"] < _SIGNIFICANT and sign * row["difference"] > 0 for row in found.classes)
        for sign in (1, -1)
    )
    return (
        f"Classes with q below {_SIGNIFICANT:g} (*): {better} better and {worse} worse, of "
        f"{len(found.classes)}."
    )


def _beginnings(curves: Curves) -> str:
    told = [
        f"The {_TERMS[term]} term starts in epoch {epoch}." for term, epoch in curves.starts.items()
    ]
    return " ".join(told) or "No contrastive term was used in this training."


def _grid(cells: Sequence[tuple[int, int, float]]) -> dict[str, Any]:
    """Rows and columns of a table of views; None if nothing was measured."""
    values = {(probe, gallery): value for probe, gallery, value in cells}
    probes = sorted({probe for probe, _, _ in cells})
    columns = sorted({gallery for _, gallery, _ in cells})
    rows = {
        probe: {g: _known(values.get((probe, g), float("nan"))) for g in columns}
        for probe in probes
    }
    return {"columns": columns, "rows": rows}


def _known(value: float) -> float | None:
    return value if isfinite(value) else None


def _percent(share: float) -> str:
    return "–" if isnan(share) else f"{100 * share:.1f} %"


def _points(share: float) -> str:
    """A difference in points, with its sign."""
    text = f"{100 * share:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def _probability(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _share(value: float) -> str:
    """A share as a value of CSS."""
    return f"{value:.4f}" if isfinite(value) else "0"


def _column(name: str) -> str:
    return _COLUMNS.get(name, name)


def _cell(value: object) -> str:
    """A value of a table of a protocol: shares in %, other values unchanged."""
    if isinstance(value, float):
        return _percent(value)
    return str(value)


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever JSON takes
    """A value for JSON, in which NaN becomes null."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not isfinite(value) else value
