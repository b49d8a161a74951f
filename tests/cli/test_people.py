"""People recognised on the command line, from made-up recordings to tables and names."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pandas as pd
import pytest

from aclnet.datasets.store.store import Store
from aclnet.evaluation.scorer import Scorer
from aclnet.retrieval.ranking import distances
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores

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
    options = ("--out", folder / "run", "--select", "val", *QUICK)
    answer = aclnet("train", store, *options, terminal=True)
    assert answer.code == 0, answer.err
    return folder / "run", store, answer


@pytest.fixture(scope="module")
def reid(aclnet, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reid")
    store = made(aclnet, folder, "ias-lab", "--sequences", 12, "--subjects", 4)
    quick = [setting for setting in QUICK if "per_class" not in setting]
    answer = aclnet("train", store, "--out", folder / "run", *quick, terminal=True)
    assert answer.code == 0, answer.err
    return folder / "run", store, answer


@pytest.fixture
def own(gait, tmp_path) -> Path:
    """A copy of the run of gait, to be written into."""
    shutil.copytree(gait[0], tmp_path / "own")
    return tmp_path / "own"


@pytest.mark.slow
def test_a_run_of_the_recipe_is_one_of_people(gait, reid):
    for (path, _, answer), task in ((gait, "gait"), (reid, "reid")):
        assert Run(path).config.task == task
        assert max(map(len, answer.out.splitlines())) <= 80


@pytest.mark.slow
def test_training_shows_the_tables_that_evaluation_shows(gait, own, aclnet):
    _, _, trained = gait
    answer = aclnet("evaluate", own, terminal=True)
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


@pytest.mark.slow
def test_json_of_gait_holds_what_training_recorded(gait, own, aclnet):
    answer = aclnet("evaluate", own, "--json")
    found, result = json.loads(answer.out), Run(own).result
    for name in ("rank1", "mAP", "rank1_all_views", "top1", "chance", "short", "probes"):
        assert found[name.lower()] == pytest.approx(result[name])
    assert found["split"] == "gait-probe"
    assert found["conditions"][-1]["condition"] == "mean"
    assert found["conditions"][-1]["rank1"] == pytest.approx(found["rank1"])
    views = pd.read_csv(own / "scores" / "gait-probe.views.csv").set_index("probe_view")
    shown = {(row["probe_view"], row["condition"]): row["rank1"] for row in found["views"]}
    for (view, condition), rank1 in shown.items():
        assert rank1 == pytest.approx(views.loc[view, condition]) or np.isnan(
            views.loc[view, condition]
        )
    assert len(shown) == views.size


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_people_who_are_held_out_can_be_tested(own, aclnet):
    answer = aclnet("evaluate", own, "--split", "val", "--json")
    found = json.loads(answer.out)
    held_out = Run(own).record.split.held_out.removeprefix("people ").split(", ")
    assert found["chance"] == pytest.approx(1 / len(held_out))
    assert found["split"] == "gait-val"


@pytest.mark.slow
def test_levels_of_re_identification(reid, aclnet, tmp_path):
    shutil.copytree(reid[0], tmp_path / "own")
    answer = aclnet("evaluate", tmp_path / "own", "--published")
    assert answer.code == 0, answer.err
    text = " ".join(answer.out.split())
    for words in ("a/probe: probes and gallery, in %", "window", "sequence", "rank-10", "mINP"):
        assert words in text
    assert "as the published code counts them" in text
    found = json.loads(aclnet("evaluate", tmp_path / "own", "--json").out)
    levels = {row["level"]: row for row in found["levels"]}
    # recordings of 33 to 51 frames
    assert 2 * 4 <= levels["window"]["probes"] <= 3 * 4
    assert levels["sequence"]["probes"] == 4
    assert levels["sequence"]["rank1"] == pytest.approx(found["rank1"])
    assert levels["window"]["map"] == pytest.approx(found["window_map"])
    assert "published" not in found


def test_the_published_way_of_counting_is_refused_for_gait(gait, aclnet):
    answer = aclnet("evaluate", gait[0], "--published")
    assert answer.code == 2
    assert "--published is for re-identification; the task of this run is gait" in answer.words


def probe_of(store: Path) -> str:
    opened = Store(store)
    return str(sorted(opened.column("id")[opened.mask("gait/probe")])[0])


def test_who_is_it(gait, aclnet):
    run, store, _ = gait
    probe = probe_of(store)
    arguments = ("identify", run, probe, store, "--gallery", store, "--side", "gait/gallery")
    answer = aclnet(*arguments, "--threshold", 2, terminal=True)
    assert answer.code == 0, answer.err
    assert max(map(len, answer.out.splitlines())) <= 80
    assert "Identities of the probes" in answer.out
    assert probe in answer.out
    assert "unknown: the nearest match is farther than 2" in answer.words
    told = aclnet(*arguments[:3], *arguments[4:], "--threshold", -1, "--top", 1, "--json")
    (row,) = json.loads(told.out)["rows"]
    assert (row["probe"], row["answer"], row["place"]) == (probe, "unknown", 1)
    assert row["person"] in {"075", "076"}
    assert json.loads(told.out)["threshold"] == -1


@pytest.mark.slow
def test_without_a_threshold_nobody_is_unknown(reid, aclnet):
    run, store, _ = reid
    answer = aclnet("identify", run, "a/person1", "--gallery", store)
    assert answer.code == 0, answer.err
    assert "nobody is reported as unknown, because there is no threshold" in answer.words
    assert (
        json.loads(aclnet("identify", run, "a/person1", "--gallery", store, "--json").out)[
            "threshold"
        ]
        is None
    )


@pytest.mark.slow
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
        ([own, "--to", "embeddings", "--out", tmp_path / "x.csv"], "the suffix must be"),
        ([own, "--to", "safetensors", "--windows"], "are for embeddings"),
        ([gait[1], "--to", "embeddings"], "is a store; it can be exported to pyskl, npz or hdf5"),
    ):
        answer = aclnet("export", *arguments)
        assert answer.code == 2
        assert message in answer.words


@pytest.mark.slow
def test_what_people_lose_when_joints_are_missing(own, aclnet):
    answer = aclnet("occlusion-bench", own, "--drop", "legs", terminal=True)
    assert answer.code == 0, answer.err
    assert max(map(len, answer.out.splitlines())) <= 80
    assert "rank-1, %" in answer.out
    assert "parts-v1/legs" in answer.out
    assert "from a bootstrap over people" in answer.words
    assert "only the probes are corrupted; the gallery is clean" in answer.words
    (clean, _) = pd.read_csv(own / "occlusion" / "gait-probe.centre.legs.csv")["accuracy"]
    told = json.loads(aclnet("evaluate", own, "--json").out)
    assert clean == pytest.approx(told["rank1"]), "one clean figure for one run"


def test_families_are_of_the_people_who_train(own, aclnet):
    answer = aclnet("families", own, "--json")
    assert answer.code == 0, answer.err
    named = {family["class"] for family in json.loads(answer.out)["runs"][0]["families"]}
    assert named
    assert named <= set(Run(own).class_names)


# A store that does not say who trains


@pytest.fixture(scope="module")
def undivided(aclnet, tmp_path_factory) -> Path:
    """Custom recordings without the column `split`."""
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_json_has_no_nan(own, aclnet):
    """Some views and conditions have nobody."""

    def refuse(name):
        raise AssertionError(name)

    answer = aclnet("evaluate", own, "--json")
    told = json.loads(answer.out, parse_constant=refuse)
    cells = told["cells"]
    assert any(cell["rank1"] is None for cell in cells)
    assert all(cell["rank1"] is None or 0 <= cell["rank1"] <= 1 for cell in cells)


@pytest.mark.slow
def test_an_embedding_that_nothing_trains_is_refused_before_training(gait, aclnet):
    settings = ("--set", "loss.terms=ce", "--set", "retrieval.embedding=both")
    answer = aclnet("train", gait[1], *settings)
    assert answer.code == 2
    assert "the loss has neither" in answer.words


@pytest.mark.slow
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


def check_matches(found, run, store):
    """Beside a probe are the sequences of both people whose similarity is that of the scores."""
    shown = found["skeletons"]["examples"]
    assert {e["probe"] for e in found["people"]["examples"]} <= {row["id"] for row in shown}
    probe, gallery = Scorer(run, store).recognise().sequences()
    scores = Scores.load(run.test_scores)
    cosine = run.config.retrieval.metric == "cosine"
    for row in shown:
        forms = dict(row["forms"])
        own = probe.vectors[probe.ids == forms.pop("sample")]
        assert set(forms) == {"right"} | ({"wrong"} if row["true"] != row["predicted"] else set())
        for role, id_ in forms.items():
            entry = gallery[gallery.ids == id_]
            person = row["true"] if role == "right" else row["predicted"]
            assert entry.label.tolist() == [person]
            (near,) = scores.scores[scores.ids == row["id"], person]
            (distance,) = distances(own, entry.vectors, run.config.retrieval.metric).ravel()
            assert (1 - distance if cosine else 1 / (1 + distance)) == pytest.approx(near, abs=1e-5)


@pytest.mark.slow
def test_the_report_has_the_protocols_tables_and_examples(gait, reid, aclnet, tmp_path):
    for (path, store, _), table in ((gait, "conditions"), (reid, "levels")):
        out = tmp_path / f"{table}.html"
        answer = aclnet("report", path, "--out", out, "--store", store, "--figures", tmp_path)
        assert answer.code == 0, answer.err
        text = out.read_text(encoding="utf-8")
        found = json.loads(text.partition('id="data">')[2].partition("</script>")[0])["runs"][0]
        run, data = Run(path), Store(store)
        names = found["labels"]["names"]
        gallery = data.mask("gait/gallery" if table == "conditions" else run.test_split)
        in_gallery = {data.class_names[label] for label in data.column("label")[gallery]}
        rows = pd.read_csv(run.test_scores.with_suffix(f".{table}.csv"), keep_default_na=False)
        shown = next(iter(found["people"]["tables"].values()))
        assert [row["rank1"] for row in shown] == pytest.approx(rows["rank1"].astype(float))
        assert f"{100 * shown[-1]['rank1']:.1f} %" == found["headline"][0][1]
        with np.load(run.test_scores) as stored:
            scores = dict(zip(stored["ids"].tolist(), stored["scores"].tolist(), strict=True))
        tested = {names.index(name) for name in in_gallery}
        for example in found["people"]["examples"]:
            near = scores[example["probe"]]
            better = [value for value in near if value > near[example["person"]]]
            assert {person for person, _ in example["nearest"]} <= tested
            assert example["rank"] == 1 + len(better)
            assert [value for _, value in example["nearest"]] == pytest.approx(
                sorted(near, reverse=True)[: len(example["nearest"])], abs=6e-4
            )
        check_matches(found, run, data)
        if len(scores) >= 10:
            assert {point[0] for point in found["embedding"]["points"]} == set(scores)
        else:
            assert "too few for a map" in found["embedding"]["reason"]
        if table == "conditions":
            cells = pd.read_csv(run.test_scores.with_suffix(".cells.csv"), dtype={"condition": str})
            measured = cells[cells["probes"] > 0]
            assert sum(map(len, found["people"]["views"].values())) == len(measured)
            assert (tmp_path / "views.svg").is_file()
