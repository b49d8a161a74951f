"""The list of datasets: each can be generated, described and found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aclnet.datasets.registry import all_datasets, get_dataset
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.spec.layouts import registry
from aclnet.datasets.synth import all_forms

DATA = (Path(__file__).parents[2] / "DATA.md").read_text(encoding="utf-8")

CLASSES = {
    "ntu60": 60,
    "ntu120": 120,
    "kinetics": 400,
    "finegym": 99,
    "pkummd": 51,
    "nw-ucla": 10,
    "utd-mhad": 27,
    "msr-action3d": 20,
    "sbu": 8,
    "shrec17": 14,
    "shrec17-28": 28,
    "casia-b": 124,
    "biwi": 50,
    "ias-lab": 11,
    "kgbd": 164,
    "ks20": 20,
    "casia-b-3d": 124,
    "custom": 0,  # told by the data
}


def test_every_dataset_has_its_classes():
    assert {name: len(spec.class_names) for name, spec in all_datasets().items()} == CLASSES
    assert get_dataset("ntu120").class_names[119].startswith("finger-guessing game")
    for spec in all_datasets().values():
        assert not spec.layout or spec.layout in registry()


def test_names_are_found_in_any_spelling():
    assert get_dataset("UTD_MHAD") is get_dataset("utd-mhad")
    known = ", ".join(sorted(CLASSES))
    with pytest.raises(AclnetError, match=f"unknown dataset 'moon'; known: {known}"):
        get_dataset("moon")


@pytest.mark.parametrize("name", CLASSES)
def test_every_dataset_can_be_made_up_and_read_of(name: str):
    assert all_forms()[name]
    assert f"| `{name}` |" in DATA
    for form in all_forms()[name]:
        assert f"| `{name}` | `{form}` |" in DATA


def test_every_layout_is_described():
    for name in registry():
        assert f"`{name}`" in DATA


def test_it_is_quick_to_import():
    code = (
        "import sys; from aclnet.datasets.registry import all_datasets; all_datasets(); "
        "sys.exit(str([m for m in ('scipy', 'h5py', 'torch', 'pandas') if m in sys.modules] or ''))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stderr.strip() == ""
