"""A training run on disk: configuration, environment, checkpoints, metrics, history, scores."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tomllib
import zlib
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

import pandas as pd
import torch

from aclnet.datasets.formats import atomic, locks
from aclnet.datasets.formats.atomic import write_json
from aclnet.datasets.spec import AclnetError, shown
from aclnet.datasets.spec.records import parse_record
from aclnet.datasets.store import manifest, zarr_io
from aclnet.datasets.store.store import Store
from aclnet.runs.config import Config, validate
from aclnet.runs.history import History
from aclnet.runs.inputs import channels
from aclnet.runs.record import FORMAT, RunRecord, StoreRecord, environment, record_digest
from aclnet.runs.splits import Fold
from aclnet.runs.writing import naming, writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from aclnet.datasets.spec.layouts import Layout
    from aclnet.runs.record import SplitRecord
    from aclnet.runs.splits import Splits

_RECORD, _CONFIG, _SPLIT, _LOCK = "run.json", "config.toml", "split.csv", "lock"
_HISTORY = "history.zarr"
_RESTORE = "restore it from a copy, or train again with --fresh"
# what torch.load raises on files that are cut off, not checkpoints, or hold other objects
_DAMAGED = (
    *(RuntimeError, EOFError, OSError, ValueError, KeyError, UnpicklingError),
    *(BadZipFile, zlib.error),
)


class Run:
    """The folder of a run.

    `run.json` says what it was trained on; `config.toml` how; `split.csv` is its own copy of a
    `--split` file; `checkpoints/last.pt` and `best.pt` hold the weights and all state,
    `metrics.csv` a row an epoch, `history.zarr` confusions and families, `scores/*.npz` the scores
    of splits by sample id, `tb/` TensorBoard's events; `lock` is held by the process that trains.

    AclnetError where there is no run at `path`, or a damaged one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            values = json.loads((path / _RECORD).read_text(encoding="utf-8"))
            config = (path / _CONFIG).read_bytes()
            settings = tomllib.loads(config.decode())
        except OSError as error:
            raise AclnetError(
                f"{path} is no run of aclnet: {error.filename} cannot be read ({error.strerror})"
            ) from None
        except (ValueError, RecursionError) as error:
            raise AclnetError(
                f"{path}: {_RECORD} or {_CONFIG} is damaged: {shown(error, 300)}"
            ) from None
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise AclnetError(f"{path}: written by another version of aclnet; train it again")
        written = values.pop("sha256", None)
        if written is not None and written != record_digest(values):
            raise AclnetError(f"{path / _RECORD} is not what was written; {_RESTORE}")
        self.record = parse_record(RunRecord, values, str(path / _RECORD), "train it again")
        written = self.record.config_sha256
        if written is not None and written != hashlib.sha256(config).hexdigest():
            raise AclnetError(
                f"{path / _CONFIG} was changed after the training began, and the weights are of "
                f"the settings of then; {_RESTORE}"
            )
        self._compared: set[str] = set()
        self.config: Config = validate(settings, str(path / _CONFIG))

    @classmethod
    def create(
        cls, path: Path, name: str, config: Config, store: Store, splits: Splits, init: str | None
    ) -> Run:
        """A new run's folder, or the one that is there already (for resuming).

        AclnetError where the folder cannot be written.
        """
        if is_run(path):
            return cls(path)
        return cls.begin(
            path,
            config,
            RunRecord(
                name=name,
                store=StoreRecord(path=str(store.path.resolve()), digest=store.digest),
                dataset=store.name,
                layout=store.layout,
                channels=channels(store, config.data),
                normalisation=store.attributes.normalisation,
                class_names=splits.classes,
                score_names=None if splits.gallery is None else store.class_names,
                split=splits.identity,
                init_from=init,
                environment=environment(),
            ),
            splits.file,
        )

    @classmethod
    def begin(
        cls, path: Path, config: Config, record: RunRecord, split_file: Path | None = None
    ) -> Run:
        """A new run's folder. AclnetError where it cannot be written."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            text = config.to_toml().encode()
            with atomic.replacing(path / _CONFIG) as temporary:
                temporary.write_bytes(text)
            if split_file:
                with atomic.replacing(path / _SPLIT) as temporary:
                    shutil.copyfile(split_file, temporary)
            sha256 = hashlib.sha256(text).hexdigest()
            _write_record(path, record.model_copy(update={"config_sha256": sha256}))
        except OSError as error:
            raise AclnetError(f"{path} cannot be written: {error.strerror}; use --out") from None
        return cls(path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def class_names(self) -> list[str]:
        return list(self.record.class_names)

    @property
    def score_names(self) -> list[str]:
        """Of the columns of its test scores: its classes or, by a gallery, all of the store's."""
        return list(self.record.score_names or self.record.class_names)

    @property
    def layout(self) -> Layout:
        return self.record.layout

    @property
    def protocol(self) -> str:
        return self.record.split.protocol

    @property
    def test_split(self) -> str:
        """What it is tested on, as `xsub/test`."""
        return f"{self.protocol}/{self.record.split.side or 'test'}"

    @property
    def imported(self) -> bool:
        """Was it not trained here, but made of a checkpoint?"""
        return self.record.store is None

    @property
    def finished(self) -> bool:
        return self.record.finished

    @property
    def result(self) -> dict[str, Any]:
        """Figures of a finished run; AclnetError where it is not finished."""
        if self.record.result is None:
            raise AclnetError(f"{self.path} is not finished; `aclnet train` goes on with it")
        return self.record.result

    @property
    def split_file(self) -> Path | None:
        """The run's own copy of the `--split` file, None where a protocol of the store decided."""
        return self.path / _SPLIT if self.record.split.sha256 else None

    @property
    def fold(self) -> Fold | None:
        """The fold of a training side that was tested, None where there is none."""
        numbers = self.record.split.fold
        return Fold(*numbers) if numbers else None

    @property
    def history(self) -> History:
        return History(self.path / _HISTORY, partial(self._compare, _HISTORY))

    def scores(self, split: str) -> Path:
        """Where the scores of a split are."""
        return self.path / "scores" / f"{split}.npz"

    @property
    def test_scores(self) -> Path:
        """Where those of the run's own test split are."""
        return self.scores(self.test_split.replace("/", "-"))

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Inside, no other process may train the run: AclnetError in that one."""
        with _claimed(self.path):
            yield

    def finish(self, result: dict[str, Any]) -> None:
        """Marks the run as finished with its result."""
        names = (_HISTORY, *(f"checkpoints/{name}.pt" for name in ("last", "best")))
        files = {name: _digest(self.path / name) for name in names if (self.path / name).exists()}
        changes = {"finished": True, "result": result, "files": files}
        record = self.record.model_copy(update=changes)
        with naming(self.path / _RECORD):
            _write_record(self.path, record)
        self.record = record

    def checkpoint(self, name: str) -> Path:
        return self.path / "checkpoints" / f"{name}.pt"

    def save(self, name: str, state: dict[str, Any]) -> None:
        """Writes a checkpoint so that after a crash there is the old one or the new one."""
        # torch writes to memory: its own writing turns a full disk into a RuntimeError
        content = BytesIO()
        torch.save(state, content)
        with writing(self.checkpoint(name)) as temporary:
            temporary.write_bytes(content.getbuffer())

    def load(self, name: str) -> dict[str, Any] | None:
        """A checkpoint on the CPU, None where there is none.

        AclnetError where a finished run has lost it, and where it is damaged or holds anything
        but tensors and plain values.
        """
        path = self.checkpoint(name)
        if not path.is_file():
            if self.finished and name == self.selected:
                raise AclnetError(f"{path} is missing; {_RESTORE}")
            return None
        try:
            _check_zip(path)
            state = torch.load(path, map_location="cpu", weights_only=True)
        except _DAMAGED:
            # torch's own message proposes to load such a file without restrictions
            raise AclnetError(
                f"{path} was not loaded: it is damaged, or holds other objects than tensors and "
                "plain values; train again with --fresh"
            ) from None
        self._compare(f"checkpoints/{name}.pt")
        return state  # type: ignore[no-any-return]

    def _compare(self, name: str) -> None:
        """AclnetError where a file or folder of a finished run is not what it was at the end."""
        written = (self.record.files or {}).get(name) if self.finished else None
        if written is None or name in self._compared:
            return
        if _digest(self.path / name) != written:
            raise AclnetError(f"{self.path / name} is not what was written; {_RESTORE}")
        self._compared.add(name)

    @contextmanager
    def fitting(self, name: str) -> Iterator[None]:
        """Inside, a state that does not fit is an AclnetError that names the checkpoint."""
        try:
            yield
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise AclnetError(
                f"{self.checkpoint(name)} does not fit the run's configuration, layout and "
                f"classes ({str(error).splitlines()[0]}); train again with --fresh"
            ) from None

    def is_of(self, store: Store) -> bool:
        """Is it a store that the run could have been trained on? An imported run, on any."""
        return self.record.store is None or self.record.store.digest == store.digest

    @property
    def selected(self) -> str:
        """Name of the checkpoint that is the run's result."""
        if self.config.select == "last" or self.imported:
            return "last"
        # a finished run has a best one, be it lost
        return "best" if self.finished or self.checkpoint("best").is_file() else "last"

    def network_state(self) -> dict[str, torch.Tensor]:
        """All weights that are the run's result, or the last where it goes on, by their names."""
        state = self.load(self.selected)
        if state is None:
            raise AclnetError(f"{self.path} has no checkpoint yet; `aclnet train` goes on with it")
        with self.fitting(self.selected):
            return dict(state["network"])

    def weights(self, part: str = "model.") -> dict[str, torch.Tensor]:
        """Those of a part of the network, without its prefix; the default is the classifier."""
        network = self.network_state()
        return {n.removeprefix(part): w for n, w in network.items() if n.startswith(part)}

    def save_tables(self, scores: Path, tables: Mapping[str, pd.DataFrame]) -> None:
        """Writes the tables of a protocol beside the scores they belong to."""
        for name, table in tables.items():
            with writing(scores.with_suffix(f".{name}.csv")) as temporary:
                table.to_csv(temporary, index=False)

    def load_tables(self, scores: Path) -> dict[str, pd.DataFrame]:
        """The tables beside scores, by name. AclnetError where one is damaged."""
        files = sorted(scores.parent.glob(f"{scores.stem}.*.csv"))
        return {file.name.split(".")[-2]: _load_table(file) for file in files}

    def write_metrics(self, rows: list[dict[str, float]]) -> None:
        """Replaces metrics.csv."""
        with writing(self.path / "metrics.csv") as temporary:
            pd.DataFrame(rows).to_csv(temporary, index=False)

    def open_store(self) -> Store:
        """The store the run was trained on, found again by its digest where it was moved.

        Looked at are the recorded path, the folder of the run's store, and three levels below the
        working folder.
        """
        if self.record.store is None:
            raise AclnetError(f"{self.path} was imported, not trained here: name a --store")
        wanted = self.record.store.digest
        recorded = Path(self.record.store.path)
        below = (Path().glob(f"{'*/' * depth}*.zarr") for depth in range(3))
        beside = self.path.resolve().parent.parent.glob("*.zarr")
        for path in (recorded, *sorted(beside), *(p for paths in below for p in sorted(paths))):
            if store_digest(path) == wanted:
                return Store(path)
        raise AclnetError(
            f"the store of {self.path} (digest {wanted[:12]}) is neither at {recorded} nor below "
            f"{Path.cwd()}; name it with --store"
        )


def _write_record(path: Path, record: RunRecord) -> None:
    values = record.model_dump(mode="json")
    write_json(path / _RECORD, {**values, "sha256": record_digest(values)})


def _load_table(file: Path) -> pd.DataFrame:
    names = dict.fromkeys(("condition", "probe_condition", "gallery_condition"), str)
    try:
        return pd.read_csv(file, dtype=names).fillna(dict.fromkeys(names, ""))
    except (OSError, ValueError) as error:  # pandas' own exceptions are kinds of ValueError
        raise AclnetError(
            f"{file} is no table ({shown(error, 300)}); `aclnet evaluate` makes it again"
        ) from None


def _digest(path: Path) -> str:
    """sha256 of a file, or of the names and contents of all files of a Zarr group."""
    if path.is_file():
        return manifest.describe_file(path).sha256
    files = (f for f in path.rglob("*") if f.name == zarr_io.METADATA or f.name.isdigit())
    content = {f.relative_to(path).as_posix(): _digest(f) for f in files if f.is_file()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _check_zip(path: Path) -> None:
    """BadZipFile where an entry has other bytes than were written: torch does not look."""
    with ZipFile(path) as file:
        damaged = file.testzip()
    if damaged:
        raise BadZipFile(damaged)


def is_run(path: Path) -> bool:
    """Is there a run, finished or not, at `path`?"""
    return (path / _RECORD).is_file()


def is_finished(path: Path) -> bool:
    """Is the run at `path` finished, and the one that the folder is named after?"""
    try:
        run = Run(path)
    except AclnetError:
        return False
    return run.finished and run.record.name == path.name


def delete_run(path: Path) -> None:
    """Deletes a run's folder. AclnetError where another process trains it."""
    with _claimed(path):
        atomic.remove(path)


def _claimed(path: Path) -> AbstractContextManager[None]:
    """Held while a process trains or deletes the run at `path`, damaged or not."""
    return locks.held(path / _LOCK, f"{path} is being trained")


def check_out(path: Path) -> None:
    """AclnetError where `path` is neither a run, nor free for a new one."""
    if not path.exists() or is_run(path):
        return
    begun = {_CONFIG, _SPLIT}  # of a run that was killed before it had its record
    others = [f for f in path.iterdir() if f.name not in begun] if path.is_dir() else [path]
    if not all(other.suffix == atomic.SUFFIX for other in others):
        raise AclnetError(
            f"{path} is there already and is no run of aclnet; choose another --out, or empty it"
        )


def store_digest(path: Path) -> str | None:
    """Identity of the store at `path`, None where there is none."""
    file = path / manifest.NAME
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # the path is out of a damaged record
            return None
        raise


def run_name(config: Config, store: Store, split: SplitRecord, init: str | None) -> str:
    """recipe-modality-seed-hash: the same for the same configuration and data."""
    identity = [config.digest(), store.digest, split.model_dump(mode="json"), init]
    short = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    return f"{config.recipe}-{config.data.modality}-s{config.seed}-{short}"


def run_folder(store: Store, name: str, out: Path | None) -> Path:
    """`--out`, else below `runs_folder`."""
    return out or runs_folder(store) / name


def runs_folder(store: Store) -> Path:
    """Where a store's runs are: beside it, or ./runs where that cannot be written."""
    path = store.path if store.path.name else store.path.resolve()
    beside = path.with_name(path.name + ".runs")
    parent = beside if beside.exists() else beside.parent
    return beside if os.access(parent, os.W_OK) else Path("runs")
