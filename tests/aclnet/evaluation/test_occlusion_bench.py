"""The occlusion bench against its parts, and what it keeps in a run."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from aclnet.datasets.spec import AclnetError
from aclnet.evaluation.bench_files import latex, write_bench
from aclnet.evaluation.occlusion_bench import choose_protocols, run_bench
from aclnet.evaluation.outcomes import CLEAN, Maker, Outcome, check_alike
from aclnet.evaluation.scorer import Scorer
from aclnet.pipelines.inputs.corruptions.joints import Drop
from aclnet.pipelines.inputs.protocols import open_protocol
from aclnet.runs.inference import Pass
from aclnet.runs.run import Run


@pytest.fixture
def own_run(quick_run, tmp_path) -> Run:
    shutil.copytree(quick_run.path, tmp_path / "own")
    return Run(tmp_path / "own")


def chosen(scorer, *drops, **options):
    return choose_protocols(scorer.store, scorer.mask, drops=drops, **options)[0]


@pytest.mark.slow
def test_rows_are_the_scores_under_each_protocol(own_run, store):
    scorer = Scorer(own_run, store)
    protocols = chosen(scorer, "hands", "joints-v1/frame-0.5", missing="feature")
    told = []
    bench = run_bench([scorer], protocols, progress=lambda *a: told.append(a))
    names = [CLEAN, "parts-v1/hands (feature)", "joints-v1/frame-0.5 (feature)"]
    assert bench.rows["protocol"].tolist() == names
    assert {stage for stage, *_ in told} == set(names)
    for (_, row), protocol in zip(bench.rows.iterrows(), [None, *protocols], strict=True):
        scores = scorer.score(Pass(protocol and protocol.corruption))
        assert row["accuracy"] == pytest.approx(scores.top1)
        assert row["samples"] == 12
        classes = bench.classes[bench.classes["protocol"] == row["protocol"]]
        expected = scores.per_class(own_run.class_names)
        expected = expected[expected["samples"] > 0]
        assert classes["class"].tolist() == expected["class"].tolist()
        assert classes["accuracy"].tolist() == expected["accuracy"].tolist()


@pytest.mark.parametrize(
    ("kind", "split", "figure"),
    [
        ("quick", None, "top1"),
        ("gait", None, "rank1"),
        pytest.param("gait", "gait/test", "rank1", marks=pytest.mark.slow),
        pytest.param("reid", "b/probe", "rank1", marks=pytest.mark.slow),
    ],
)
def test_the_clean_line_is_the_figure_of_evaluate(kind, split, figure, request, tmp_path):
    """The gait store lacks views of some probes, so that the mean over probes differs."""
    run = request.getfixturevalue(f"{kind}_run")
    store = request.getfixturevalue("store" if kind == "quick" else f"{kind}_store")
    shutil.copytree(run.path, tmp_path / "own")
    scorer = Scorer(Run(tmp_path / "own"), store, split, accelerator="cpu")
    clean = Maker(scorer)(None, lambda *_: None)
    result = scorer.result(scorer.score())
    if kind != "quick":
        found = scorer.recognise()
        result |= found.result()
        if kind == "gait" and split is None:
            assert found.found().share.mean() != pytest.approx(result["rank1"])
    assert clean.accuracy == pytest.approx(result[figure], abs=1e-12)
    assert 0 < clean.accuracy < 1


@pytest.mark.slow
def test_outcomes_are_made_once(own_run, store, monkeypatch):
    scorer = Scorer(own_run, store)
    protocols = chosen(scorer, "hands", "frames-v1/every-2")
    first = run_bench([scorer], protocols).rows
    files = {file: file.stat().st_mtime_ns for file in (own_run.path / "occlusion").rglob("*.npz")}
    assert len(files) == 3
    passes = []
    score = Scorer.score
    monkeypatch.setattr(
        Scorer, "score", lambda self, how: passes.append(how.stage) or score(self, how)
    )
    again = Scorer(own_run, store)
    pd.testing.assert_frame_equal(run_bench([again], protocols).rows, first)
    assert passes == []
    # what does not depend on the meaning of missing is not made again
    others = chosen(again, "hands", "legs", "frames-v1/every-2", missing="hold")
    run_bench([again], others)
    assert passes == ["parts-v1/hands (hold)", "parts-v1/legs (hold)"]
    # other clips, another seed, other weights
    passes.clear()
    Maker(Scorer(own_run, store, clips=1))(None, lambda *_: None)
    Maker(again)(*chosen(again, "hands", seed=1), lambda *_: None)
    state = own_run.load("last")
    own_run.save("last", state | {"more": 1})
    change = json.loads((own_run.path / "run.json").read_text())
    change["files"] = None
    change.pop("sha256")
    (own_run.path / "run.json").write_text(json.dumps(change))
    Maker(Scorer(Run(own_run.path), store))(None, lambda *_: None)
    assert passes == [CLEAN, "parts-v1/hands (centre, seed 1)", CLEAN]
    assert all(file.stat().st_mtime_ns == when for file, when in files.items())


@pytest.mark.slow
def test_two_protocols_that_do_the_same_are_scored_once(own_run, store, monkeypatch):
    scorer = Scorer(own_run, store)
    make, passes = Maker(scorer), []
    score = Scorer.score
    monkeypatch.setattr(
        Scorer, "score", lambda self, how: passes.append(how.stage) or score(self, how)
    )
    one, two = (make(p, lambda *_: None) for p in chosen(scorer, "ragcn-v1/legs", "parts-v1/legs"))
    assert len(passes) == 1
    np.testing.assert_array_equal(one.found, two.found)
    assert one.made["protocol"] != two.made["protocol"]


@pytest.mark.slow
def test_damaged_outcomes_are_told(own_run, store):
    scorer = Scorer(own_run, store)
    Maker(scorer)(None, lambda *_: None)
    (file,) = (own_run.path / "occlusion" / "outcomes").iterdir()
    content = file.read_bytes()
    for damage in (content[:100], b"", content[:-40] + b"x" * 40):
        file.write_bytes(damage)
        with pytest.raises(AclnetError, match=re.escape(f"{file} is damaged")):
            Maker(scorer)(None, lambda *_: None)
    file.write_bytes(content)
    outcome = Outcome.load(file)
    replace(outcome, made=outcome.made | {"clips": 3}).save(file)
    with pytest.raises(
        AclnetError, match=re.escape(f"the content of {file} does not fit its name")
    ):
        Maker(scorer)(None, lambda *_: None)


@pytest.mark.slow
def test_runs_that_are_tested_in_another_way_are_not_compared(own_run, store, tmp_path):
    shutil.copytree(own_run.path, tmp_path / "other")
    other = Run(tmp_path / "other")
    scorers = [Scorer(own_run, store), Scorer(other, store, clips=1)]
    with pytest.raises(AclnetError, match=r"own and other cannot be compared.*clips is 2 and 1"):
        run_bench(scorers, chosen(scorers[0], "hands"))
    scorers[1] = Scorer(other, store, "xsub/train")
    with pytest.raises(AclnetError, match="split is xsub/test and xsub/train"):
        run_bench(scorers, chosen(scorers[0], "hands"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["missing", "protocol", "normalisation", "samples", "seed"])
def test_what_differs_is_named(name, own_run, store):
    outcome = Maker(Scorer(own_run, store))(open_protocol("hands", store.layout), lambda *_: None)
    other = replace(outcome, made=outcome.made | {name: "another"})
    with pytest.raises(AclnetError, match=f"a and b cannot be compared.*{name} is .* and another"):
        check_alike(("a", outcome), ("b", other))
    check_alike(("a", outcome), ("b", replace(outcome, made=outcome.made | {"weights": "w"})))


@pytest.mark.slow
def test_runs_beside_a_reference(own_run, quick_run, store, tmp_path):
    shutil.copytree(own_run.path, tmp_path / "deep" / "own")
    scorers = [Scorer(Run(path), store) for path in (own_run.path, tmp_path / "deep" / "own")]
    bench = run_bench(scorers, chosen(scorers[0], "hands", "legs"), reference=1)
    # runs of the same name are told apart by their paths
    assert bench.rows["run"].unique().tolist() == [str(s.run.path) for s in scorers]
    assert bench.rows["gain"].tolist() == [0] * 6
    assert bench.errors["run"].tolist() == [str(own_run.path)]
    assert bench.errors["mce"].tolist() == [1]
    write_bench(bench, {"split": "xsub-test"}, tmp_path / "files" / "b", "title", "top-1 accuracy")
    found = {file.name for file in (tmp_path / "files").iterdir()}
    assert found >= {"b.csv", "b.json", "b.tex", "b.png", "b.classes.csv"}
    assert (tmp_path / "files" / "b.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads((tmp_path / "files" / "b.json").read_text())
    assert told["split"] == "xsub-test"
    assert [row["accuracy"] for row in told["rows"]] == bench.rows["accuracy"].tolist()


def test_a_table_in_latex():
    rows = pd.DataFrame(
        {
            "run": ["a_1", "b", "a_1", "b"],
            "protocol": [CLEAN, CLEAN, "parts-v1/left_arm (hold)", "parts-v1/left_arm (hold)"],
            "accuracy": [0.5, 0.25, 0.125, np.nan],
            "accuracy_low": [0.4, 0.2, 0.1, np.nan],
            "accuracy_high": [0.6, 0.3, 0.15, np.nan],
        }
    )
    lines = latex(rows, "top-1 accuracy").splitlines()
    assert lines[1] == r"\begin{tabular}{lrr}"
    assert lines[3] == r"protocol & a\_1 & b \\"
    assert lines[5] == r"nothing (clean) & 50.0 [40.0, 60.0] & 25.0 [20.0, 30.0] \\"
    assert lines[6] == r"parts-v1/left\_arm (hold) & 12.5 [10.0, 15.0] & -- \\"


@pytest.mark.slow
def test_what_is_dropped_matters(quick_run, store, assert_alike):
    """All limbs gone is not the same as nothing gone: the corruption reaches the network."""
    scorer = Scorer(quick_run, store)
    by_meaning = [
        scorer.score(Pass(Drop.of("arms+legs", store.layout, missing))).scores
        for missing in ("centre", "camera", "feature")
    ]
    clean = scorer.score().scores
    assert not np.allclose(by_meaning[0], clean)
    assert not np.allclose(by_meaning[0], by_meaning[1])
    assert_alike(by_meaning[0], by_meaning[2], "the two meanings are one for joints")


# What is possible


def test_suites_leave_out_what_the_data_do_not_have(pixel_store, store, gait_store):
    everything = np.ones(len(store), bool)
    protocols, left_out = choose_protocols(store, everything, suite="standard")
    assert left_out == {}
    assert len(protocols) == 43
    _, left_out = choose_protocols(pixel_store, pixel_store.mask("own/train"), suite="standard")
    reasons = {name.partition("/")[0]: reason for name, reason in left_out.items()}
    assert set(reasons) == {"ragcn-v1", "jitter-v1", "occluder-v1"}
    assert "joints in metres are needed" in reasons["jitter-v1"]
    one_person = store.column("n_persons") == 1
    _, left_out = choose_protocols(store, one_person, suite="standard")
    assert set(left_out) == {"persons-v1/lost", "persons-v1/exchanged"}
    _, left_out = choose_protocols(gait_store, np.ones(len(gait_store), bool), suite="quick")
    assert "'trunk' is not a part or joint of layout coco" in left_out["parts-v1/trunk"]


def test_a_protocol_with_two_names_is_tested_once(store):
    everything = np.ones(len(store), bool)
    alone, _ = choose_protocols(store, everything, suite="quick")
    drops = ["hands", "parts-v1/hands", "head"]
    protocols, _ = choose_protocols(store, everything, suite="quick", drops=drops)
    names = [protocol.name for protocol in protocols]
    assert len(names) == len({*names})
    assert {*names} == {protocol.name for protocol in alone} | {"parts-v1/head (centre)"}


def test_what_is_asked_for_by_name_must_be_possible(pixel_store):
    mask = pixel_store.mask("own/train")
    with pytest.raises(AclnetError, match="the place of the camera is not known"):
        choose_protocols(pixel_store, mask, drops=["occluder-v1/strip-0.4"])


# People


@pytest.mark.slow
def test_people_lose_rank_one_in_a_clean_gallery(gait_run, gait_store, tmp_path, assert_alike):
    shutil.copytree(gait_run.path, tmp_path / "own")
    scorer = Scorer(Run(tmp_path / "own"), gait_store, accelerator="cpu")
    protocols = chosen(scorer, "head", "legs")
    bench = run_bench([scorer], protocols)
    clean = scorer.recognise()
    assert bench.rows["samples"].tolist() == [12, 12, 12]
    for (_, row), protocol in zip(bench.rows.iterrows(), [None, *protocols], strict=True):
        found = scorer.recognise(Pass(protocol and protocol.corruption))
        assert_alike(found.gallery.vectors, clean.gallery.vectors)
        assert row["accuracy"] == pytest.approx(found.result()["rank1"])
    assert bench.rows["accuracy"].nunique() > 1, "nothing that is dropped matters"
    assert len(bench.families) == 0
