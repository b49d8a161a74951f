"""Recordings, and runs that were trained on their stores."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pytest

from aclnet.datasets.store.store import Store
from aclnet.datasets.synth import Request, get_generator
from aclnet.exchange.official import import_official
from aclnet.prediction.model import Model, load
from aclnet.runs.run import Run

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Known:
    """Recordings that were prepared, and a run that was trained on them."""

    raw: Path
    store: Store
    run: Run

    @cached_property
    def model(self) -> Model:
        return load(self.run.path, accelerator="cpu")


@pytest.fixture(scope="session")
def ntu(made_up_store, quick_run, store) -> Known:
    """NTU's files of a Kinect: in space, one or two persons, cleaned."""
    return Known(made_up_store.parent / "raw", store, quick_run)


@pytest.fixture(scope="session")
def openpose(make_once, prepare_raw, train_once) -> Known:
    """Folders of OpenPose's files: pixels with confidences, tracked, bodies of one height."""

    def fill(folder: Path) -> None:
        get_generator("custom", "openpose")(folder / "raw", Request(12, 4, 0))
        options = {"dataset": "custom", "track": True, "normalise": "height"}
        prepare_raw(folder / "raw", folder / "s.zarr", **options)

    folder = make_once("openpose", fill)
    prepared = Store(folder / "s.zarr")
    settings = ("augment.rotate=0", "optim.epochs=1", "data.modality=bm")
    return Known(folder / "raw", prepared, train_once("openpose", *settings, store=prepared))


@pytest.fixture(scope="session")
def zoo(goldens, pixel_pickle, make_once, prepare_raw) -> Known:
    """A network of PYSKL's zoo for COCO's joints in pixels, imported for NTU, and 2-D clips."""

    def fill(folder: Path) -> None:
        import_official(goldens / "baselines/stgcn_coco17.pth", "ntu60", "j", out=folder / "run")
        prepare_raw(pixel_pickle, folder / "s.zarr", dataset="finegym", layout="coco")

    folder = make_once("zoo", fill)
    return Known(pixel_pickle, Store(folder / "s.zarr"), Run(folder / "run"))


@pytest.fixture(scope="session", params=["ntu", "openpose"])
def known(request) -> Known:
    """Each of them in turn."""
    return request.getfixturevalue(request.param)
