"""Results for other programs: every form of every command, its schema, and its errors."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from aclnet.cli.console import visible
from aclnet.cli.main import COMMANDS, cli
from aclnet.cli.results import Table, as_csv, emit
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores
from tests.cli.documents import SCHEMAS, check_json

ROOT = Path(__file__).parents[2]
LONG = "ntu60-xsub-j-s0-" + "0123456789abcdef" * 8
"""Name of a run that is longer than a terminal is wide."""
ELSEWHERE = {
    "demo": "test_demo.py",
    "identify": "test_people.py",
    "import-checkpoint": "test_official_path.py",
    "push": "../aclnet/sharing/test_hub.py",
    "pull": "../aclnet/sharing/test_hub.py",
    "sweep": "test_sweep.py",
}
"""Commands that need other data; the tests of these files run them with `--json`."""


@pytest.fixture(scope="module")
def every(trained_once, made_up_store, people, quick_arguments, tmp_path_factory):
    """Arguments of every command that needs no other data."""
    here = tmp_path_factory.mktemp("every")
    run = shutil.copytree(trained_once[0], here / "run")
    other = here / "other.npz"
    found = Scores.load(Run(run).test_scores)
    Scores(found.ids, found.scores[:, ::-1].copy(), found.labels).save(other)
    return {
        "datasets": [],
        "layouts": [],
        "prepare": ["ntu60", "--raw", people, "--out", here / "people.zarr"],
        "finalise": [here / "set.zarr", made_up_store, here / "people.zarr", "--prefix-ids"],
        "info": [made_up_store],
        "verify": [made_up_store],
        "view": [made_up_store, "--out", here / "view.html"],
        "report": [run, "--sequences", 0, "--out", here / "report.html"],
        "card": [made_up_store, "--out", here / "card"],
        "synth": ["ntu60", here / "raw", "--sequences", 2],
        "train": [made_up_store, "--out", run, *quick_arguments],
        "recipes": [],
        "settings": ["optim"],
        "bench": [made_up_store, "--seconds", 0.1, "--accelerator", "cpu", *quick_arguments],
        "evaluate": [run],
        "families": [run],
        "occlusion-bench": [run, "--drop", "hands"],
        "ensemble": [run, other],
        "compare": [run, "--with", other],
        "predict": [run, made_up_store],
        "export": [run, "--to", "official", "--out", here / "x.pth"],
    }


@pytest.mark.slow
def test_every_command_fits_its_schema(every, aclnet):
    assert {*every, *ELSEWHERE} == {*COMMANDS}
    for command, file in ELSEWHERE.items():
        text = (Path(__file__).parent / file).read_text("utf-8")
        assert re.search(rf'"{command}"[^#]*"--json"', text), file
    named = set()
    for command, arguments in every.items():
        answer = aclnet(command, *arguments, "--json")  # checks the schema
        assert answer.code == 0, answer.err
        named.add(json.loads(answer.out)["schema"])
    assert named == {f"aclnet.{command}/1" for command in every}


@pytest.mark.parametrize(
    "arguments", [["datasets", "ntu60"], ["layouts", "coco"], ["recipes", "default"]]
)
def test_a_name_has_a_schema_of_its_own(arguments, aclnet):
    document = json.loads(aclnet(*arguments, "--json").out)
    assert document["schema"] == f"aclnet.{arguments[0].removesuffix('s')}/1"


def test_every_form(every, aclnet):
    quick = ("datasets", "layouts", "info", "verify", "settings", "families", "ensemble", "compare")
    for command, arguments in ((command, every[command]) for command in quick):
        answers = {
            form: aclnet(command, *arguments, "--format", form)
            for form in ("csv", "markdown", "latex")
        }
        assert {answer.code for answer in answers.values()} == {0}, command
        frame = pd.read_csv(io.StringIO(answers["csv"].out))
        assert frame.columns[0] == "table", command
        assert frame["table"].notna().all(), command
        for line in answers["markdown"].out.splitlines():
            assert not line or line[0] in "|*", (command, line)
        tables = len(re.findall(r"^\| [:-]--?", answers["markdown"].out, re.MULTILINE))
        for word in ("begin", "end"):
            assert answers["latex"].out.count(rf"\{word}{{tabular}}") == tables, command


def test_schemas_are_schemas_and_every_key_is_described():
    for name, validator in SCHEMAS.items():
        Draft202012Validator.check_schema(validator.schema)
        assert validator.schema["properties"]["schema"]["const"].startswith(f"aclnet.{name}/")
        for part in _objects(validator.schema):
            assert part["additionalProperties"] is False
            assert all(entry["description"].endswith(".") for entry in part["properties"].values())


def _objects(schema):
    if isinstance(schema, dict):
        if "properties" in schema and isinstance(schema.get("required"), list):
            yield schema
        for inner in schema.values():
            yield from _objects(inner)


def test_the_check_of_documents_finds_faults():
    good = {"schema": "aclnet.verify/1", "store": "x.zarr", "damage": []}
    check_json(json.dumps(good))
    faults = ({"store": 1}, {"damage": [1]}, {"more": 1}, {"schema": "aclnet.verify/2"})
    for fault in faults:
        with pytest.raises(Exception, match=r"is not|was expected|Additional"):
            check_json(json.dumps(good | fault))


def test_the_documentation_lists_every_key():
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "json_docs.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["info", "nowhere.zarr"], "error"),
        (["info", "--wings"], "usage"),
        (["fly"], "usage"),
        (["evaluate"], "error"),
        (["demo", "--subjects", "1"], "usage"),
        (["export"], "usage"),
    ],
)
@pytest.mark.parametrize("option", [["--json"], ["--format", "json"], ["--format=json"]])
def test_failures_are_json_too(arguments, kind, option, aclnet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain, answer = aclnet(*arguments), aclnet(*arguments, *option)
    assert (plain.code, plain.out) == (2, "")
    assert (answer.code, answer.err) == (plain.code, plain.err)
    check_json(answer.out)
    document = json.loads(answer.out)
    assert document["schema"] == "aclnet.error/1"
    error = document["error"]
    assert (error["kind"], error["exit_status"]) == (kind, 2)
    assert " ".join(error["message"].split()) in answer.words


def test_after_the_double_dash_json_is_a_name(aclnet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = aclnet("info", "--", "--format=json")
    assert (answer.code, answer.out) == (2, "")


def test_a_stopped_command_says_so_in_json(aclnet, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "invoke", stop)
    answer = aclnet("info", "--json")
    error = json.loads(answer.out)["error"]
    assert (answer.code, error["exit_status"], error["kind"]) == (130, 130, "stopped")


TABLE = Table(
    "A & B, in %",
    ["run", "top-1"],
    [[LONG + "-first", "50.0 %"], [LONG + "-second", "7.5 %"], ["a_b|c\nd", ""]],
)


@pytest.fixture
def printed(capsys):
    def run(form: str, document=None, tables=(TABLE,)) -> str:
        emit(form, "thing/1", document or {}, tables)
        return capsys.readouterr().out

    return run


def test_piped_tables_are_neither_wrapped_nor_boxed(printed):
    lines = printed("table").splitlines()
    assert lines[0] == TABLE.title
    assert lines[2].split() == [LONG + "-first", "50.0", "%"]
    assert len({len(line) for line in lines[1:4]}) == 1, "numbers are right-aligned"
    assert not set("".join(lines)) & set("┃│━─┏└")


def test_on_a_terminal_names_of_runs_are_folded_and_not_cut(trained, aclnet, tmp_path):
    first, second = tmp_path / f"{LONG}-first", tmp_path / f"{LONG}-second"
    for run in (first, second):
        run.symlink_to(trained[0])
    answer = aclnet("compare", first, "--with", second, terminal=True)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert max(map(len, lines)) <= 80
    cells = [line.split("│")[1] for line in lines if line.startswith("│")]
    shown = "".join("".join(cells).split())
    assert f"{first.name}-{second.name}" in shown


def test_markdown(printed):
    title, empty, head, rule, *rows = printed("markdown").splitlines()
    assert (title, empty) == (f"**{TABLE.title}**", "")
    assert head == "| run | top-1 |"
    assert rule == "| :-- | --: |"
    assert rows[2] == "| a_b\\|c d |  |"
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in rows] == [3, 3, 3]


def test_latex(printed):
    lines = printed("latex").splitlines()
    assert lines[0].startswith("% A & B")
    assert lines[1] == r"\begin{tabular}{lr}"
    assert lines[5] == rf"{LONG}-first & 50.0 \% \\"
    assert lines[7] == r"a\_b|c d &  \\"
    assert lines[-1] == r"\end{tabular}"


ROWS = [
    {"run": 'a,"b"\nc', "top1": 0.123456789012345678, "samples": 2**53 + 1, "sd": None},
    {"run": "d", "top1": 1.0, "samples": 0, "sd": 0.5, "top": [{"label": "x"}, {"label": "y"}]},
]


def test_csv_has_all_digits_and_names_its_tables(printed):
    document = {"folder": "f", "pooled": {"p": 0.5}, "words": ["a", "b"], "rows": ROWS}
    document["others"] = [{"run": "e", "nan": float("nan")}]
    read = list(csv.DictReader(io.StringIO(printed("csv", document, ()))))
    own, *rows, other = read
    assert (own["table"], own["folder"], own["pooled.p"], own["words"]) == (
        "thing",
        "f",
        "0.5",
        "a; b",
    )
    assert [row["table"] for row in rows] == ["rows", "rows"]
    for row, wanted in zip(rows, ROWS, strict=True):
        assert row["run"] == wanted["run"]
        assert float(row["top1"]) == wanted["top1"]
        assert int(row["samples"]) == wanted["samples"]
    assert [row["sd"] for row in rows] == ["", "0.5"]
    assert (rows[1]["top.1.label"], rows[1]["top.2.label"]) == ("x", "y")
    assert (other["table"], other["run"], other["nan"]) == ("others", "e", "")


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), PLAIN, min_size=1), max_size=4))
def test_csv_keeps_every_cell_apart(rows):
    printed = visible(as_csv("thing", {"rows": rows}))  # as it leaves the command
    read = list(csv.DictReader(io.StringIO(printed)))
    if not rows:
        assert read == [{"table": "thing"}]
        return
    for row, wanted in zip(read, rows, strict=True):
        cells = {key: "" if x is None else visible(str(x)) for key, x in wanted.items()}
        assert row == dict.fromkeys(row, "") | {"table": "rows"} | cells


def test_scores_as_csv_are_those_of_the_npz(trained, aclnet, tmp_path):
    run, file = Run(trained[0]), tmp_path / "scores.csv"
    answer = aclnet("export", run.path, "--to", "csv", "--out", file, "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["file"] == str(file)
    names = run.class_names
    with np.load(run.test_scores) as stored, file.open(newline="") as stream:
        head, *rows = csv.reader(stream)
        assert head == ["id", "label", "prediction", *(f"p({name})" for name in names)]
        assert [row[0] for row in rows] == stored["ids"].tolist()
        for row, label, scores in zip(rows, stored["labels"], stored["scores"], strict=True):
            assert row[1:3] == [names[label], names[np.argmax(scores)]]
            np.testing.assert_array_equal(np.array(row[3:], np.float32), scores)
    again = aclnet("export", run.path, "--to", "csv", "--out", file)
    assert "already exists" in again.words


def test_scores_of_a_split_by_name(trained, aclnet, tmp_path):
    file = tmp_path / "x.csv"
    answer = aclnet("export", trained[0], "--to", "csv", "--scores", "xsub-val", "--out", file)
    assert answer.code == 2
    assert "xsub-val.npz: there are no scores; `aclnet evaluate` writes them" in answer.words
    assert not file.exists()
    answer = aclnet("export", trained[0], "--to", "official", "--scores", "xsub-test")
    assert "--scores is for csv" in answer.words
