"""Datasets of others: a function named on the command line, and entry points of other packages."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent

import pytest

from aclnet.datasets import registry
from aclnet.datasets.readers.user_function import open_with
from aclnet.datasets.spec import AclnetError, SkeletonSequence

READER = """
    from dataclasses import dataclass, replace

    import numpy as np

    from aclnet.datasets.spec import AclnetError
    from aclnet.datasets.registry import get_dataset
    from aclnet.datasets.spec import SkeletonSequence
    from aclnet.datasets.spec import Item, Source


    @dataclass(frozen=True, slots=True)
    class Waves(Source):
        def scan(self):
            return [Item(f.stem, f.name, f.stat().st_size) for f in sorted(self.root.iterdir())], []

        def read(self, item):
            height = np.loadtxt(self.root / item.path)
            keypoint = np.ones((1, len(height), 20, 3), np.float32) * height[:, None, None]
            return SkeletonSequence(
                sample_id=item.sample_id,
                keypoint=keypoint.astype(np.float32),
                label=0,
                present=np.ones(keypoint.shape[:2], np.bool_),
                frame_index=np.arange(len(height), dtype=np.int32),
            )


    SPEC = replace(
        get_dataset("utd-mhad"), name="waves", title="Waves", layout="kinect_v1",
        class_names=("wave",), protocols=(), opener=Waves,
    )


    def open_waves(raw):
        return Waves(SPEC, raw)


    def refuse(raw):
        raise AclnetError(f"{raw} is not the sea")


    def fail(raw):
        return {}["nothing"]


    def other(raw):
        return [raw]
"""


@pytest.fixture
def working(tmp_path, monkeypatch) -> Path:
    """A working folder with a module, and raw data below it."""
    folder = tmp_path / "work"
    package = folder / "surf"
    (folder / "sea").mkdir(parents=True)
    package.mkdir()
    (folder / "sea" / "one.txt").write_text("1\n2\n3\n")
    (package / "waves.py").write_text(dedent(READER))
    (package / "broken.py").write_text("import nothing_of_this_name\n")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "surf"]:
        del sys.modules[name]


def test_a_function_of_the_working_folder_opens_raw_data(working):
    source = open_with("surf.waves:open_waves", Path("sea"))
    assert source.root == working / "sea"
    (item,) = source.scan()[0]
    found = source.read(item)
    assert isinstance(found, SkeletonSequence)
    assert found.keypoint[0, :, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("reader", "said"),
    [
        ("surf.waves", "is not of the form package.module:function"),
        (":open_waves", "is not of the form"),
        ("surf.waves:", "is not of the form"),
        ("surf.waves:open_sea", "has no function 'open_sea'; it has Waves, open_waves, refuse"),
        ("surf.waves:SPEC", "has no function 'SPEC'"),
        ("surf.tides:open", "module surf.tides of --reader surf.tides:open cannot be imported"),
        ("surf.broken:open", "No module named 'nothing_of_this_name' ({work}/surf/broken.py:1)"),
        ("surf.waves:refuse", "{work}/sea is not the sea"),
        ("surf.waves:fail", "KeyError: 'nothing' ({work}/surf/waves.py:"),
        (
            "surf.waves:other",
            "returned a list; it must return an aclnet.datasets.spec.source.Source",
        ),
    ],
)
def test_mistakes_are_told_with_their_place(working, reader, said):
    with pytest.raises(AclnetError) as caught:
        open_with(reader, Path("sea"))
    assert said.format(work=working) in str(caught.value)


def test_raw_data_that_are_not_there(working):
    with pytest.raises(AclnetError, match="nowhere does not exist"):
        open_with("surf.waves:open_waves", Path("nowhere"))


@pytest.fixture
def installed(working, monkeypatch):
    """Makes a distribution with an entry point importable; returns what datasets there are."""

    def install(value: str) -> dict:
        info = working / "surf-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: surf\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\nwaves = {value}\n")
        monkeypatch.syspath_prepend(working)
        registry.all_datasets.cache_clear()
        return registry.all_datasets()

    yield install
    registry.all_datasets.cache_clear()


def test_an_entry_point_adds_a_dataset(installed, prepare_raw, tmp_path):
    assert installed("surf.waves:SPEC")["waves"].title == "Waves"
    assert registry.get_dataset("Waves").opener.__name__ == "Waves"
    report = prepare_raw(Path("sea").absolute(), tmp_path / "s.zarr", dataset="waves")
    assert report.samples == 1


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("surf.waves:nothing", "surf.waves:nothing, an entry point of aclnet.datasets, cannot be"),
        ("surf.broken:SPEC", "cannot be loaded"),
        ("surf.waves:open_waves", "is not a DatasetSpec"),
        ("aclnet.datasets.catalogue.utd_mhad:DATASETS", "is not a DatasetSpec"),
    ],
)
def test_entry_points_that_lead_nowhere_are_named(installed, value, said):
    with pytest.raises(AclnetError) as caught:
        installed(value)
    assert said in str(caught.value)


def test_an_entry_point_does_not_take_a_name(installed, working):
    file = working / "surf" / "waves.py"
    file.write_text(file.read_text().replace('name="waves"', 'name="ntu60"'))
    with pytest.raises(
        AclnetError, match="adds a dataset 'ntu60', but this name is already in use"
    ):
        installed("surf.waves:SPEC")
