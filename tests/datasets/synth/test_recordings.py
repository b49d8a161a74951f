"""What the generators of small files have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec.errors import AclnetError
from aclnet.datasets.spec.sequence import SkeletonSequence
from aclnet.datasets.synth import get_generator
from aclnet.datasets.synth.recordings import DAMAGES, spoil, text_rows

if TYPE_CHECKING:
    from pathlib import Path

each_form = pytest.mark.parametrize(
    ("dataset", "form"),
    [
        ("pkummd", "text"),
        ("pkummd", "pyskl"),
        ("nw-ucla", "json"),
        ("msr-action3d", "text"),
        ("sbu", "text"),
        ("utd-mhad", "mat"),
    ],
)


def generate(folder: Path, dataset: str, form: str, **changes: float):
    arguments = {"sequences": 10, "subjects": 3, "seed": 5, "damage": 0.0} | changes
    return get_generator(dataset, form)(folder, progress=lambda *_: None, **arguments)


def contents(folder: Path) -> dict[Path, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder): file.read_bytes() for file in files}


@each_form
def test_the_same_arguments_give_the_same_bytes(tmp_path: Path, dataset: str, form: str):
    for folder in ("a", "b"):
        generate(tmp_path / folder, dataset, form, damage=0.5)
    generate(tmp_path / "c", dataset, form, damage=0.5, seed=6)
    found = contents(tmp_path / "a")
    assert found == contents(tmp_path / "b")
    assert found != contents(tmp_path / "c")


@each_form
def test_all_that_is_not_damaged_can_be_read(tmp_path: Path, dataset: str, form: str):
    summary = generate(tmp_path, dataset, form)
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
    with pytest.raises(AclnetError, match="damage is 2"):
        generate(tmp_path, dataset, form, damage=2)
    with pytest.raises(AclnetError, match="subjects is 0"):
        generate(tmp_path, dataset, form, subjects=0)


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
