"""`aclnet families` as a person and a machine meet it."""

from __future__ import annotations

import json

import numpy as np

from aclnet.runs.run import Run


def test_what_a_person_sees(trained, aclnet):
    path, _ = trained
    answer = aclnet("families", path)
    assert answer.code == 0, answer.err
    assert max(map(len, answer.out.splitlines())) <= 80
    assert "after epoch 2" in answer.words
    assert "of 6 classes that occur have no family" in answer.words
    assert "jump up" not in answer.out + answer.err, "who never occurs is not listed"
    assert (path / "affinity.png").read_bytes().startswith(b"\x89PNG")


def test_json_holds_what_was_recorded(trained, aclnet):
    path, _ = trained
    run = Run(path)
    for epoch in (1, 2):
        answer = aclnet("families", path, "--epoch", epoch, "--json")
        found = json.loads(answer.out)
        assert found["epoch"] == epoch
        member = run.history.read("family", epoch - 1)
        temperature = run.history.read("temperature", epoch - 1)
        names = run.class_names
        assert len(found["families"]) == 6
        for family in found["families"]:
            c = names.index(family["class"])
            assert set(family["family"]) == {names[b] for b in np.flatnonzero(member[c])}
            assert family["temperature"] == float(temperature[c])


def test_families_of_scores_have_a_figure_of_their_own(trained, aclnet):
    path, _ = trained
    answer = aclnet("families", path, "--scores", "xsub-test", "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert (found["origin"], found["epoch"]) == ("of scores xsub-test", None)
    assert (path / "affinity-xsub-test.png").is_file()


def test_mistakes_end_in_a_message(trained, aclnet, tmp_path):
    path, _ = trained
    for arguments, message in (
        ([path, "--epoch", 3], "has trained 2 epochs; there is no epoch 3 yet"),
        ([path, "--epoch", 0], "--epoch"),
        ([path, "--epoch", 1, "--scores", "xsub-test"], "give one"),
        ([path, "--scores", "nothing"], "no scores there"),
        ([tmp_path], "is no run of aclnet"),
    ):
        answer = aclnet("families", *arguments)
        assert answer.code == 2
        assert message in answer.words
        assert "Traceback" not in answer.err
