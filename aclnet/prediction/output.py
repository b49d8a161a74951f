"""Tables of predictions: CSV, JSON, Parquet, and files that ELAN and BORIS import."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from aclnet.datasets.spec import AclnetError
from aclnet.runs.writing import writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from aclnet.prediction.files import Outcome, Row

SCHEMA = "predict/1"
"""Name and version of the JSON of predictions (docs/json.md)."""

_TIMED = (".tsv", ".xlsx")
"""Forms for ELAN and BORIS, which hold segments with their times."""


def check_form(out: Path, *, segments: bool) -> None:
    """Raises AclnetError if no table with this suffix can be written."""
    form = out.suffix.lower()
    if form not in _WRITERS:
        raise AclnetError(f"--out {out}: the suffix must be one of {', '.join(_WRITERS)}")
    if form in _TIMED and not segments:
        raise AclnetError(f"--out {out}: tables for ELAN and BORIS hold segments: give --segments")
    package = {".parquet": "pyarrow", ".xlsx": "openpyxl"}.get(form)
    if package and find_spec(package) is None:
        raise AclnetError(
            f"--out {out}: {form} needs a further package: pip install {package}; or choose .csv"
        )


class RowCheck:
    """Checks each outcome before it is kept, so that a long task stops at the first bad row.

    Args:
        out: the table.

    A call raises AclnetError if ELAN or BORIS need times that are not known, or if a table for
    BORIS would have two recordings.
    """

    def __init__(self, out: Path) -> None:
        self._form = out.suffix.lower()
        self._ids: set[str] = set()

    def __call__(self, outcome: Outcome) -> None:
        if self._form not in _TIMED:
            return
        for row in outcome.rows:
            if row["start_seconds"] is None:
                raise AclnetError(
                    f"{row['file'] or row['id']}: ELAN and BORIS need seconds, but the frame rate "
                    "is not known: give --fps, or the column fps in index.csv"
                )
            self._ids.add(row["id"])
        if self._form == ".xlsx" and len(self._ids) > 1:
            raise AclnetError(
                "BORIS imports one observation at a time: predict one recording into each .xlsx "
                "file"
            )


def write_rows(out: Path, outcomes: Sequence[Outcome], about: dict[str, Any]) -> None:
    """Writes a table atomically, in the form of its suffix.

    Raises AclnetError if it cannot be written, and like `RowCheck`.
    """
    check = RowCheck(out)
    for outcome in outcomes:
        check(outcome)
    with writing(out) as temporary:
        _WRITERS[out.suffix.lower()](temporary, outcomes, about)


def as_json(outcomes: Sequence[Outcome], about: dict[str, Any]) -> dict[str, Any]:
    """The results of all recordings, for JSON."""
    return {
        **about,
        "rows": [row for outcome in outcomes for row in outcome.rows],
        "unusable": [asdict(o.rejection) for o in outcomes if o.rejection is not None],
    }


def flat(row: Row) -> dict[str, Any]:
    """A row for a table: classes after the first have their own columns."""
    cells = {name: value for name, value in row.items() if name not in ("family", "top")}
    if "family" in row:
        cells["family"] = "; ".join(row["family"])
    for place, entry in enumerate(row.get("top", [])[1:], start=2):
        cells |= {f"label_{place}": entry["label"], f"probability_{place}": entry["probability"]}
    return cells


def _rows(outcomes: Sequence[Outcome]) -> Iterator[Row]:
    return (row for outcome in outcomes for row in outcome.rows)


def _csv(file: Path, outcomes: Sequence[Outcome], about: dict[str, Any]) -> None:
    rows = [flat(row) for row in _rows(outcomes)]
    with file.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, [*(rows[0] if rows else ("id", "file"))], restval="")
        table.writeheader()
        table.writerows(rows)


def _json(file: Path, outcomes: Sequence[Outcome], about: dict[str, Any]) -> None:
    document = {"schema": f"aclnet.{SCHEMA}", **as_json(outcomes, about)}
    file.write_text(json.dumps(document, indent=1), encoding="utf-8")


def _json_lines(file: Path, outcomes: Sequence[Outcome], about: dict[str, Any]) -> None:
    with file.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in _rows(outcomes))


def _parquet(file: Path, outcomes: Sequence[Outcome], about: dict[str, Any]) -> None:
    import pandas as pd

    pd.DataFrame([flat(row) for row in _rows(outcomes)]).to_parquet(file, index=False)


def _elan(file: Path, outcomes: Sequence[Outcome], about: dict[str, Any]) -> None:
    """Tab-delimited text for ELAN: one line per segment, times in seconds."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, delimiter="\t", lineterminator="\n")
        table.writerow(["tier", "begin", "end", "annotation", "probability"])
        for row in _rows(outcomes):
            tier = f"{row['id']}/{row['person']}" if "person" in row else row["id"]
            times = (f"{row['start_seconds']:.3f}", f"{row['end_seconds']:.3f}")
            table.writerow([tier, *times, row["label"], f"{row['probability']:.3f}"])


def _boris(file: Path, outcomes: Sequence[Outcome], about: dict[str, Any]) -> None:
    """Table that BORIS imports into the open observation: the start and the end of each segment.

    Columns are those of `load_observations_from_spreadsheet` of BORIS 9.
    """
    import pandas as pd

    events = [
        {
            "time": round(row[when], 3),
            "subject": str(row.get("person", "")),
            "code": row["label"],
            "modifier": "",
            "comment": f"probability {row['probability']:.3f}",
        }
        for row in _rows(outcomes)
        for when in ("start_seconds", "end_seconds")
    ]
    columns = ["time", "subject", "code", "modifier", "comment"]
    table = pd.DataFrame(events, columns=columns).sort_values("time", kind="stable")
    with file.open("wb") as stream, pd.ExcelWriter(stream, engine="openpyxl") as writer:
        table.to_excel(writer, index=False)


_WRITERS: dict[str, Callable[[Path, Sequence[Outcome], dict[str, Any]], None]] = {
    ".csv": _csv,
    ".json": _json,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
    ".tsv": _elan,
    ".xlsx": _boris,
}
"""Writers by the suffix of the file; `.tsv` is for ELAN, `.xlsx` for BORIS."""
