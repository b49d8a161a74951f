"""The released code's test path through the commands, against what it computed itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from aclnet.runs.run import Run
from aclnet.runs.scores import Scores

pytestmark = pytest.mark.slow

MODALITIES = ["j", "b", "k", "jm", "bm", "km"]


@pytest.fixture(scope="module")
def place(goldens, aclnet, tmp_path_factory) -> Path:
    """A folder with the three stores."""
    folder = tmp_path_factory.mktemp("official")
    for dataset, file in (("ntu60", "e2e"), ("finegym", "e2e_gym"), ("kinetics", "e2e_k400")):
        raw, out = goldens / f"{file}_pyskl.pkl", folder / f"{dataset}.zarr"
        answer = aclnet("prepare", dataset, "--raw", raw, "--out", out)
        assert answer.code == 0, answer.err
    return folder


def scored(aclnet, place: Path, checkpoint: Path, dataset: str, modality: str) -> Path:
    """The run of a checkpoint, scored on its dataset's store."""
    run = place / "runs" / f"{dataset}-{modality}"
    answer = aclnet(
        "import-checkpoint", checkpoint, "--dataset", dataset, "--modality", modality, "--out", run
    )
    assert answer.code == 0, answer.err
    answer = aclnet("evaluate", run, "--store", place / f"{dataset}.zarr", "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["samples"] == 7
    return run


@pytest.fixture(scope="module")
def ntu_runs(aclnet, place, goldens) -> list[Path]:
    checkpoint = goldens / "e2e_model.pth"
    return [scored(aclnet, place, checkpoint, "ntu60", modality) for modality in MODALITIES]


def assert_scores(run: Run, split: str, names: np.ndarray, expected: np.ndarray) -> None:
    found = Scores.load(run.scores(split))
    order = np.argsort(names)
    assert found.ids.tolist() == names[order].tolist()
    np.testing.assert_allclose(found.scores, expected[order], atol=1e-4)


def test_six_streams_of_ntu_have_the_released_scores(ntu_runs, goldens):
    with np.load(goldens / "e2e_scores.npz") as golden:
        for modality, path in zip(MODALITIES, ntu_runs, strict=True):
            assert_scores(Run(path), "xsub-test", golden["names"], golden[modality])


def test_their_ensemble_has_the_released_sum(ntu_runs, goldens, aclnet, tmp_path):
    out = tmp_path / "fused.npz"
    answer = aclnet("ensemble", *ntu_runs, "--weights", "2,2,2,1,1,1", "--out", out)
    assert answer.code == 0, answer.err
    found = Scores.load(out)
    with np.load(goldens / "e2e_scores.npz") as golden:
        order = np.argsort(golden["names"])
        assert found.ids.tolist() == golden["names"][order].tolist()
        np.testing.assert_allclose(found.scores * 9, golden["fused"][order], atol=1e-3)


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize(("dataset", "prefix"), [("finegym", "gym"), ("kinetics", "k400")])
def test_pixels_have_the_released_scores(dataset, prefix, modality, aclnet, place, goldens):
    run = scored(aclnet, place, goldens / "e2e_coco_model.pth", dataset, modality)
    with np.load(goldens / "e2e_coco_scores.npz") as golden:
        names, expected = golden[f"{prefix}_names"], golden[f"{prefix}_{modality}"]
        assert_scores(Run(run), "own-test", names, expected)


def test_an_imported_run_is_an_ordinary_one(ntu_runs, aclnet, place):
    run = ntu_runs[0]
    answer = aclnet("families", run)
    assert answer.code == 0, answer.err
    assert "of scores xsub-test" in answer.words
    store = place / "ntu60.zarr"
    answer = aclnet("occlusion-bench", run, "--drop", "hands", "--store", store, "--json")
    assert answer.code == 0, answer.err
    assert len(json.loads(answer.out)["rows"]) == 2
    answer = aclnet("evaluate", run)
    assert answer.code == 2
    assert "was imported and has no store: give --store" in answer.words


def test_what_import_says(goldens, aclnet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = goldens / "e2e_model.pth"
    answer = aclnet("import-checkpoint", file, "--dataset", "NTU60", "--modality", "bm")
    assert answer.code == 0, answer.err
    assert "10 classes" in answer.words
    assert "recipe ntu60-xsub with official settings" in answer.words
    (run,) = Path("runs").iterdir()
    assert f"aclnet evaluate runs/{run.name} --store STORE" in answer.words
    names = tmp_path / "names.txt"
    names.write_text("\n".join("abcdefghij"))
    answer = aclnet(
        "import-checkpoint", file, "--dataset", "ntu60", "--modality", "bm",
        "--classes", names, "--out", "named", "--json",
    )  # fmt: skip
    assert json.loads(answer.out)["file"] == "e2e_model.pth"
    assert Run(Path("named")).class_names == list("abcdefghij")
    answer = aclnet(
        "import-checkpoint", file, "--dataset", "ntu60", "--modality", "bm", "--classes", "no.txt"
    )
    assert answer.code == 2
    assert "--classes no.txt cannot be read" in answer.words


def test_export_writes_beside_the_run(trained, aclnet, tmp_path):
    answer = aclnet("export", trained[0], "--to", "official", "--out", tmp_path / "x.pth")
    assert answer.code == 0, answer.err
    assert f"{tmp_path / 'x.pth'}: the network of {trained[0]}" in answer.words
    assert len(torch.load(tmp_path / "x.pth", weights_only=True)["state_dict"]) == 836
    answer = aclnet("export", trained[0], "--to", "official", "--out", tmp_path / "x.pth")
    assert answer.code == 2
    assert "already exists" in answer.words
