"""Tables of results: accuracies, and the recognition of people."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Any

from aclnet.cli.console import percent, screen
from aclnet.cli.results import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from aclnet.runs.config import Config

_WEIGHTS = {
    "last": "the last",
    "val": "the best on held-out training data",
    "test": "the best on the TEST set: optimistic",
}
_TITLES = {
    "gait": {
        "conditions": "Rank-1 and other measures in %, mean over the views other than the probe's",
        "views": "rank-1 by view, in %",
    },
    "reid": {
        "levels": "probes and gallery, in %",
        "conditions": "sequences, condition by condition, in %",
        "published": "windows as the published code counts them, with its known errors, in %",
    },
}
"""Tables of `aclnet.retrieval.recognition.Recognition` that are shown."""
_NAMES = {
    "rank1": "rank-1",
    "rank5": "rank-5",
    "rank10": "rank-10",
    "rank1_all_views": "rank-1, own view too",
    "rank1_theirs": "rank-1, as others count",
    "without_match": "no match",
    "probe_condition": "probe",
    "gallery_condition": "gallery",
    "probe_view": "view",
}


def accuracy_table(title: str, result: Mapping[str, Any], clips: int, select: str) -> Table:
    """A table of `Scorer.result()`, computed with this number of clips per sample."""
    rows = [
        ["top-1", percent(result["top1"])],
        ["95 % interval", f"{percent(result['top1_low'])} to {percent(result['top1_high'])}"],
        ["top-5", percent(result["top5"])],
        ["mean class accuracy", percent(result["mean_class"])],
        ["samples, clips each", f"{result['samples']}, {clips}"],
        ["weights", which_weights(select)],
    ]
    if "chance" in result:
        rows.insert(1, ["chance", percent(result["chance"])])
    return Table(title, ["", "value"], rows)


def which_weights(select: str) -> str:
    """The description of the selected weights in a table."""
    return _WEIGHTS[select]


def recognition_tables(
    title: str, tables: Mapping[str, pd.DataFrame], config: Config
) -> list[Table]:
    """A protocol's tables, figures in %."""
    found = []
    for name, heading in _TITLES[config.task].items():
        one_pair = name == "conditions" and config.task == "reid" and len(tables[name]) == 1
        if name in tables and not one_pair:
            found.append(_table(f"{title}: {heading}", tables[name]))
    return found


def tell_retrieval(result: Mapping[str, Any], config: Config) -> None:
    """Prints the settings of a protocol's tables on stderr."""
    used = config.retrieval
    flip = ", with mirror images" if used.flip else ""
    screen.print(
        f"{used.embedding} embedding, {used.metric} distance{flip}; {result['short']} sequences "
        f"are shorter than {config.data.frames} frames, and count"
    )


def _table(title: str, frame: pd.DataFrame) -> Table:
    columns = [_NAMES.get(str(column), str(column)) for column in frame]
    return Table(title, columns, [list(map(_text, row)) for row in frame.itertuples(index=False)])


def _text(value: float | str) -> str:
    """A share in %; names and numbers are unchanged."""
    if not isinstance(value, float):
        return str(value)
    return "-" if isnan(value) else f"{100 * value:.1f}"
