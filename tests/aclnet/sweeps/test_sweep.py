"""Grids: what is planned, and tables against counting by hand."""

from __future__ import annotations

import shutil
from math import isnan

import numpy as np
import pandas as pd
import pytest

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.store import Store
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores
from aclnet.runs.splits import Fold
from aclnet.sweeps.plan import plan_sweep
from aclnet.sweeps.results import (
    differences_table,
    finished_scores,
    make_tables,
    rows_table,
    runs_table,
    write_tables,
)
from aclnet.sweeps.rows import NAMED_GRIDS, Rows, parse_grid


@pytest.fixture
def plan(store, quick_settings, tmp_path):
    """A sweep of quick runs below `tmp_path`/sweep."""

    def do(*grids, seeds=(0, 1), settings=(), **options):
        options = {"store": store, "out": tmp_path / "sweep"} | options
        data = options.pop("store")
        everywhere = [*quick_settings, *settings]
        rows = Rows.of_grids(grids)
        return plan_sweep(data, "default", rows, seeds, settings=everywhere, **options)

    return do


@pytest.fixture
def finish(quick_run, change_record):
    """Makes a finished run of a cell, right about the samples that it is told."""

    def do(cell, ids, right) -> Scores:
        path = cell.job.path
        shutil.copytree(quick_run.path, path)
        scores = scores_of(ids, right)
        change_record(path, name=path.name, result={"top1": scores.top1})
        scores.save(Run(path).test_scores)
        return scores

    return do


def scores_of(ids, right) -> Scores:
    """Class 1 is always true, and predicted where `right`."""
    high = np.array([int(r) for r in right], dtype=np.float32)
    both = np.stack([1 - high, high], axis=1)
    return Scores(np.array(list(ids)), both, np.ones(len(high), dtype=np.int64))


@pytest.mark.parametrize(
    ("text", "key", "values"),
    [
        ("loss.weight=0,0.05, 0.1", "loss.weight", ["0", "0.05", "0.1"]),
        ("data.balance=true,false", "data.balance", ["true", "false"]),
        ("model.size=tiny", "model.size", ["tiny"]),
        ("data.interval=[0.5,1.0],[1.0,1.0]", "data.interval", ["[0.5,1.0]", "[1.0,1.0]"]),
        ("components", "loss.terms", ["ce", "ce+inter", "ce+intra", "acl"]),
    ],
)
def test_grids(text, key, values):
    assert parse_grid(text) == (key, values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loss.weight", "write KEY=V1,V2.*Or write components"),
        ("loss.weight=", "write KEY=V1,V2"),
        ("loss.weight=0,,1", "write KEY=V1,V2"),
        ("a.b=[[1,2],3]", "write KEY=V1,V2"),
        ("a.b=[1,2", "write KEY=V1,V2"),
        ('a.b="x,y",z', "write KEY=V1,V2"),
        ("a.b={c=1}", "write KEY=V1,V2"),
        ("loss.weight=0,0.1,0", "gives a value twice"),
    ],
)
def test_grids_that_are_none(text, message):
    with pytest.raises(AclnetError, match=message):
        parse_grid(text)


def test_named_grids_are_settings_that_there_are(plan):
    for name in NAMED_GRIDS:
        assert len(plan(name, seeds=[0]).jobs) == len(parse_grid(name)[1])


def test_all_combinations_seed_by_seed(plan, tmp_path):
    sweep = plan("optim.lr=0.1,0.2", "data.modality=j,b")
    assert sweep.rows.keys == ["optim.lr", "data.modality"]
    assert list(sweep.rows.settings) == [("0.1", "j"), ("0.1", "b"), ("0.2", "j"), ("0.2", "b")]
    assert len({job.path for job in sweep.jobs}) == len(sweep.jobs) == 8
    assert [job.config.seed for job in sweep.jobs] == [0] * 4 + [1] * 4
    third = sweep.jobs[2]
    assert (third.config.optim.lr, third.config.data.modality) == (0.2, "j")
    assert third.config.model.size == "tiny"
    assert third.title == "optim.lr=0.2, data.modality=j, seed 0"
    assert sweep.folder == third.path.parent == tmp_path / "sweep"
    assert sweep.tested == "xsub test, 12 samples"
    assert not sweep.folder.exists()


def test_a_larger_grid_shares_the_runs_of_a_smaller_one(plan, store):
    smaller, larger = (
        plan(grid, out=None) for grid in ("optim.lr=0.1,0.2", "optim.lr=0.1,0.2,0.3")
    )
    assert {job.path for job in smaller.jobs} < {job.path for job in larger.jobs}
    assert smaller.folder.parent == store.path.with_name("ntu60.zarr.runs")
    assert smaller.folder.name.startswith("sweep-")
    assert smaller.folder != larger.folder
    assert plan("optim.lr=0.2,0.1", out=None).folder == smaller.folder


def test_settings_that_come_to_the_same_are_trained_once(plan):
    sweep = plan("model.size=tiny,16", seeds=[0])
    assert len(sweep.cells) == 2
    assert [job.title for job in sweep.jobs] == ["model.size=tiny, seed 0"]


def test_folds_take_turns_and_the_test_side_takes_no_part(plan, store):
    sweep = plan("optim.lr=0.1,0.2", seeds=[0], folds=4)
    assert len(sweep.jobs) == 8
    assert [cell.job.request.fold for cell in sweep.cells[:4]] == [Fold(n, 4) for n in (1, 2, 3, 4)]
    assert {cell.row for cell in sweep.cells[:4]} == {("0.1",)}
    assert sweep.tested == "4 folds of xsub's training side, 24 samples"
    assert sweep.jobs[1].title == "optim.lr=0.1, seed 0, fold 2/4"


def test_grids_that_cannot_be_compared(plan, people_store, tmp_path):
    with pytest.raises(AclnetError, match=r"has optim\.lr twice"):
        plan("optim.lr=0.1", "optim.lr=0.2")
    with pytest.raises(AclnetError, match="give the seeds with --seeds"):
        plan("seed=0,1")
    with pytest.raises(AclnetError, match=r"there is no optim\.speed"):
        plan("optim.speed=1,2")
    with pytest.raises(
        AclnetError, match=r"xview, seed 0 and .*xsub, seed 0 are tested on different"
    ):
        plan("data.protocol=xsub,xview", store=Store(people_store))
    with pytest.raises(AclnetError, match="4 subjects, which cannot make 9 folds"):
        plan("optim.lr=0.1", folds=9)
    file = tmp_path / "mine.csv"
    store = Store(people_store)
    one_of_each = np.unique(store.column("label"), return_index=True)[1]
    lines = [f"{sample},train" for sample in store.column("id")[one_of_each]]
    file.write_text("\n".join(["id,split", *lines]))
    with pytest.raises(AclnetError, match="there is no test sample"):
        plan("optim.lr=0.1", store=Store(people_store), split_file=file)
    assert not (tmp_path / "sweep").exists()


def test_a_setting_against_the_first(plan):
    sweep = plan("optim.lr=1,2,3", seeds=(0, 1, 2))
    first, other, last = sweep.rows.settings
    ids = [f"s{n:02d}" for n in range(20)]
    right = {
        (first, 0): "11111111110000000000",
        (first, 1): "11111111000000000000",
        (other, 0): "11111111111111100000",
        (other, 1): "11111110011111000000",
        (other, 2): "11111111111111111111",  # no partner: it is in the mean only
    }
    found = {of: scores_of(ids, r) for of, r in right.items()}
    rows, differences = rows_table(sweep, found), differences_table(sweep, found)
    assert rows["optim.lr"].tolist() == ["1", "2", "3"]
    assert rows["seeds"].tolist() == [2, 3, 0]
    top1 = [15 / 20, 12 / 20, 1.0]
    assert rows["top1"][1] == pytest.approx(np.mean(top1))
    assert rows["sd"][1] == pytest.approx(pd.Series(top1).std())
    assert (rows["lowest"][1], rows["highest"][1]) == (0.6, 1.0)
    assert all(isnan(rows[name][2]) for name in ("top1", "sd"))
    # of the pairs of seeds 0 and 1: 5 + 5 gained, 0 + 1 lost
    assert differences["second"].tolist() == ["2", "3"]
    assert differences["seeds"].tolist() == [2, 0]
    assert differences["difference"][0] == pytest.approx(9 / 40)
    assert differences["low"][0] < 9 / 40 < differences["high"][0]
    assert all(isnan(differences[name][1]) for name in ("difference", "low", "effect"))
    assert last == ("3",)


def test_what_is_finished_is_reported(plan, finish):
    sweep = plan("optim.lr=1,2", folds=2)
    ids = {1: "aceg", 2: "bdfh"}
    # the last cell, a fold of the second setting with the second seed, is missing
    for cell in sweep.cells[:-1]:
        finish(
            cell,
            ids[cell.job.request.fold.number],
            "1100" if cell.job.request.fold.number == 1 else "1110",
        )
    scores = finished_scores(sweep)
    assert set(scores) == {(("1",), 0), (("1",), 1), (("2",), 0)}
    joined = scores[("2",), 0]
    assert joined.ids.tolist() == list("abcdefgh")
    assert joined.correct.tolist() == [bool(int(r)) for r in "11110100"]
    runs = runs_table(sweep)
    assert len(runs) == 8
    assert runs["fold"].tolist() == ["1/2", "2/2"] * 4
    assert runs["top1"].tolist()[:2] == [0.5, 0.75]
    assert isnan(runs["top1"].iloc[-1])
    tables = make_tables(sweep)
    write_tables(sweep, tables)
    rows = tables["rows"]
    assert tables["seeds"]["top1"].tolist() == [5 / 8] * 3
    assert runs["minutes"].notna().sum() == 7
    assert rows["seeds"].tolist() == [2, 1]
    assert rows["top1"].tolist() == [5 / 8, 5 / 8]
    written = pd.read_csv(sweep.folder / "runs.csv")
    assert written["top1"].count() == 7
    assert written["run"].tolist() == [str(cell.job.path) for cell in sweep.cells]
    assert (sweep.folder / "differences.csv").is_file()
    assert (sweep.folder / "sensitivity.png").is_file()


def test_nothing_finished_makes_an_empty_table(plan):
    sweep = plan("optim.lr=1,2")
    tables = make_tables(sweep)
    write_tables(sweep, tables)
    rows = tables["rows"]
    assert rows["seeds"].tolist() == [0, 0]
    assert not (sweep.folder / "sensitivity.png").exists()
