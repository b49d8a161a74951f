"""Common properties of all generators, and damage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError, SkeletonSequence
from aclnet.datasets.synth import Request, all_forms, get_generator
from aclnet.datasets.synth.damage import DAMAGES, spoil
from aclnet.datasets.synth.writing import text_rows

if TYPE_CHECKING:
    from pathlib import Path

FORMS = [(dataset, form) for dataset, forms in all_forms().items() for form in forms]
IN_METRES = [
    ("pkummd", "text"),
    ("pkummd", "pyskl"),
    ("nw-ucla", "json"),
    ("msr-action3d", "text"),
    ("sbu", "text"),
    ("utd-mhad", "mat"),
]
each_form = pytest.mark.parametrize(("dataset", "form"), FORMS)


def generate(folder: Path, dataset: str, form: str, **changes: float):
    arguments = {"sequences": 8, "subjects": 3, "seed": 5, "damage": 0.0} | changes
    return get_generator(dataset, form)(folder, Request(**arguments))


def contents(folder: Path) -> dict[Path, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder): file.read_bytes() for file in files}


@pytest.mark.slow
@each_form
def test_equal_requests_give_the_same_bytes(tmp_path: Path, dataset: str, form: str):
    for folder in ("a", "b"):
        generate(tmp_path / folder, dataset, form, damage=0.5)
    generate(tmp_path / "c", dataset, form, damage=0.5, seed=6)
    found = contents(tmp_path / "a")
    assert found == contents(tmp_path / "b")
    assert found != contents(tmp_path / "c")


@pytest.mark.parametrize(("dataset", "form"), IN_METRES)
def test_all_that_is_not_damaged_can_be_read(tmp_path: Path, dataset: str, form: str):
    summary = generate(tmp_path, dataset, form, sequences=10)
    source = open_raw(get_dataset(dataset), tmp_path)
    items, rejections = source.scan()
    assert not summary.damaged
    assert not rejections
    assert len(items) == summary.sequences == 10
    sequences = [source.read(item) for item in items]
    assert all(isinstance(sequence, SkeletonSequence) for sequence in sequences)
    heights = [np.ptp(sequence.keypoint[sequence.present][..., 1]) for sequence in sequences]
    assert 1.0 < min(heights) <= max(heights) < 3.0  # metres


@each_form
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, dataset: str, form: str):
    (tmp_path / "file").write_text("")
    with pytest.raises(AclnetError, match=r"cannot write .*file"):
        generate(tmp_path / "file", dataset, form)


@each_form
def test_values_out_of_range_are_told(tmp_path: Path, dataset: str, form: str):
    for what, value in (("damage", 2), ("subjects", 0), ("sequences", 0)):
        with pytest.raises(AclnetError, match=f"{what} is {value}: give a number from"):
            generate(tmp_path, dataset, form, **{what: value})
    assert not any(tmp_path.iterdir())


@each_form
def test_recordings_are_counted(tmp_path: Path, dataset: str, form: str):
    calls: list[tuple[str, int, int]] = []
    request = Request(sequences=8, subjects=3, seed=5)
    get_generator(dataset, form)(tmp_path, request, lambda *step: calls.append(step))
    assert calls == [("write", done, len(calls)) for done in range(1, 1 + len(calls))]
    assert calls


def test_damages_are_of_the_kinds_they_are_called():
    values = np.arange(2.0, 62.0).reshape(5, 4, 3)

    def spoilt(kind: str) -> list[list[float]]:
        content = spoil(values, kind, lambda v: text_rows(v.reshape(len(v), -1)), rng)
        return [[float(field) for field in line.split()] for line in content.splitlines()]

    rng = np.random.default_rng(0)
    whole = values.reshape(5, 12).tolist()
    short = spoilt("truncated")
    assert short[:-1] == whole[: len(short) - 1]
    assert 0 < len(short[-1]) < 12
    assert spoilt("joint count") == values[:, :3].reshape(5, 9).tolist()
    assert np.isnan(spoilt("not finite")).sum() == 1
    assert not np.any(spoilt("no person"))
    assert not spoilt("empty")
    assert set(DAMAGES) == {"truncated", "joint count", "not finite", "empty", "garbage"}
