"""Cards of stores and runs: Croissant that mlcroissant reads, and figures that the run holds."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

import aclnet
from aclnet.datasets.spec import AclnetError
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores
from aclnet.sharing import origin
from aclnet.sharing.cards import card_files, opened, write_card
from aclnet.sharing.dataset_card import dataset_card
from aclnet.sharing.markdown import plain
from aclnet.sharing.model_card import model_card

# of the JSON-LD library of mlcroissant
pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning:rdflib")


def front_matter(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def rows_of(card: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading."""
    lines = card.split(f"{heading}\n")[1].lstrip().splitlines()
    table = [line for line in lines[: lines.index("") if "" in lines else None] if line[0] == "|"]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[2:]]


@pytest.fixture(scope="module", params=["space", "pixels"])
def carded(request, people_store, pixel_store, tmp_path_factory):
    """A copy of a store with its card, and the store."""
    store = aclnet.open_store(people_store) if request.param == "space" else pixel_store
    folder = tmp_path_factory.mktemp("card") / "copy.zarr"
    shutil.copytree(store.path, folder)
    write_card(aclnet.open_store(folder), license_id="cc-by-4.0")
    return folder, store


def test_mlcroissant_reads_the_samples_of_the_store(carded):
    """Validation and the reading of records are those of mlcroissant."""
    croissant = pytest.importorskip("mlcroissant")
    folder, store = carded
    dataset = croissant.Dataset(str(folder / "croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    found = pd.DataFrame(dataset.records("samples"))
    assert [text.decode() for text in found["samples/id"]] == store.column("id").tolist()
    for name in ("label", "subject", "n_frames", "n_persons", "start"):
        assert found[f"samples/{name}"].tolist() == store.column(name).tolist(), name
    names = [store.class_names[label] for label in store.column("label")]
    assert [text.decode() for text in found["samples/class"]] == names
    for split, mask in store.splits.items():
        protocol, side = split.split("/")
        inside = [x == side.encode() for x in found[f"samples/split_{protocol}"]]
        assert inside == mask.tolist(), split
    classes = [record["classes/name"] for record in dataset.records("classes")]
    assert [text.decode() if isinstance(text, bytes) else text for text in classes] == (
        store.class_names
    )


def test_mlcroissant_finds_changed_files(carded, tmp_path):
    """The hashes are of the files that lie beside the metadata."""
    croissant = pytest.importorskip("mlcroissant")
    folder = shutil.copytree(carded[0], tmp_path / "changed.zarr")
    described = json.loads((folder / "croissant.json").read_text())
    for entry in described["distribution"]:
        if entry["@type"] == "cr:FileObject":
            content = (folder / entry["contentUrl"]).read_bytes()
            assert entry["contentSize"] == f"{len(content)} B"
            assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        else:
            assert list(folder.glob(entry["includes"]))
    described["recordSet"][1]["field"][0]["source"]["fileObject"]["@id"] = "nothing.csv"
    (folder / "croissant.json").write_text(json.dumps(described))
    with pytest.raises(croissant.ValidationError):
        croissant.Dataset(str(folder / "croissant.json"))


def test_a_store_with_its_card_is_the_same_store(carded):
    folder, store = carded
    assert aclnet.open_store(folder).digest == store.digest
    card = (folder / "README.md").read_text()
    head = front_matter(card)
    assert head["license"] == "cc-by-4.0"
    assert head["size_categories"] == ["n<1K"]
    counts = [[c, int(n)] for _, c, n in rows_of(card, "### Classes")]
    labels = store.column("label").tolist()
    assert counts == [[plain(n), labels.count(c)] for c, n in enumerate(store.class_names)]
    splits = {name: int(samples) for name, samples, *_ in rows_of(card, "### Splits")}
    assert splits == {plain(name): mask.sum() for name, mask in store.splits.items()}


def test_the_origin_is_that_of_the_catalogue_or_unknown(people_store, monkeypatch):
    store = aclnet.open_store(people_store)
    card = dataset_card(store)
    assert "Shahroudy et al." in card
    assert front_matter(card)["license"] == "unknown"
    monkeypatch.setattr("aclnet.sharing.dataset_card.published", lambda _: None)
    assert "The records do not tell who made the recordings" in dataset_card(store)
    assert origin.published("custom") is None
    assert origin.published("of-another-package") is None


def test_texts_of_a_store_are_no_markdown(people_store):
    store = aclnet.open_store(people_store)
    names = ["a|b", "<script>x</script>", "[x](y)\n# z", *store.class_names[3:]]
    store.class_names = names
    store.attributes = store.attributes.model_copy(update={"class_names": names, "title": '"\n---'})
    card = dataset_card(store)
    assert front_matter(card)["pretty_name"] == '" ---, skeletons prepared by aclnet'
    lines = card.splitlines()
    assert "| 0 | a\\|b |" in card
    assert "| 1 | \\<script\\>x\\</script\\> |" in card
    assert "| 2 | \\[x\\](y) \\# z |" in card
    assert not [line for line in lines if line.startswith("# z")]


def test_figures_of_a_run_are_those_of_its_scores(quick_run):
    card = model_card(quick_run, "mit")
    scores = Scores.load(quick_run.test_scores)
    shown = dict(rows_of(card, "## Results\n\nTest on `xsub/test` at the end of the training:"))
    assert shown["top-1 accuracy"] == f"{100 * scores.correct.mean():.1f} %"
    assert shown["samples"] == str(len(scores))
    head = front_matter(card)
    assert head["license"] == "mit"
    result = head["model-index"][0]["results"][0]
    assert result["metrics"][0]["value"] == pytest.approx(scores.correct.mean())
    rows = rows_of(card, "### Classes, the worst first")
    for name, samples, right in rows:
        mine = scores.labels == [plain(n) for n in quick_run.class_names].index(name)
        assert int(samples) == mine.sum()
        assert right == f"{100 * scores.correct[mine].mean():.1f} %"
    assert sum(int(samples) for _, samples, _ in rows) == len(scores)
    pairs = rows_of(card, "### Most often confused")
    assert [int(times) for *_, times, _ in pairs] == sorted(
        (int(times) for *_, times, _ in pairs), reverse=True
    )
    names = np.array([plain(name) for name in quick_run.class_names])
    for of, to, times, _ in pairs:
        assert of != to
        hits = (names[scores.labels] == of) & (names[scores.predictions] == to)
        assert hits.sum() == int(times)


def test_hugging_faces_library_reads_the_results(quick_run):
    hub = pytest.importorskip("huggingface_hub")
    results = hub.ModelCard(model_card(quick_run)).data.eval_results
    assert [(r.dataset_type, r.metric_value) for r in results] == [
        ("ntu60", quick_run.result["top1"])
    ]


def test_a_later_test_is_told_beside_the_result(quick_run, tmp_path):
    run = Run(shutil.copytree(quick_run.path, tmp_path / "run"))
    scores = Scores.load(run.test_scores)
    right = np.eye(scores.scores.shape[1], dtype=np.float32)[scores.labels]
    replace(scores, scores=right).save(run.test_scores)
    card = model_card(run)
    assert "top-1 accuracy 100.0 %" in card
    assert f"| top-1 accuracy | {100 * run.result['top1']:.1f} % |" in card


def test_a_run_that_was_tested_on_is_called_optimistic(quick_run, tmp_path):
    run = Run(shutil.copytree(quick_run.path, tmp_path / "run"))
    assert "optimistic" not in model_card(run)
    run.config = run.config.model_copy(update={"select": "test"})
    assert "so the results are optimistic" in model_card(run)
    run.test_scores.unlink()
    assert "### Classes, the worst first" not in model_card(run)
    assert "A later test" not in model_card(run)


def test_an_unfinished_run_has_no_card(quick_run, tmp_path, change_record):
    folder = shutil.copytree(quick_run.path, tmp_path / "run")
    change_record(folder, finished=False, result=None)
    with pytest.raises(AclnetError, match="not finished"):
        card_files(Run(folder))


def test_an_existing_card_is_kept(quick_run, tmp_path):
    write_card(quick_run, tmp_path)
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(AclnetError, match="--overwrite"):
        write_card(quick_run, tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    write_card(quick_run, tmp_path, overwrite=True)
    assert (tmp_path / "README.md").read_text() == model_card(quick_run)


def test_neither_store_nor_run(tmp_path):
    with pytest.raises(AclnetError, match="neither a store nor a run"):
        opened(tmp_path)
