"""Shared fixtures of all tests: threads, references, stores that are made once, and the
tolerance."""

from __future__ import annotations

import json
import os

# Tests, fixtures and child processes compute with the same number of threads, because sums round
# differently with more threads. One thread each lets pytest-xdist's workers share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pickle
import shutil
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from tests.object_server import ObjectServer

# A busy machine is not a failure. CI draws the same examples in each run, so that its result
# depends on the commit alone. Elsewhere, each run draws other examples.
settings.register_profile(
    "unhurried",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("unhurried")

ROOT = Path(__file__).parent.parent
THREADS = int(os.environ["OMP_NUM_THREADS"])

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aclnet.datasets.spec import DatasetSpec
    from aclnet.datasets.store.store import Store
    from aclnet.pipelines.prepare.stages import Report

LAST_BITS = {"rtol": 1e-4, "atol": 1e-6}
"""Tolerance for float32 results of the same computation in another batch, block, process or number
of threads, or on another machine. It is about a thousand times the rounding of one operation."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Undoes what an earlier test did to torch's threads, before fixtures compute anything."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(THREADS)


@pytest.fixture(scope="session")
def assert_alike() -> Callable[..., None]:
    """Compares results of networks and other float32 arithmetic, except for `LAST_BITS`."""

    def check(found: Any, expected: Any, message: str = "") -> None:
        np.testing.assert_allclose(found, expected, **LAST_BITS, err_msg=message)

    return check


@pytest.fixture(scope="session")
def files_below() -> Callable[[Path], list[Path]]:
    """Lists the files below a folder, to show that tests left it as it was."""
    return lambda folder: sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory, files_below) -> Iterator[Callable]:
    """Makes a folder once for all workers of pytest-xdist: `make_once(name, fill)`.

    `fill` gets the empty folder. Tests leave what is in it as it is; the end of the session checks
    that they added and removed no file.
    """
    made = {}
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder, done = base / f"once-{name}", base / f"once-{name}.done"
        with FileLock(base / f"once-{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
                folder.mkdir()
                fill(folder)
                done.write_text("\n".join(map(str, files_below(folder))))
        made[folder] = done
        return folder

    yield make
    for folder, done in made.items():
        assert [*map(str, files_below(folder))] == done.read_text().splitlines(), folder


def _folder(variable: str, default: str) -> Path:
    folder = Path(os.environ.get(variable, ROOT / default))
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; set {variable}")
    return folder


class Goldens:
    """Arrays that the official code computed: `goldens / NAME` is the path of a file."""

    def __truediv__(self, name: str) -> Path:
        """In `tests/goldens`, or in $ACLNET_GOLDENS; skips the test where neither has it."""
        own = ROOT / "tests" / "goldens" / name
        return own if own.exists() else _folder("ACLNET_GOLDENS", "../shared/goldens") / name


@pytest.fixture(scope="session")
def goldens() -> Goldens:
    """Arrays that the official code computed."""
    return Goldens()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Small real recordings, not for redistribution."""
    return _folder("ACLNET_REAL_DATA", "../shared/data")


@pytest.fixture(scope="session")
def made_up_store(prepare_raw, make_once) -> Path:
    """A small store of made-up people: six of NTU 60's classes, two of them of two persons.

    X-Sub has 24 training and 12 test samples of 4 and 2 subjects; X-View has no training side.
    """
    from aclnet.datasets.synth.ntu import sample_names, write_skeletons

    def fill(folder: Path) -> None:
        actions = (1, 3, 10, 24, 50, 58)
        names = sample_names(actions=actions, subjects=6, cameras=1, replications=1)
        write_skeletons(folder / "raw", names, 0)
        prepare_raw(folder / "raw", folder / "ntu60.zarr")

    return make_once("made-up", fill) / "ntu60.zarr"


@pytest.fixture(scope="session")
def people(make_once) -> Path:
    """72 raw recordings of made-up people in NTU's format; tests leave them as they are.

    Three actions, the last of two persons, of 4 subjects (1 of them tests X-Sub), 3 cameras (1 of
    them tests X-View), 2 replications.
    """
    from aclnet.datasets.synth.ntu import sample_names, write_skeletons

    def fill(folder: Path) -> None:
        names = sample_names(actions=(1, 10, 50), subjects=4, cameras=3, replications=2)
        write_skeletons(folder / "raw", names, 3)

    return make_once("people", fill) / "raw"


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
def people_store(people: Path, prepare_raw, make_once) -> Path:
    """The store of `people`; tests leave it as it is."""

    def fill(folder: Path) -> None:
        prepare_raw(people, folder / "people.zarr")

    return make_once("people-store", fill) / "people.zarr"


@pytest.fixture(scope="session")
def home(make_once) -> Path:
    """40 raw recordings of custom data in NTU's joints; tests leave them as they are.

    Three classes: NTU 60 has the first one too, and spells the second one in small letters.
    Subjects 1 to 4; the last one is tested. A file holds two recordings, one after the other.
    """

    def fill(folder: Path) -> None:
        rng = np.random.default_rng(11)
        names = ("drink water", "Clapping", "juggle")
        rows = ["id,file,label,subject,split,start,end"]
        for number in range(20):
            frames = int(rng.integers(20, 90))
            steps = rng.normal(scale=0.01, size=(2 * frames, 25, 3)).cumsum(axis=0)
            joints = rng.normal(scale=0.4, size=(1, 25, 3)) + steps + [0, 0, 3]
            np.save(folder / f"{number:02}.npy", joints.astype(np.float32))
            subject = number % 4 + 1
            for half in range(2):
                bounds = f"{half * frames},{(half + 1) * frames - 1}"
                side = "test" if subject == 4 else "train"
                label = names[(number + half) % 3]
                rows.append(
                    f"h{number:02}-{half},{number:02}.npy,{label},{subject},{side},{bounds}"
                )
        (folder / "index.csv").write_text("\n".join(rows) + "\n")
        (folder / "dataset.toml").write_text('title = "Home"\nlayout = "nturgb+d"\n')

    return make_once("home", fill)


@pytest.fixture(scope="session")
def home_store(home: Path, prepare_raw, make_once) -> Path:
    """The store of `home`; tests leave it as it is."""

    def fill(folder: Path) -> None:
        # with this seed, the number of its shards is odd
        prepare_raw(home, folder / "home.zarr", dataset="custom", seed=3)

    return make_once("home-store", fill) / "home.zarr"


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
def _object_server() -> Iterator[ObjectServer]:
    server = ObjectServer()
    server.start()
    yield server
    server.stop()


class ClientClock(threading.local):
    """A clock for the client of object stores, which only its waits advance, in each thread.

    Tests of retries then neither take time nor depend on the load of the machine.
    """

    def __init__(self) -> None:
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def monotonic(self) -> float:
        return sum(self.waits)


@pytest.fixture
def client_clock(monkeypatch: pytest.MonkeyPatch) -> ClientClock:
    """The clock by which the clients of `objects` wait."""
    clock = ClientClock()
    monkeypatch.setattr("aclnet.datasets.store.objects.time", clock)
    return clock


@pytest.fixture
def objects(
    _object_server: ObjectServer,
    client_clock: ClientClock,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> ObjectServer:
    """An object store on loopback without objects, which the environment names.

    Its clients keep files in a cache of the test, and give up after half a second of waits.
    """
    server = _object_server
    server.objects.clear()
    server.faults.clear()
    server.requests.clear()
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ACLNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ACLNET_S3_PATIENCE", "0.5")
    return server


@pytest.fixture(scope="session")
def change_record():
    """Changes fields of the `run.json` of a run's folder, as if it had been written so."""

    def change(run: Path, **fields: Any) -> None:
        file = run / "run.json"
        record = json.loads(file.read_text()) | fields
        record.pop("sha256", None)  # as in runs of before
        file.write_text(json.dumps(record))

    return change
