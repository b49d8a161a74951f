"""`aclnet report`: figures of the page against counts of our own, its text, and its safety."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from math import comb
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import rc_context

from aclnet.report.figures import SETTINGS, classes_figure, confusion_figure
from aclnet.report.parts import Classes, Confusion, Labels
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

HOSTILE = [
    "</script><script>alert(1)</script>",
    '<img src="https://example.org/x.png" onerror="alert(2)">',
    "{{ 7 * 7 }} & \"quotes\" 'single' <!-- $x^2$",
]


class Page(HTMLParser):
    """Elements of a page, and the JSON in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.words: list[str] = []
        self._json = False
        self._inside = ""
        self.feed(self.source)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self._inside = tag
        self._json = dict(attrs).get("type") == "application/json"
        self.addresses += [v for n, v in attrs if n in ("src", "href", "srcset", "action")]
        self.handlers += [n for n, _ in attrs if n.startswith("on")]

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._json and self._inside == "script":
            self.data = json.loads(data)
        elif self._inside not in ("script", "style"):
            self.words.append(data)


@pytest.fixture(scope="module")
def runs(trained_once, aclnet, tmp_path_factory) -> tuple[Path, Path]:
    """Two runs on the same samples, the first with an occlusion bench."""
    folder = tmp_path_factory.mktemp("report")
    first, second = folder / "first", folder / "second"
    shutil.copytree(trained_once[0], first)
    shutil.copytree(trained_once[0], second)
    drops = [f"--drop=joints-v1/frame-{share}" for share in (0.1, 0.5)]
    assert aclnet("occlusion-bench", first, "--drop", "legs", *drops, "--clips", 1).code == 0
    # the second one is right on four more samples, and wrong on one that the first one has right
    file = Run(second).test_scores
    scores = Scores.load(file)
    changed = scores.scores.copy()
    wrong, right = np.flatnonzero(~scores.correct), np.flatnonzero(scores.correct)
    for row in wrong[:4]:
        changed[row, scores.labels[row]] = 2
    for row in right[:1]:
        changed[row, (scores.labels[row] + 1) % changed.shape[1]] = 2
    Scores(scores.ids, changed, scores.labels).save(file)
    return first, second


@pytest.fixture(scope="module")
def made(runs, aclnet, tmp_path_factory) -> tuple[Page, Path]:
    """The page of both runs, and the folder of their figures."""
    folder = tmp_path_factory.mktemp("page")
    out, figures = folder / "report.html", folder / "figures"
    answer = aclnet("report", *runs, "--out", out, "--figures", figures)
    assert answer.code == 0, answer.err
    assert str(out) in answer.out
    return Page(out), figures


def test_the_first_screen_has_the_accuracy_of_the_scores(made, runs):
    page, _ = made
    with np.load(Run(runs[0]).test_scores) as stored:
        right = sum(
            int(max(range(len(row)), key=row.__getitem__) == label)
            for row, label in zip(stored["scores"].tolist(), stored["labels"].tolist(), strict=True)
        )
        total = len(stored["ids"])
    figures = {label: figure for label, figure, _ in page.data["runs"][0]["headline"]}
    assert figures["top-1 accuracy"] == f"{100 * right / total:.1f} %"
    assert figures["test sequences"] == str(total)
    assert f"top-1 accuracy {100 * right / total:.1f} %" in page.text


def test_confusions_and_classes_are_those_of_the_scores(made, runs):
    page, _ = made
    for number, path in enumerate(runs):
        with np.load(Run(path).test_scores) as stored:
            answers = list(
                zip(
                    stored["ids"].tolist(),
                    stored["labels"].tolist(),
                    [row.index(max(row)) for row in stored["scores"].tolist()],
                    strict=True,
                )
            )
        found = page.data["runs"][number]
        cells = Counter((true, predicted) for _, true, predicted in answers)
        assert {(t, p): n for t, p, n in found["confusion"]["cells"]} == cells
        assert [tuple(one[:3]) for one in found["confusion"]["samples"]] == answers
        sizes = Counter(true for _, true, _ in answers)
        assert {row["class"]: row["samples"] for row in found["classes"]["rows"]} == sizes
        for row in found["classes"]["rows"]:
            right = cells[row["class"], row["class"]]
            assert row["accuracy"] == pytest.approx(right / sizes[row["class"]])
            assert row["low"] <= row["accuracy"] <= row["high"]
            mistakes = {p: n for (t, p), n in cells.items() if t == row["class"] != p}
            assert row["times"] == max(mistakes.values(), default=0)
            assert mistakes.get(row["taken_for"], 0) == row["times"]
        both = Counter()
        for (true, predicted), count in cells.items():
            if true != predicted:
                both[frozenset((true, predicted))] += count
        pairs = found["classes"]["pairs"]
        assert {frozenset((r["first"], r["second"])): r["forth"] + r["back"] for r in pairs} == both
        assert all(row["forth"] >= row["back"] for row in pairs)


def test_curves_are_the_metrics_and_tell_where_terms_start(made, runs):
    page, _ = made
    with (runs[0] / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    curves = page.data["runs"][0]["curves"]
    assert curves["epochs"] == [1, 2]
    for name in ("loss", "cross_entropy", "accuracy", "lr"):
        assert curves["figures"][name] == [float(row[name]) for row in rows]
    for term in ("inter", "intra", "triplet"):
        values = [float(row[term]) for row in rows]
        active = [n for n, value in enumerate(values, start=1) if value]
        assert curves["starts"].get(term) == (active[0] if active else None)
        for epoch, value in enumerate(curves["figures"][term], start=1):
            before = not active or epoch < active[0]
            assert value is None if before else value == values[epoch - 1]
    assert curves["starts"]["inter"] == 2, "the families of epoch 1 are used from epoch 2"
    assert "The inter-class term starts in epoch 2." in page.text


def test_families_are_those_of_the_history(made, runs):
    page, _ = made
    run = Run(runs[0])
    families = page.data["runs"][0]["families"]
    for epoch, pairs in zip(families["epochs"], families["affinity"], strict=True):
        affinity = run.history.read("affinity", epoch - 1)
        C = len(affinity)
        expected = {
            (a, b): max(affinity[a, b], affinity[b, a]) for a in range(C) for b in range(a + 1, C)
        }
        assert {(a, b): v for a, b, v in pairs} == {
            pair: pytest.approx(float(value), abs=6e-4) for pair, value in expected.items() if value
        }
    assert families["epochs"][-1] == 2
    member = run.history.read("family", 1)
    for row in families["rows"]:
        assert {other for other, _ in row["members"]} == set(np.flatnonzero(member[row["class"]]))


def test_the_bench_and_the_map_are_those_of_the_run(made, runs):
    page, _ = made
    first, second = page.data["runs"]
    (file,) = (runs[0] / "occlusion").glob("*.json")
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    expected = {row["protocol"]: row["accuracy"] for row in rows}
    (bench,) = first["occlusion"]
    assert {row["protocol"]: row["accuracy"] for row in bench["rows"]} == expected
    assert [row["severity"] for row in bench["rows"] if row["curve"]] == [0.1, 0.5]
    assert f"aclnet occlusion-bench {second['path']} --suite quick" in page.text
    scores = Scores.load(Run(runs[0]).test_scores)
    labels = dict(zip(scores.ids.tolist(), scores.labels.tolist(), strict=True))
    for found in (first, second):
        points = found["embedding"]["points"]
        assert {id_: label for id_, _, _, label in points} == labels
        assert all(0 <= x <= 1 and 0 <= y <= 1 for _, x, y, _ in points)


@pytest.fixture(scope="module")
def written(trained_once, aclnet, tmp_path_factory) -> tuple[Page, list[Path]]:
    """The page of two runs whose scores, curves and affinities we wrote."""
    folder = tmp_path_factory.mktemp("written")
    paths = [folder / "first", folder / "second"]
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(6), 20)
    for path, gains in zip(paths, ([0, 0, 0, 0, 0, 0], [3, 1, 0.5, 0, 0, -3]), strict=True):
        shutil.copytree(trained_once[0], path)
        record = json.loads((path / "run.json").read_text(encoding="utf-8"))
        del record["sha256"], record["files"]
        (path / "run.json").write_text(json.dumps(record), encoding="utf-8")
        run = Run(path)
        scores = rng.random((len(labels), len(run.score_names)), dtype=np.float32)
        scores[:, 6:] = 0
        scores[np.arange(len(labels)), labels] += 0.4 + np.array(gains)[labels]
        Scores(np.array([f"s{n:03}" for n in range(len(labels))]), scores, labels).save(
            run.test_scores
        )
        affinity = np.zeros((len(run.class_names),) * 2, np.float32)
        affinity[0, 1], affinity[1, 0], affinity[3, 2] = 0.5, 1.25, 0.75
        run.history.write(1, {"affinity": affinity})
        rows = zip(range(1, 5), (0, 2, 0, 1), (1, 1, 1, 1), strict=True)
        lines = [f"{epoch},0.1,1,0.5,60,{inter},{intra}" for epoch, inter, intra in rows]
        text = "\n".join(["epoch,lr,loss,accuracy,seconds,inter,intra", *lines, ""])
        (path / "metrics.csv").write_text(text, encoding="utf-8")
    out = folder / "report.html"
    answer = aclnet("report", *paths, "--out", out, "--sequences", 0)
    assert answer.code == 0, answer.err
    return Page(out), paths


def test_a_term_that_rests_after_its_start_is_zero_not_missing(written):
    page, _ = written
    curves = page.data["runs"][0]["curves"]
    assert curves["figures"]["inter"] == [None, 2, 0, 1]
    assert curves["starts"] == {"inter": 2, "intra": 1}
    assert "time of training 4 min" in page.text


def test_affinity_is_that_of_the_stronger_direction(written):
    page, _ = written
    families = page.data["runs"][0]["families"]
    last = {(a, b): value for a, b, value in families["affinity"][-1]}
    assert last == {(0, 1): 1.25, (2, 3): 0.75}


def exact_mcnemar(first: int, second: int) -> float:
    n = first + second
    tail = sum(comb(n, k) for k in range(min(first, second) + 1)) / 2**n
    return min(1.0, 2 * tail)


def test_improvement_by_class_is_what_counting_gives(written):
    page, runs = written
    a, b = (Scores.load(Run(path).test_scores) for path in runs)
    (found,) = page.data["improvements"]
    tests = []
    for row in found["classes"]:
        places = [i for i, label in enumerate(a.labels.tolist()) if label == row["class"]]
        before = [bool(a.correct[i]) for i in places]
        after = [bool(b.correct[i]) for i in places]
        pairs = Counter(zip(before, after, strict=True))
        assert row["samples"] == len(places)
        assert row["first"] == pytest.approx(sum(before) / len(places))
        assert row["second"] == pytest.approx(sum(after) / len(places))
        assert row["only_first"] == pairs[True, False]
        assert row["only_second"] == pairs[False, True]
        assert row["p"] == pytest.approx(exact_mcnemar(row["only_first"], row["only_second"]))
        tests.append((row["p"], row["q"]))
    assert any(p < 0.01 for p, _ in tests)
    assert any(0.01 < p < 1 for p, _ in tests)
    # Benjamini and Hochberg: the least of p m / rank among the p-values that are not smaller
    tests.sort()
    corrected = [p * len(tests) / rank for rank, (p, _) in enumerate(tests, start=1)]
    for place, (_, q) in enumerate(tests):
        assert q == pytest.approx(min(1.0, *corrected[place:]))
    total = found["total"]
    assert total["second"] - total["first"] == pytest.approx(total["difference"])
    gained = int(b.correct.sum()) - int(a.correct.sum())
    assert gained == total["only_second"] - total["only_first"] > 0
    assert f"second is {100 * gained / len(a):.1f} points more accurate than first" in page.text
    better, worse = (
        sum(
            q < 0.05 and sign * row["difference"] > 0
            for row in found["classes"]
            for q in [row["q"]]
        )
        for sign in (1, -1)
    )
    assert f"{better} better and {worse} worse, of 6." in page.text
    assert min(better, worse) > 0


def test_the_page_loads_nothing(made):
    page, _ = made
    assert page.addresses
    assert all(re.match(r"#[\w-]+$|data:,$", address) for address in page.addresses)
    assert set(re.findall(r"https?://[^\s\"']+", page.source)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\(", page.source)
    assert "default-src 'none'" in page.source
    targets = set(re.findall(r'id="([\w-]+)"', page.source))
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= targets


def test_each_chart_becomes_an_svg_and_a_pdf(made):
    _, folder = made
    charts = {file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.svg")}
    of_run = {"curves", "confusion", "classes", "affinity", "families", "embedding"}
    assert charts == {f"{run}/{name}" for run in ("first", "second") for name in of_run} | {
        "first/occlusion",
        "first/occlusion-severity",
        "improvement-second",
    }
    for chart in charts:
        root = ElementTree.parse(folder / f"{chart}.svg").getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert len(list(root.iter())) > 20
        pdf = (folder / f"{chart}.pdf").read_bytes()
        assert pdf.startswith(b"%PDF-")
        assert pdf.rstrip().endswith(b"%%EOF")
        assert b"/Type3" not in pdf, "publishers refuse these fonts"


def test_figures_name_120_classes_without_overlap():
    names = [f"class {number} $with$ a long na$me" for number in range(120)]
    labels = Labels(names, list(range(120)), [0] * 120)
    rows = [
        {"class": c, "samples": 4, "accuracy": 0.5, "low": 0.2, "high": 0.8, "precision": 0.5}
        | {"taken_for": None, "times": 0}
        for c in range(120)
    ]
    cells = [(c, c, 3) for c in range(120)] + [(c, (c + 7) % 120, 1) for c in range(120)]
    with rc_context(SETTINGS):
        for figure in (
            classes_figure("run", Classes(rows, []), labels),
            confusion_figure("run", Confusion(cells, [], True, "probability"), labels),
        ):
            figure.draw_without_rendering()
            axes = figure.axes[0]
            texts = axes.get_yticklabels()
            assert [text.get_text()[:10] for text in texts] == [name[:10] for name in names]
            boxes = sorted((text.get_window_extent() for text in texts), key=lambda box: box.y0)
            # a line of text may use the space below its letters
            assert all(a.y1 - 2 <= b.y0 for a, b in pairwise(boxes))
            assert axes.get_title(loc="left")
            assert axes.get_xlabel()


def test_hostile_names_are_text(runs, aclnet, tmp_path):
    path = tmp_path / "<b>run"
    shutil.copytree(runs[0], path)
    record = json.loads((path / "run.json").read_text(encoding="utf-8"))
    del record["sha256"]
    occurring = sorted(set(Scores.load(Run(path).test_scores).labels.tolist()))
    for label, name in zip(occurring, HOSTILE, strict=False):
        record["class_names"][label] = name
    (path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    scores = Scores.load(Run(path).test_scores)
    ids = scores.ids.astype("U80")
    ids[0] = "</script><script>alert(3)</script>"
    Scores(ids, scores.scores, scores.labels).save(Run(path).test_scores)
    answer = aclnet("report", path, "--out", tmp_path / "page.html")
    assert answer.code == 0, answer.err
    page = Page(tmp_path / "page.html")
    assert page.tags["script"] == 3, "the data, and our own code for charts and for skeletons"
    assert not page.tags["img"]
    assert not page.tags["b"]
    assert not page.handlers
    assert all(address[0] in "#d" for address in page.addresses)
    found = page.data["runs"][0]
    assert [found["labels"]["names"][c] for c in occurring[:3]] == HOSTILE
    assert ids[0] in [sample[0] for sample in found["confusion"]["samples"]]
    assert found["name"] == "<b>run"
    for name in HOSTILE:
        assert " ".join(name.split()) in page.text
    assert "could not be embedded" in page.text, "the store has other classes"


def test_missing_parts_are_told_with_their_command(runs, aclnet, tmp_path):
    path = tmp_path / "bare"
    shutil.copytree(runs[1], path)
    for part in ("scores", "history.zarr", "occlusion", "tb"):
        shutil.rmtree(path / part, ignore_errors=True)
    (path / "metrics.csv").unlink()
    out = tmp_path / "page.html"
    answer = aclnet("report", path, "--out", out, "--sequences", 0)
    assert answer.code == 0, answer.err
    page = Page(out)
    for command in ("evaluate", "occlusion-bench"):
        assert f"aclnet {command} {path}" in page.text
    assert "No epoch was trained yet." in page.text
    assert "The report was made without embeddings." in page.text
    assert page.source.count('class="missing"') >= 7
    # compared with a run whose scores are there, and that has the same name
    other = tmp_path / "other" / "bare"
    shutil.copytree(runs[0], other)
    assert aclnet("report", other, path, "--out", out, "--sequences", 0).code == 0
    page = Page(out)
    assert f"There are no scores of xsub/test yet. Make the data with aclnet evaluate {path}" in (
        page.text
    )
    assert f"{path} compared with {other}" in page.text


def test_the_errors_have_skeletons_if_the_store_is_there(made, runs, aclnet, tmp_path):
    page, _ = made
    for found in page.data["runs"]:
        wrong = {
            id_ for id_, true, predicted, _ in found["confusion"]["samples"] if true != predicted
        }
        shown = found["skeletons"]["examples"]
        assert {row["id"] for row in shown} == wrong
        keys = {found["skeletons"]["prefix"] + id_ for row in shown for _, id_ in row["forms"]}
        assert keys <= set(page.data["sequences"]["forms"])
    out = tmp_path / "page.html"
    gone = ("--store", tmp_path / "gone.zarr", "--sequences", 0)
    assert aclnet("report", runs[0], "--out", out, *gone).code == 0
    without = Page(out)
    assert "The skeletons could not be read" in without.text
    assert not without.data["sequences"]["forms"]
    same = ("confusion", "classes", "accuracy", "families", "occlusion", "curves")
    for part in same:
        assert without.data["runs"][0][part] == page.data["runs"][0][part]
    limit = ("--skeletons", 0.05, "--sequences", 0)
    assert aclnet("report", *runs, "--out", out, *limit).code == 0
    forms = Page(out).data["sequences"]["forms"]
    assert 0 < len(json.dumps(forms, separators=(",", ":"))) <= 50_000


def test_mistakes_end_in_a_message(runs, aclnet, tmp_path, monkeypatch):
    answer = aclnet("report", tmp_path)
    assert answer.code == 2
    assert "is not a run of aclnet" in answer.words
    damaged = tmp_path / "damaged"
    shutil.copytree(runs[0], damaged)
    (damaged / "metrics.csv").write_text("epoch,loss\n1,much\n", encoding="utf-8")
    answer = aclnet("report", damaged, "--out", tmp_path / "page.html")
    assert answer.code == 2
    assert "metrics.csv is damaged" in answer.words
    monkeypatch.setattr("aclnet.report.needs.find_spec", lambda module: None)
    answer = aclnet("report", runs[0], "--out", tmp_path / "page.html")
    assert answer.code == 2
    assert 'pip install "aclnet[report]"' in answer.words
    assert not (tmp_path / "page.html").exists()
