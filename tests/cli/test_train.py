"""`aclnet train` as a person and a machine meet it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from aclnet.cli.monitors import TrainingScreen
from aclnet.runs.run import Run


def test_what_a_person_sees(trained, made_up_store):
    path, answer = trained
    assert answer.code == 0, answer.err
    assert f"{made_up_store}, recipe ntu60-xsub, tiny network, seed 0, 2 epochs" in answer.words
    assert "sgd, learning rate 0.0125 = 0.1 x batch 8 / 64" in answer.words
    epochs = [line for line in answer.err.splitlines() if line.startswith("epoch   ")]
    assert [line.split()[1] for line in epochs] == ["1/2", "2/2"]
    for words in ("loss", "train", "/s", "wait"):
        assert all(words in line for line in epochs)
    assert "top-1" in answer.out
    assert "the last" in answer.out
    assert max(map(len, [*epochs, *answer.out.splitlines()])) <= 80
    assert Run(path).finished


def test_again_it_says_that_it_is_finished(trained, made_up_store, aclnet, quick_arguments):
    path, _ = trained
    answer = aclnet("train", made_up_store, "--out", path, *quick_arguments, "--json")
    assert answer.code == 0
    assert "is finished already; --fresh trains it again" in answer.words
    (result,) = json.loads(answer.out)["runs"]
    about = {"run": str(path), "modality": "j", "split": "xsub/test"}
    assert result == {**about, **Run(path).result}


@pytest.mark.slow
def test_short_form_takes_the_newest_store_and_trains_beside_it(
    made_up_store, aclnet, quick_arguments, tmp_path, monkeypatch
):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "linked.zarr").symlink_to(made_up_store)
    monkeypatch.chdir(tmp_path)
    answer = aclnet(
        "train", *quick_arguments, "--set", "optim.epochs=1", "--modality", "b", "--seed", "7"
    )
    assert answer.code == 0, answer.err
    (run,) = (tmp_path / "data" / "linked.zarr.runs").iterdir()
    assert run.name.startswith("ntu60-xsub-b-s7-")
    assert "data/linked.zarr, recipe ntu60-xsub" in answer.words
    assert str(run.relative_to(tmp_path)) in answer.words


@pytest.mark.slow
def test_selecting_on_the_test_set_is_said(made_up_store, aclnet, quick_arguments, tmp_path):
    out = tmp_path / "run"
    for command in (
        ["train", made_up_store, "--out", out, *quick_arguments, "--select", "test"],
        ["evaluate", out],
        ["occlusion-bench", out, "--drop", "hands"],
    ):
        answer = aclnet(*command)
        assert answer.code == 0, answer.err
        assert "the best on the TEST set: optimistic" in answer.out + answer.words, command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.zarr"], "nowhere.zarr: there is no such store; `aclnet prepare` makes one"),
        (["STORE", "--set", "optim.epochs=0"], "optim.epochs: "),
        (
            ["STORE", "--set", "optim.epoch=0"],
            "no optim.epoch (did you mean optim.epochs?)",
        ),
        (["STORE", "--recipe", "cake"], "unknown recipe 'cake'; known: "),
        (["STORE", "--recipe", "cake.toml"], "recipe file cake.toml cannot be read"),
        (["STORE", "--protocol", "xview"], "protocol xview has 0 training and 36 test samples"),
        (
            ["STORE", "--protocol", "xset"],
            "no split 'xset/train' (did you mean xsub/train?)",
        ),
        (["STORE", "--split", "gone.csv"], "gone.csv cannot be read"),
        (["STORE", "--protocol", "xsub", "--split", "x.csv"], "give one"),
        (["STORE", "--init-from", "gone"], "gone is not a run of aclnet"),
        (["STORE", "--accelerator", "abacus"], "--accelerator abacus"),
        (["STORE", "--modality", "x"], "'x' is not one of"),
        (["STORE", "--modality", "j,x"], "'x' is not one of"),
        (["STORE", "--modality", "j,b,j"], "'j,b,j' contains a value twice"),
        (["STORE", "--modality", "j,b", "--devices", "2"], "--jobs, not --devices"),
        (["STORE", "--jobs", "2"], "--jobs is for several modalities"),
        (["STORE", "--modality", "j,b", "--set", "optim.speed=0"], "there is no optim.speed"),
        (["STORE", "--modality", "j,b", "--protocol", "xview"], "protocol xview has 0 training"),
        (["STORE", "--tracker", "x"], "known: tensorboard, wandb, mlflow, or your own as"),
        (["STORE", "--fold", "5/4"], "write it as 2/4"),
        (["STORE", "--fold", "1/9"], "has 4 subjects, which cannot make 9 folds"),
        (["STORE", "--fold", "1/2", "--split", "x.csv"], "give one"),
        (["STORE", "--out", "."], "already exists and is not a run of aclnet"),
        (["STORE", "--out", ".", "--fresh"], "already exists and is not a run of aclnet"),
    ],
)
def test_mistakes_end_in_a_message(
    arguments, message, made_up_store, aclnet, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thesis.tex").touch()
    given = [made_up_store if a == "STORE" else a for a in arguments]
    answer = aclnet("train", *given)
    assert answer.code == 2
    assert message in answer.words
    assert "Traceback" not in answer.err
    assert [f.name for f in tmp_path.iterdir()] == ["thesis.tex"], "nothing is left behind"


@pytest.mark.slow
def test_several_modalities(made_up_store, aclnet, quick_arguments, tmp_path):
    command = ["train", made_up_store, "--modality", "j,bm", "--out", tmp_path / "set"]
    command += [*quick_arguments, "--set", "optim.epochs=1", "--fold", "2/4"]
    answer = aclnet(*command, terminal=True)
    assert answer.code == 0, answer.err
    assert f"seed 0, 2 modalities in {tmp_path / 'set'} 1/2 j epoch 1/1" in answer.words
    assert "2/2 bm epoch 1/1" in answer.words
    runs = {run.config.data.modality: run for run in map(Run, (tmp_path / "set").iterdir())}
    assert sorted(runs) == ["bm", "j"]
    lines = answer.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("xsub-fold2of4 test, 6 samples, 2 clips, weights: the last")
    for modality, run in runs.items():
        (row,) = (line for line in lines if line.split()[1:2] == [modality])
        assert f"{100 * run.result['top1']:.1f} %" in row
        assert run.name in row
    paths = " ".join(str(runs[modality].path) for modality in ("j", "bm"))
    assert f"to fuse them: aclnet ensemble {paths}" in answer.words
    again = aclnet(*command, "--json")
    assert again.code == 0
    assert "epoch" not in again.err
    found = json.loads(again.out)["runs"]
    assert [run["run"] for run in found] == [str(runs[m].path) for m in ("j", "bm")]
    assert [run["top1"] for run in found] == [runs[m].result["top1"] for m in ("j", "bm")]


@pytest.mark.slow
def test_of_several_modalities_one_fails(made_up_store, aclnet, quick_arguments, tmp_path):
    def train(modality):
        return aclnet(
            *("train", made_up_store, "--modality", modality, "--out", tmp_path),
            *quick_arguments,
            *("--set", "optim.epochs=1", "--json"),
        )

    assert train("j,b").code == 0
    (joints,) = tmp_path.glob("*-j-*")
    (joints / "run.json").write_text("{")
    answer = train("j,b")
    assert answer.code == 2
    assert "error: 1 of 2 runs failed" in answer.err
    assert f"j: {joints}: run.json or config.toml is damaged" in answer.words
    found = json.loads(answer.out)
    assert [run["modality"] for run in found["runs"]] == ["b"]
    assert [failure["run"] for failure in found["failures"]] == [str(joints)]
    assert "Traceback" not in answer.err


def test_nothing_to_train_on(aclnet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = aclnet("train")
    assert (answer.code, answer.out) == (2, "")
    assert "no store below" in answer.words
    assert "aclnet prepare" in answer.words


def test_an_unfinished_store(aclnet, tmp_path):
    (tmp_path / "half.zarr").mkdir()
    answer = aclnet("train", tmp_path / "half.zarr")
    assert answer.code == 2
    assert "half.zarr: manifest.json is missing" in answer.words


def test_out_with_another_run(trained, made_up_store, aclnet, quick_arguments):
    path, _ = trained
    answer = aclnet("train", made_up_store, "--out", path, *quick_arguments, "--seed", "9")
    assert answer.code == 2
    assert "has another configuration, split or store; choose another --out" in answer.words


def test_few_real_recordings_are_all_on_one_side(real_data, aclnet, tmp_path):
    out = tmp_path / "ntu120.zarr"
    prepared = aclnet("prepare", "ntu120", "--raw", real_data / "ntu_raw", "--out", out)
    assert prepared.code == 0, prepared.err
    answer = aclnet("train", out)
    assert answer.code == 2
    assert "and 0 test samples, but both are needed" in answer.words
    assert "--split FILE.csv" in answer.words
    assert not (tmp_path / "ntu120.zarr.runs").exists()


@pytest.mark.slow
def test_two_processes_of_the_command(made_up_store, quick_arguments, tmp_path):
    """The launcher gives the command again to the second process."""
    out = tmp_path / "run"
    script = tmp_path / "command.py"
    script.write_text("from aclnet.cli.main import main; main()")
    subprocess.run(
        [
            *(sys.executable, script, "train", made_up_store, "--out", out),
            *("--accelerator", "cpu", "--devices", "2"),
            *quick_arguments,
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    run = Run(out)
    assert run.finished
    assert run.result["samples"] == 12


@pytest.mark.parametrize("held_out", [False, True])
def test_a_line_of_an_epoch_fits_a_terminal(held_out, capsys):
    progress = TrainingScreen(150)
    row = {
        "epoch": 150.0,
        "loss": 12.3456,
        "accuracy": 1.0,
        "sequences_per_second": 1234.5,
        "waiting": 1.0,
    }
    progress.epoch(row | ({"eval_accuracy": 1.0} if held_out else {}))
    line = capsys.readouterr().err
    assert "loss 12.35" in line
    assert "1,234/s" in line
    assert ("held out 100.0 %" in line) == held_out
    assert line.count("\n") == 1
    assert len(line.rstrip("\n")) <= 80
    quiet = TrainingScreen(150, quiet=True)
    quiet.epoch(row)
    quiet.remark("unseen")
    assert capsys.readouterr().err == ""
