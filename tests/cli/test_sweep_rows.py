"""`aclnet sweep --rows`: the bench of all runs, and the page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aclnet.evaluation.outcomes import CLEAN
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores
from aclnet.sweeps.occlusion import MEAN

pytestmark = pytest.mark.slow

FILE = """
title = "Two rates"
recipe = "default"
settings = ["optim.epochs=1"]

[rows]
"fast" = ["optim.lr=0.1"]
"slow" = ["optim.lr=1e-6"]

[occlusion]
suite = "quick"
clips = 1
"""


@pytest.fixture(scope="module")
def swept(made_up_store, quick_arguments, aclnet, tmp_path_factory):
    """A file that was trained with two seeds; the answer, its folder, and its page."""
    folder = tmp_path_factory.mktemp("rows")
    file, page = folder / "rows.toml", folder / "page.md"
    file.write_text(FILE)
    answer = aclnet(
        *("sweep", made_up_store, "--rows", file, "--seeds", "0,1", "--out", folder / "out"),
        *(*quick_arguments, "--page", page, "--json"),
    )
    assert answer.code == 0, answer.err
    return json.loads(answer.out), folder / "out", page.read_text()


def runs_of(found) -> pd.DataFrame:
    """The runs of a document, with the names of their rows."""
    runs = pd.DataFrame(found["runs"])
    return runs.assign(row=[setting["row"] for setting in runs["setting"]])


def test_the_bench_is_that_of_each_run(swept, aclnet):
    found, out, _ = swept
    runs = runs_of(found)
    accuracies = pd.DataFrame(found["occlusion"])
    table = accuracies.pivot(index="protocol", columns="row", values="accuracy")
    for row, of_row in runs.groupby("row"):
        benches = []
        for run in of_row["run"]:
            answer = aclnet("occlusion-bench", run, "--suite", "quick", "--clips", "1", "--json")
            rows = pd.DataFrame(json.loads(answer.out)["rows"]).set_index("protocol")
            benches.append(rows["accuracy"])
        means = pd.concat(benches, axis=1).mean(axis=1)
        assert table[row][means.index].to_numpy() == pytest.approx(means.to_numpy())
        assert table[row][MEAN] == pytest.approx(means[means.index != CLEAN].mean())
    written = pd.read_csv(out / "occlusion-differences.csv").set_index("protocol")
    gained = table["slow"] - table["fast"]
    assert written["difference"][gained.index].to_numpy() == pytest.approx(gained.to_numpy())
    assert written["difference"].abs().max() > 0
    assert (written["low"] <= written["difference"] + 1e-9).all()
    assert (out / "occlusion.png").is_file()
    assert not (out / "sensitivity.png").exists()


def test_the_page_has_the_figures_and_how_they_were_made(swept):
    found, _, page = swept
    runs = runs_of(found)
    assert page.startswith("# Two rates\n")
    for row, of_row in runs.groupby("row"):
        top1 = [Scores.load(Run(path).test_scores).top1 for path in map(Path, of_row["run"])]
        start = f"| {row} | {100 * np.mean(top1):.1f} |"
        line = next(line for line in page.splitlines() if line.startswith(start))
        assert " | 2 | " in line
    assert "| fast | slow | " in page
    assert re.search(r"\naclnet sweep \S+zarr --rows \S+rows.toml --seeds 0,1 --set ", page)
    assert "--page" not in page
    assert "4 of 4 finished" in page
    assert "`optim.epochs=1`" in page
    run = Run(Path(runs["run"][0]))
    assert run.record.environment["torch"] in page
    assert "| parts-v1/hands | " in page
