"""People recognised on the command line, from made-up recordings to tables and names."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from aclnet.datasets.store.store import Store
from aclnet.runs.run import Run

if TYPE_CHECKING:
    from pathlib import Path

QUICK = [
    f"--set={setting}"
    for setting in (
        *("model.size=tiny", "data.frames=16", "data.clips=2", "data.per_class=4"),
        *("optim.epochs=1", "optim.batch_size=8", "loss.memory_rows=16", "loss.families.start=0"),
    )
]


def made(aclnet, folder: Path, dataset: str, *options: object) -> Path:
    """A store of made-up people."""
    assert aclnet("synth", dataset, folder / "raw", *options).code == 0
    store = folder / f"{dataset}.zarr"
    answer = aclnet("prepare", dataset, "--raw", folder / "raw", "--out", store)
    assert answer.code == 0, answer.err
    return store


@pytest.fixture(scope="module")
def gait(aclnet, tmp_path_factory):
    """A run by the recipe of gait, its store, and what training answered."""
    folder = tmp_path_factory.mktemp("gait")
    store = made(aclnet, folder, "casia-b", "--sequences", 40, "--subjects", 6)
    answer = aclnet("train", store, "--out", folder / "run", "--select", "val", *QUICK)
    assert answer.code == 0, answer.err
    return folder / "run", store, answer


@pytest.fixture(scope="module")
def reid(aclnet, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reid")
    store = made(aclnet, folder, "ias-lab", "--sequences", 12, "--subjects", 4)
    quick = [setting for setting in QUICK if "per_class" not in setting]
    answer = aclnet("train", store, "--out", folder / "run", *quick)
    assert answer.code == 0, answer.err
    return folder / "run", store, answer


@pytest.fixture
def own(gait, tmp_path) -> Path:
    """A copy of the run of gait, to be written into."""
    shutil.copytree(gait[0], tmp_path / "own")
    return tmp_path / "own"


def test_a_run_of_the_recipe_is_one_of_people(gait, reid):
    for (path, _, answer), task in ((gait, "gait"), (reid, "reid")):
        assert Run(path).config.task == task
        assert max(map(len, answer.out.splitlines())) <= 80


def test_training_shows_the_tables_that_evaluation_shows(gait, own, aclnet):
    _, _, trained = gait
    answer = aclnet("evaluate", own)
    assert answer.code == 0, answer.err
    for heading in ("views other than the probe's", "rank-1 by view"):
        assert heading in " ".join(answer.out.split())
        assert heading in " ".join(trained.out.split())
    for told in (answer, trained):
        assert "pooled embedding, cosine distance; 0 sequences are shorter than 16" in told.words
        rows = [line.split()[1] for line in told.out.splitlines() if line.startswith("│")]
        assert {"nm", "mean"} <= set(rows)
    assert "weights: the best on held-out training data" in answer.words
    files = {file.name for file in (own / "scores").iterdir()}
    tables = {f"gait-probe.{name}.csv" for name in ("cells", "conditions", "views")}
    assert files == {"gait-probe.npz", *tables}


def test_json_of_gait_holds_what_training_recorded(gait, own, aclnet):
    answer = aclnet("evaluate", own, "--json")
    found, result = json.loads(answer.out), Run(own).result
    for name in ("rank1", "mAP", "rank1_all_views", "top1", "chance", "short", "probes"):
        assert found[name] == pytest.approx(result[name])
    assert found["split"] == "gait-probe"
    assert sorted(found["tables"]) == ["cells", "conditions", "views"]
    assert found["tables"]["conditions"][-1]["condition"] == "mean"
    assert found["tables"]["conditions"][-1]["rank1"] == pytest.approx(found["rank1"])


def test_what_is_compared_otherwise_has_files_of_its_own(own, aclnet):
    for options, words in (
        (["--metric", "euclidean"], "-euclidean"),
        (["--embedding", "both", "--flip", "--clips", 1], "-1clips-both-flip"),
        (["--no-flip", "--metric", "cosine"], ""),
    ):
        answer = aclnet("evaluate", own, "--json", *options)
        assert answer.code == 0, answer.err
        assert json.loads(answer.out)["split"] == f"gait-probe{words}"
        assert (own / "scores" / f"gait-probe{words}.conditions.csv").is_file()


def test_the_people_who_are_held_out_can_be_tested(own, aclnet):
    answer = aclnet("evaluate", own, "--split", "val", "--json")
    found = json.loads(answer.out)
    held_out = Run(own).record.split.held_out.removeprefix("people ").split(", ")
    assert found["chance"] == pytest.approx(1 / len(held_out))
    assert found["split"] == "gait-val"


def test_levels_of_re_identification(reid, aclnet, tmp_path):
    shutil.copytree(reid[0], tmp_path / "own")
    answer = aclnet("evaluate", tmp_path / "own", "--published")
    assert answer.code == 0, answer.err
    text = " ".join(answer.out.split())
    for words in ("a/probe: probes and gallery, in %", "window", "sequence", "rank-10", "mINP"):
        assert words in text
    assert "as the published code counts them" in text
    found = json.loads(aclnet("evaluate", tmp_path / "own", "--json").out)
    levels = {row["level"]: row for row in found["tables"]["levels"]}
    # recordings of 33 to 51 frames
    assert 2 * 4 <= levels["window"]["probes"] <= 3 * 4
    assert levels["sequence"]["probes"] == 4
    assert levels["sequence"]["rank1"] == pytest.approx(found["rank1"])
    assert levels["window"]["mAP"] == pytest.approx(found["window_mAP"])
    assert "published" not in found["tables"]


def test_the_published_way_of_counting_is_refused_for_gait(gait, aclnet):
    answer = aclnet("evaluate", gait[0], "--published")
    assert answer.code == 2
    assert "--published is of re-identification; this run's task is gait" in answer.words


def probe_of(store: Path) -> str:
    opened = Store(store)
    return str(sorted(opened.column("id")[opened.mask("gait/probe")])[0])


def test_who_is_it(gait, aclnet):
    run, store, _ = gait
    probe = probe_of(store)
    arguments = ("identify", run, probe, store, "--gallery", store, "--side", "gait/gallery")
    answer = aclnet(*arguments, "--threshold", 2)
    assert answer.code == 0, answer.err
    assert max(map(len, answer.out.splitlines())) <= 80
    assert "Who is it?" in answer.out
    assert probe in answer.out
    assert "unknown: whose nearest is further than 2" in answer.words
    told = aclnet(*arguments[:3], *arguments[4:], "--threshold", -1, "--top", 1, "--json")
    (row,) = json.loads(told.out)["rows"]
    assert (row["probe"], row["answer"], row["place"]) == (probe, "unknown", 1)
    assert row["person"] in {"075", "076"}
    assert json.loads(told.out)["threshold"] == -1


def test_without_a_threshold_nobody_is_unknown(reid, aclnet):
    run, store, _ = reid
    answer = aclnet("identify", run, "a/person1", "--gallery", store)
    assert answer.code == 0, answer.err
    assert "nobody is called unknown: the run chose no threshold" in answer.words
    assert (
        json.loads(aclnet("identify", run, "a/person1", "--gallery", store, "--json").out)[
            "threshold"
        ]
        is None
    )


def test_embeddings_go_into_the_run_or_where_they_are_told(own, gait, aclnet, tmp_path):
    answer = aclnet("export", own, "--to", "embeddings")
    assert answer.code == 0, answer.err
    count = len(Store(gait[1]))
    assert f"own.npz: {count} sequences of {gait[1]}" in answer.words
    with np.load(own / "own.npz") as found:
        vectors, ids = found["vector"], found["id"]
    out = tmp_path / "out.h5"
    options = ("--store", gait[1], "--out", out, "--embedding", "both", "--windows")
    answer = aclnet("export", own, "--to", "embeddings", *options)
    assert answer.code == 0, answer.err
    assert f"windows of {gait[1]}" in answer.words
    with h5py.File(out) as found:
        assert found["vector"].shape[0] > count
        assert found["vector"].shape[1] > vectors.shape[1]
        assert sorted(set(found["id"].asstr()[()])) == sorted(ids)


def test_exports_that_are_refused(own, gait, aclnet, tmp_path):
    for arguments, message in (
        ([own, "--to", "embeddings", "--out", tmp_path / "x.csv"], "the ending tells the form"),
        ([own, "--to", "safetensors", "--windows"], "are for embeddings"),
        ([gait[1], "--to", "embeddings"], "is a store; it becomes pyskl, npz or hdf5"),
    ):
        answer = aclnet("export", *arguments)
        assert answer.code == 2
        assert message in answer.words


def test_what_people_lose_when_joints_are_missing(own, aclnet):
    answer = aclnet("occlusion-bench", own, "--drop", "legs")
    assert answer.code == 0, answer.err
    assert max(map(len, answer.out.splitlines())) <= 80
    assert "rank-1, %" in answer.out
    assert "legs (centre)" in answer.out
    assert "the gallery is clean, and intervals are of people drawn again" in answer.words
    files = {file.name for file in (own / "occlusion").iterdir()}
    assert files == {f"gait-probe.centre.legs.{end}" for end in ("csv", "png")}


def test_families_are_of_the_people_who_train(own, aclnet):
    answer = aclnet("families", own, "--json")
    assert answer.code == 0, answer.err
    named = {family["class"] for family in json.loads(answer.out)["families"]}
    assert named
    assert named <= set(Run(own).class_names)


# A store that does not say who trains


@pytest.fixture(scope="module")
def undivided(aclnet, tmp_path_factory) -> Path:
    """Recordings of one's own, without the column `split`."""
    folder = tmp_path_factory.mktemp("undivided")
    raw = folder / "raw"
    options = ("--form", "npy", "--sequences", 16, "--subjects", 4)
    assert aclnet("synth", "custom", raw, *options).code == 0
    lines = [line.split(",") for line in (raw / "index.csv").read_text().splitlines()]
    place = lines[0].index("split")
    kept = [",".join(cells[:place] + cells[place + 1 :]) for cells in lines]
    (raw / "index.csv").write_text("\n".join(kept))
    answer = aclnet("prepare", "custom", "--raw", raw, "--out", folder / "own.zarr")
    assert answer.code == 0, answer.err
    return folder / "own.zarr"


def test_a_store_without_protocol_can_be_looked_at(undivided, aclnet):
    answer = aclnet("info", undivided)
    assert answer.code == 0, answer.err
    assert "Splits" in answer.out
    found = json.loads(aclnet("info", undivided, "--json").out)
    assert found["splits"] == []


def test_a_store_without_protocol_trains_by_a_file(undivided, aclnet, tmp_path):
    quick = [setting for setting in QUICK if "per_class" not in setting]
    refused = aclnet("train", undivided, "--out", tmp_path / "run", *quick)
    assert refused.code == 2
    assert "has no protocol" in refused.words
    assert "--split FILE.csv" in refused.words
    assert not (tmp_path / "run").exists()
    ids = sorted(Store(undivided).column("id"))
    rows = [f"{name},{'test' if number < 6 else 'train'}" for number, name in enumerate(ids)]
    (tmp_path / "mine.csv").write_text("\n".join(["id,split", *rows]))
    arguments = ("--split", tmp_path / "mine.csv", "--out", tmp_path / "run")
    answer = aclnet("train", undivided, *arguments, *quick)
    assert answer.code == 0, answer.err
    assert Run(tmp_path / "run").result["samples"] == 6


def test_scores_of_people_can_be_fused_and_have_families(own, gait, aclnet, tmp_path):
    shutil.copytree(gait[0], tmp_path / "other")
    answer = aclnet("ensemble", own, tmp_path / "other")
    assert answer.code == 0, answer.err
    store = Store(gait[1])
    columns = np.load(Run(own).test_scores)["scores"].shape[1]
    assert columns == len(store.class_names) > len(Run(own).class_names)
    answer = aclnet("families", own, "--scores", "gait-probe")
    assert answer.code == 0, answer.err
    assert "of scores gait-probe" in answer.words


def test_json_has_no_nan(own, aclnet):
    """Some views and conditions have nobody."""

    def refuse(name):
        raise AssertionError(name)

    answer = aclnet("evaluate", own, "--json")
    told = json.loads(answer.out, parse_constant=refuse)
    cells = told["tables"]["cells"]
    assert any(cell["rank1"] is None for cell in cells)
    assert all(cell["rank1"] is None or 0 <= cell["rank1"] <= 1 for cell in cells)


def test_an_embedding_that_nothing_trains_is_refused_before_training(gait, aclnet):
    settings = ("--set", "loss.terms=ce", "--set", "retrieval.embedding=both")
    answer = aclnet("train", gait[1], *settings)
    assert answer.code == 2
    assert "neither is in the loss" in answer.words


def test_a_classifier_is_not_tested_by_embeddings(own, gait, aclnet, tmp_path):
    """The same people on both sides: of actions, whoever they are."""
    store = Store(gait[1])
    ids = store.column("id")[store.mask("gait/train")]
    lines = [f"{sample},{('train', 'test')[row % 2]}" for row, sample in enumerate(ids)]
    (tmp_path / "own.csv").write_text("\n".join(["id,split", *lines]))
    options = ("--recipe", "default-2d", "--split", tmp_path / "own.csv", "--out", tmp_path / "run")
    quick = [setting for setting in QUICK if "per_class" not in setting]
    assert aclnet("train", gait[1], *options, *quick).code == 0
    answer = aclnet("evaluate", tmp_path / "run", "--store", gait[1], "--metric", "euclidean")
    assert answer.code == 2
    assert "tests the classifier" in answer.words
