"""`aclnet occlusion-bench` as a person and a machine meet it."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest

from aclnet.runs.run import Run


@pytest.fixture
def own_run(trained, tmp_path) -> Run:
    shutil.copytree(trained[0], tmp_path / "own")
    return Run(tmp_path / "own")


def test_what_a_person_sees_and_finds(own_run, aclnet):
    answer = aclnet("occlusion-bench", own_run.path, "--drop", "hands", "--drop", "left_leg+head")
    assert answer.code == 0, answer.err
    assert max(map(len, answer.out.splitlines())) <= 80
    for words in (
        "nothing (clean)",
        "hands (centre)",
        "left_leg+head (centre)",
        "weights: the last",
    ):
        assert words in answer.out
    for published in ("79.6", "17.1"):
        assert published not in answer.out + answer.err
    folder, stem = own_run.path / "occlusion", "xsub-test.centre.hands,left_leg+head"
    table = pd.read_csv(folder / f"{stem}.csv")
    assert table["corruption"].tolist() == [
        "nothing (clean)",
        "hands (centre)",
        "left_leg+head (centre)",
    ]
    assert (folder / f"{stem}.png").read_bytes().startswith(b"\x89PNG")


def test_every_meaning_of_missing_has_files_of_its_own(own_run, aclnet):
    tops = {}
    for missing in ("centre", "camera", "feature"):
        answer = aclnet(
            "occlusion-bench", own_run.path, "--drop", "hands", "--missing", missing, "--json"
        )
        rows = json.loads(answer.out)["rows"]
        assert [row["corruption"] for row in rows] == ["nothing (clean)", f"hands ({missing})"]
        tops[missing] = rows[1]["top1"]
    files = {f.name for f in (own_run.path / "occlusion").iterdir()}
    assert files == {f"xsub-test.{m}.hands.{end}" for m in tops for end in ("csv", "png")}
    for missing, top1 in tops.items():
        table = pd.read_csv(own_run.path / "occlusion" / f"xsub-test.{missing}.hands.csv")
        assert table["top1"][1] == top1


def test_mistakes_end_in_a_message(own_run, aclnet, tmp_path):
    for arguments, message in (
        (["--drop", "wings"], "'wings' is no part or joint of layout nturgb+d. Parts: "),
        (["--drop", "hands+wings"], "'wings' is no part or joint"),
        (["--drop", "arms+legs+trunk+head"], "is every joint of layout"),
        (["--drop", "hands", "--missing", "gone"], "'gone' is not one of"),
        ([], "Missing option '--drop'"),
        (["--drop", "hands", "--split", "xview/train"], "has no sample"),
    ):
        answer = aclnet("occlusion-bench", own_run.path, *arguments)
        assert answer.code == 2, arguments
        assert message in answer.words
        assert "Traceback" not in answer.err
    assert not (own_run.path / "occlusion").exists()
