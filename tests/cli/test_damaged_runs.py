"""A damaged run is never read as a sound one, whatever file is damaged, and however."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import torch

from aclnet.datasets.store.store import Store
from aclnet.evaluation import figures

if TYPE_CHECKING:
    from tests.cli.conftest import Answer

# The events of TensorBoard and the lock are read by no command.
FILES = (
    "run.json",
    "config.toml",
    "split.csv",
    "metrics.csv",
    "checkpoints/last.pt",
    "checkpoints/best.pt",
    "history.zarr/zarr.json",
    "history.zarr/temperature/zarr.json",
    "history.zarr/temperature/c/1/0",
    "history.zarr/family/c/1/0/0",
    "history.zarr/confusion/train/c/0/0/0",
    "history.zarr/confusion/eval/c/1/0/0",
    "scores/file-test.npz",
)


def delete(file, _) -> None:
    file.unlink()


def empty(file, _) -> None:
    file.write_bytes(b"")


def cut(file, _) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file, _) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(data)


def exchange(file, other) -> None:
    contents = file.read_bytes(), other.read_bytes()
    file.write_bytes(contents[1])
    other.write_bytes(contents[0])


@pytest.fixture(scope="module")
def sound(made_up_store, aclnet, quick_arguments, tmp_path_factory):
    """A small finished run with every kind of file."""
    folder = tmp_path_factory.mktemp("sound")
    table = folder / "file.csv"
    store = Store(made_up_store)
    sides = ["train" if train else "test" for train in store.mask("xsub/train")]
    rows = [f"{name},{side}" for name, side in zip(store.column("id"), sides, strict=True)]
    table.write_text("\n".join(["id,split", *rows]))
    answer = aclnet(
        "train", made_up_store, "--split", table, "--select", "test", "--out", folder / "run",
        *quick_arguments, "--set=loss.families.neighbours=3",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    return folder / "run"


@pytest.fixture
def ask(sound, aclnet, monkeypatch):
    """What every command says of a run, and what it wrote for other software."""
    for name in ("draw_affinity", "draw_confusion", "draw_bench"):
        monkeypatch.setattr(figures, name, lambda *_: "figure")  # slow, and the same numbers

    def do(run, *, network: bool = True) -> dict[str, tuple[Answer, object]]:
        commands = {
            # before `evaluate`, which makes the scores again
            "compare": ("compare", run, "--with", sound, "--json"),
            "families": ("families", run, "--json"),
        }
        if network:
            commands |= {
                "evaluate": ("evaluate", run, "--json"),
                "occlusion-bench": ("occlusion-bench", run, "--drop", "hands", "--json"),
                "export": ("export", run, "--to", "official", "--out", run / "exported.pth"),
            }
        answers = {name: aclnet(*command) for name, command in commands.items()}
        exported = run / "exported.pth"
        weights = torch.load(exported, weights_only=True) if exported.is_file() else None
        return {name: (a, weights if name == "export" else a.out) for name, a in answers.items()}

    return do


def alike(found: object, expected: object) -> bool:
    if isinstance(expected, dict) and "state_dict" in expected:
        one, two = found["state_dict"], expected["state_dict"]
        same = one.keys() == two.keys() and all(torch.equal(one[n], two[n]) for n in two)
        return same and found["meta"] == expected["meta"]
    return found == expected


@pytest.mark.parametrize(
    "damage",
    # slow: most checks find an empty file or a part of one as they find a flipped bit
    [*(pytest.param(d, marks=pytest.mark.slow) for d in (empty, cut)), delete, flip, exchange],
)
def test_a_damaged_file_is_told_or_makes_no_difference(damage, sound, ask, tmp_path):
    run = tmp_path / "run"

    def copied():
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(sound, run)
        return run

    expected = ask(copied())
    assert [answer.code for answer, _ in expected.values()] == [0] * 5
    for number, name in enumerate(FILES):
        copied()
        damage(run / name, run / FILES[(number + 1) % len(FILES)])
        for command, (answer, result) in ask(run, network=not name.startswith("history")).items():
            where = f"{command} with {damage.__name__} of {name}: {answer.err}"
            assert answer.code in (0, 2), where
            if answer.code == 2:
                assert "error: " in answer.err, where
                assert str(run) in answer.err, where
            else:
                assert alike(result, expected[command][1]), where
