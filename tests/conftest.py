"""Where the references of the tests lie: goldens and real recordings, both outside the project."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# a busy machine is no failure
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

ROOT = Path(__file__).parent.parent

if TYPE_CHECKING:
    from aclnet.datasets.spec.source import DatasetSpec
    from aclnet.datasets.store.store import Store
    from aclnet.pipelines.prepare.stages import Report


def _folder(variable: str, default: str) -> Path:
    folder = Path(os.environ.get(variable, ROOT / default))
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; set {variable}")
    return folder


@pytest.fixture(scope="session")
def goldens() -> Path:
    """Arrays that the official code computed."""
    return _folder("ACLNET_GOLDENS", "../shared/goldens")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Small real recordings, not for redistribution."""
    return _folder("ACLNET_REAL_DATA", "../shared/data")


@pytest.fixture(scope="session")
def made_up_store(prepare_raw, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small store of made-up people: six of NTU 60's classes, two of them of two persons.

    X-Sub has 24 training and 12 test samples of 4 and 2 subjects; X-View has no training side.
    """
    from aclnet.datasets.synth.ntu import sample_names, write_skeletons

    folder = tmp_path_factory.mktemp("made-up")
    actions = (1, 3, 10, 24, 50, 58)
    names = sample_names(actions=actions, subjects=6, cameras=1, replications=1)
    write_skeletons(folder / "raw", names, seed=0)
    prepare_raw(folder / "raw", folder / "ntu60.zarr")
    return folder / "ntu60.zarr"


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """72 raw recordings of made-up people in NTU's format; tests leave them as they are.

    Three actions, the last of two persons, of 4 subjects (1 of them tests X-Sub), 3 cameras (1 of
    them tests X-View), 2 replications.
    """
    from aclnet.datasets.synth.ntu import sample_names, write_skeletons

    folder = tmp_path_factory.mktemp("people") / "raw"
    write_skeletons(folder, sample_names(actions=(1, 10, 50), subjects=4), seed=3)
    return folder


@pytest.fixture(scope="session")
def prepare_raw():
    """Prepares raw recordings in this process: `prepare_raw(raw, out, dataset=..., **options)`."""
    from aclnet.datasets.registry import get_dataset, open_raw
    from aclnet.pipelines.prepare.executor import open_executor
    from aclnet.pipelines.prepare.options import PrepareOptions
    from aclnet.pipelines.prepare.stages import prepare

    def do(
        raw: Path,
        out: Path,
        *,
        dataset: str | DatasetSpec = "ntu60",
        overwrite: bool = False,
        **options: Any,
    ) -> Report:
        spec = get_dataset(dataset) if isinstance(dataset, str) else dataset
        source = open_raw(spec, raw)
        chosen = PrepareOptions(**options)
        with open_executor() as run:
            return prepare(source, out, chosen, run, lambda *_: None, overwrite=overwrite)

    return do


@pytest.fixture(scope="session")
def people_store(people: Path, prepare_raw, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of `people`; tests leave it as it is."""
    out = tmp_path_factory.mktemp("store") / "people.zarr"
    prepare_raw(people, out)
    return out


@pytest.fixture(scope="session")
def pixel_pickle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve made-up clips in PYSKL's FineGYM form: COCO joints, 1 to 3 persons, splits.

    The third person and the frames in which the second is missing are there to be left out.
    """
    rng = np.random.default_rng(5)
    annotations = []
    for number in range(12):
        persons, frames = 1 + number % 3, 8 + 7 * number
        path = rng.normal(scale=4, size=(persons, frames, 17, 2)).cumsum(axis=1)
        keypoint = (path + rng.uniform(200, 400, size=(persons, 1, 17, 2))).astype(np.float16)
        keypoint[1:2, 3:5] = 0
        annotations.append(
            {
                "frame_dir": f"clip_{number:02}",
                "label": number % 4,
                "img_shape": (480, 640 + number),
                "original_shape": (480, 640 + number),
                "total_frames": frames,
                "keypoint": keypoint,
                "keypoint_score": rng.uniform(0.2, 1, (persons, frames, 17)).astype(np.float16),
            }
        )
    ids = [a["frame_dir"] for a in annotations]
    path = tmp_path_factory.mktemp("pixels") / "gym_hrnet.pkl"
    split = {"train": ids[:8], "val": ids[8:]}
    path.write_bytes(pickle.dumps({"split": split, "annotations": annotations}))
    return path


@pytest.fixture(scope="session")
def pixel_store(pixel_pickle: Path, prepare_raw, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The FineGYM store of `pixel_pickle`; tests leave it as it is."""
    from aclnet.datasets.store.store import Store

    out = tmp_path_factory.mktemp("store") / "finegym.zarr"
    prepare_raw(pixel_pickle, out, dataset="finegym")
    return Store(out)


@pytest.fixture(scope="session")
def change_record():
    """Changes fields of the `run.json` of a run's folder."""

    def change(run: Path, **fields: Any) -> None:
        file = run / "run.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | fields))

    return change
