"""`aclnet synth`."""

from __future__ import annotations

import json


def test_files_are_written_and_counted(aclnet, tmp_path):
    options = ("--sequences", 12, "--subjects", 2, "--damage", 0.2)
    result = aclnet("synth", "ntu60", tmp_path / "raw", *options, "--json")
    told = json.loads(result.out)
    assert told["sequences"] == len(list((tmp_path / "raw").glob("*.skeleton"))) == 12
    assert len(told["damaged"]) == 2
    assert told["damaged"] == sorted(told["damaged"])
    assert "12/12" in result.err


def test_mistakes(aclnet, tmp_path):
    for arguments, said in (
        (("--sequences", "0"), "sequences is 0"),
        (("--form", "csv"), "ntu60 has no form 'csv'; known: skeleton"),
        (("--subjects", "1"), "subjects is 1: give a number from 2 to 40"),
        (("--damage", "7"), "damage is 7"),
    ):
        result = aclnet("synth", "ntu60", tmp_path / "raw", *arguments)
        assert result.code == 2
        assert said in result.err
    (tmp_path / "file").write_text("")
    result = aclnet("synth", "ntu60", tmp_path / "file")
    assert result.code == 2
    assert "cannot write into" in result.err
    result = aclnet("synth", "moon", tmp_path / "raw")
    assert result.code == 2
    assert "moon has no synthetic recordings; known: biwi, casia-b" in result.err
