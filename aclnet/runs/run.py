"""A training run on disk: configuration, environment, checkpoints, metrics, history, scores."""

from __future__ import annotations

import hashlib
import json
import shutil
import tomllib
import zlib
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import pandas as pd
import torch

from aclnet.datasets.formats import atomic, locks
from aclnet.datasets.formats.atomic import write_json
from aclnet.datasets.opening import open_store
from aclnet.datasets.spec import AclnetError, shown
from aclnet.datasets.spec.records import parse_record
from aclnet.datasets.store import manifest, zarr_io
from aclnet.runs.config import Config, validate
from aclnet.runs.history import History
from aclnet.runs.inputs import channels
from aclnet.runs.places import CONFIG, RECORD, SPLIT, find_store, is_run
from aclnet.runs.preparation import preparation_of
from aclnet.runs.record import FORMAT, RunRecord, StoreRecord, environment, record_digest
from aclnet.runs.splits import Fold
from aclnet.runs.writing import naming, writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.spec.layouts import Layout
    from aclnet.datasets.store.store import Store
    from aclnet.runs.record import CodeRecord
    from aclnet.runs.splits import Splits

_HISTORY, _SHAPE, _LOCK = "history.zarr", "shape.npz", "lock"
_RESTORE = "restore it from a copy, or train again with --fresh"
# exceptions of torch.load on files that are cut off, not checkpoints, or hold other objects
_DAMAGED = (
    *(RuntimeError, EOFError, OSError, ValueError, KeyError, UnpicklingError),
    *(BadZipFile, zlib.error),
)


class Run:
    """The folder of a run.

    `run.json` has the data it was trained on; `config.toml` the settings; `split.csv` is its own
    copy of a `--split` file. `checkpoints/last.pt` and `best.pt` hold the weights and all state,
    `metrics.csv` a row per epoch, `history.zarr` confusions and families, `scores/*.npz` the scores
    of splits by sample id, `shape.npz` the map of body shape. The training process holds `lock`.
    docs/tracking.md lists all files.

    Raises AclnetError if there is no run at `path`, or a damaged one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            values = json.loads((path / RECORD).read_text(encoding="utf-8"))
            config = (path / CONFIG).read_bytes()
            settings = tomllib.loads(config.decode())
        except OSError as error:
            raise AclnetError(
                f"{path} is not a run of aclnet: {error.filename} cannot be read ({error.strerror})"
            ) from None
        except (ValueError, RecursionError) as error:
            raise AclnetError(
                f"{path}: {RECORD} or {CONFIG} is damaged: {shown(error, 300)}"
            ) from None
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise AclnetError(f"{path}: written by another version of aclnet; train it again")
        written = values.pop("sha256", None)
        if written is not None and written != record_digest(values):
            raise AclnetError(f"{path / RECORD} differs from what was written; {_RESTORE}")
        self.record = parse_record(RunRecord, values, str(path / RECORD), "train it again")
        written = self.record.config_sha256
        if written is not None and written != hashlib.sha256(config).hexdigest():
            raise AclnetError(
                f"{path / CONFIG} was changed after the training began, so it does not describe "
                f"the weights; {_RESTORE}"
            )
        self.own_model: str | None = None
        """The run's network if it is code of the user; the user names it, not the run."""
        self._compared: set[str] = set()
        self.config: Config = validate(settings, str(path / CONFIG))

    @classmethod
    def create(
        cls,
        path: Path,
        name: str,
        config: Config,
        store: Store,
        splits: Splits,
        init: str | None,
        code: Sequence[CodeRecord] = (),
    ) -> Run:
        """The folder of a new run, or the existing one (for resuming).

        Raises AclnetError if the folder cannot be written.
        """
        if is_run(path):
            return cls(path)
        return cls.begin(
            path,
            config,
            RunRecord(
                name=name,
                store=StoreRecord.of(store),
                dataset=store.name,
                layout=store.layout,
                channels=channels(store, config.data),
                normalisation=store.attributes.normalisation,
                preparation=preparation_of(store, splits.train),
                class_names=splits.classes,
                score_names=None if splits.gallery is None else store.class_names,
                split=splits.identity,
                init_from=init,
                code=tuple(code),
                environment=environment(),
            ),
            splits.file,
        )

    @classmethod
    def begin(
        cls, path: Path, config: Config, record: RunRecord, split_file: Path | None = None
    ) -> Run:
        """A new run's folder; raises AclnetError if it cannot be written."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            text = config.to_toml().encode()
            with atomic.replacing(path / CONFIG) as temporary:
                temporary.write_bytes(text)
            if split_file:
                with atomic.replacing(path / SPLIT) as temporary:
                    shutil.copyfile(split_file, temporary)
            sha256 = hashlib.sha256(text).hexdigest()
            _write_record(path, record.model_copy(update={"config_sha256": sha256}))
        except OSError as error:
            raise AclnetError(f"{path} cannot be written: {error.strerror}; use --out") from None
        return cls(path)

    @property
    def name(self) -> str:
        return self.path.resolve().name  # the path may be `.`

    @property
    def class_names(self) -> list[str]:
        return list(self.record.class_names)

    @property
    def score_names(self) -> list[str]:
        """Names of the columns of its test scores: its classes or, with a gallery, the store's."""
        return list(self.record.score_names or self.record.class_names)

    @property
    def layout(self) -> Layout:
        return self.record.layout

    @property
    def protocol(self) -> str:
        return self.record.split.protocol

    @property
    def test_split(self) -> str:
        """The split that it is tested on, for example `xsub/test`."""
        return f"{self.protocol}/{self.record.split.side or 'test'}"

    @property
    def imported(self) -> bool:
        """True if it was made from a checkpoint instead of being trained here."""
        return self.record.store is None

    @property
    def finished(self) -> bool:
        return self.record.finished

    @property
    def result(self) -> dict[str, Any]:
        """Figures of a finished run; raises AclnetError if it is not finished."""
        if self.record.result is None:
            raise AclnetError(f"{self.path} is not finished; `aclnet train` resumes it")
        return self.record.result

    @property
    def split_file(self) -> Path | None:
        """The run's own copy of the `--split` file, None if it used a protocol of the store."""
        return self.path / SPLIT if self.record.split.sha256 else None

    @property
    def fold(self) -> Fold | None:
        """The tested fold of the training side, None if there is none."""
        numbers = self.record.split.fold
        return Fold(*numbers) if numbers else None

    @property
    def history(self) -> History:
        return History(self.path / _HISTORY, partial(self._compare, _HISTORY))

    def scores(self, split: str) -> Path:
        """File of the scores of a split."""
        return self.path / "scores" / f"{split}.npz"

    @property
    def test_scores(self) -> Path:
        """File of the scores of the run's own test split."""
        return self.scores(self.test_split.replace("/", "-"))

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keeps other processes from training the run; raises AclnetError in them."""
        with _claimed(self.path):
            yield

    def finish(self, result: dict[str, Any]) -> None:
        """Marks the run as finished with its result."""
        names = (_HISTORY, _SHAPE, *(f"checkpoints/{name}.pt" for name in ("last", "best")))
        files = {name: _digest(self.path / name) for name in names if (self.path / name).exists()}
        changes = {"finished": True, "result": result, "files": files}
        record = self.record.model_copy(update=changes)
        with naming(self.path / RECORD):
            _write_record(self.path, record)
        self.record = record

    def checkpoint(self, name: str) -> Path:
        return self.path / "checkpoints" / f"{name}.pt"

    def save(self, name: str, state: dict[str, Any]) -> None:
        """Writes a checkpoint so that after a crash the old or the new one exists."""
        # Torch writes to memory, because it turns a full disk into a RuntimeError.
        content = BytesIO()
        torch.save(state, content)
        with writing(self.checkpoint(name)) as temporary:
            temporary.write_bytes(content.getbuffer())

    def load(self, name: str) -> dict[str, Any] | None:
        """A checkpoint on the CPU, None if there is none.

        Raises AclnetError if a finished run has lost it, or if it is damaged or holds anything but
        tensors and plain values.
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
            # Torch's own message suggests loading such a file without restrictions.
            raise AclnetError(
                f"{path} was not loaded: it is damaged, or it holds objects other than tensors and "
                "plain values; train again with --fresh"
            ) from None
        self._compare(f"checkpoints/{name}.pt")
        return state  # type: ignore[no-any-return]

    def save_shape(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Writes the arrays of the map of body shape (`aclnet.retrieval.body_shape`)."""
        content = BytesIO()
        np.savez(content, **arrays)  # type: ignore[arg-type]
        with writing(self.path / _SHAPE) as temporary:
            temporary.write_bytes(content.getbuffer())

    def load_shape(self) -> dict[str, NDArray[Any]] | None:
        """Returns the arrays that `save_shape` wrote, or None if there are none.

        Raises AclnetError if a finished run has lost it, or if it is damaged.
        """
        path = self.path / _SHAPE
        if not path.is_file():
            if _SHAPE in (self.record.files or {}):
                raise AclnetError(f"{path} is missing; {_RESTORE}")
            return None
        self._compare(_SHAPE)
        try:
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        except (OSError, ValueError, EOFError, BadZipFile, zlib.error):
            raise AclnetError(f"{path} is damaged; {_RESTORE}") from None

    def _compare(self, name: str) -> None:
        """Raises AclnetError if a file or folder of a finished run has changed since its end."""
        written = (self.record.files or {}).get(name) if self.finished else None
        if written is None or name in self._compared:
            return
        if _digest(self.path / name) != written:
            raise AclnetError(f"{self.path / name} differs from what was written; {_RESTORE}")
        self._compared.add(name)

    @contextmanager
    def fitting(self, name: str) -> Iterator[None]:
        """Raises AclnetError, which names the checkpoint, for a state that does not fit."""
        try:
            yield
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise AclnetError(
                f"{self.checkpoint(name)} does not fit the run's configuration, layout and "
                f"classes ({str(error).splitlines()[0]}); train again with --fresh"
            ) from None

    def is_of(self, store: Store) -> bool:
        """True if the run fits a store: an imported run fits any store."""
        return self.record.store is None or self.record.store.digest == store.digest

    @property
    def selected(self) -> str:
        """Name of the checkpoint that is the run's result."""
        if self.config.select == "last" or self.imported:
            return "last"
        # A finished run has a `best` checkpoint, even if the file is lost.
        return "best" if self.finished or self.checkpoint("best").is_file() else "last"

    def network_state(self) -> dict[str, torch.Tensor]:
        """All weights, by their names, of the result, or the last ones if the run is unfinished."""
        state = self.load(self.selected)
        if state is None:
            raise AclnetError(f"{self.path} has no checkpoint yet; `aclnet train` resumes it")
        with self.fitting(self.selected):
            return dict(state["network"])

    def weights(self, part: str = "model.") -> dict[str, torch.Tensor]:
        """Weights of a part of the network, without its prefix; the default is the classifier."""
        network = self.network_state()
        return {n.removeprefix(part): w for n, w in network.items() if n.startswith(part)}

    def weights_sha256(self) -> str:
        """sha256 of the names and the values of the classifier's weights."""
        digest = hashlib.sha256()
        for name, weight in sorted(self.weights().items()):
            digest.update(name.encode() + weight.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def save_tables(self, scores: Path, tables: Mapping[str, pd.DataFrame]) -> None:
        """Writes the tables of a protocol beside the scores they belong to."""
        for name, table in tables.items():
            with writing(scores.with_suffix(f".{name}.csv")) as temporary:
                table.to_csv(temporary, index=False)

    def load_tables(self, scores: Path) -> dict[str, pd.DataFrame]:
        """The tables beside scores, by name; raises AclnetError if one is damaged."""
        files = sorted(scores.parent.glob(f"{scores.stem}.*.csv"))
        return {file.name.split(".")[-2]: _load_table(file) for file in files}

    def write_metrics(self, rows: list[dict[str, float]]) -> None:
        """Replaces metrics.csv."""
        with writing(self.path / "metrics.csv") as temporary:
            pd.DataFrame(rows).to_csv(temporary, index=False)

    def open_store(self) -> Store:
        """The store the run was trained on, found by its digest if it was moved.

        The search covers the recorded path, the folder of the run's store, and three levels below
        the working folder.
        """
        if self.record.store is None:
            raise AclnetError(f"{self.path} was imported and has no store: give --store")
        record = self.record.store
        return open_store(*(find_store(self.path, one) for one in record.members or (record,)))


def _write_record(path: Path, record: RunRecord) -> None:
    values = record.model_dump(mode="json")
    write_json(path / RECORD, {**values, "sha256": record_digest(values)})


def _load_table(file: Path) -> pd.DataFrame:
    names = dict.fromkeys(("condition", "probe_condition", "gallery_condition"), str)
    try:
        return pd.read_csv(file, dtype=names).fillna(dict.fromkeys(names, ""))
    except (OSError, ValueError) as error:  # pandas' own exceptions are kinds of ValueError
        raise AclnetError(
            f"{file} is not a table ({shown(error, 300)}); `aclnet evaluate` makes it again"
        ) from None


def _digest(path: Path) -> str:
    """sha256 of a file, or of the names and contents of all files of a Zarr group."""
    if path.is_file():
        return manifest.describe_file(path).sha256
    files = (f for f in path.rglob("*") if f.name == zarr_io.METADATA or f.name.isdigit())
    content = {f.relative_to(path).as_posix(): _digest(f) for f in files if f.is_file()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _check_zip(path: Path) -> None:
    """Raises BadZipFile if an entry's bytes have changed, which torch does not check."""
    with ZipFile(path) as file:
        damaged = file.testzip()
    if damaged:
        raise BadZipFile(damaged)


def is_finished(path: Path) -> bool:
    """True if the run at `path` is finished, and has the name of its folder."""
    try:
        run = Run(path)
    except AclnetError:
        return False
    return run.finished and run.record.name == path.name


def delete_run(path: Path) -> None:
    """Deletes a run's folder; raises AclnetError if another process trains it."""
    with _claimed(path):
        atomic.remove(path)


def _claimed(path: Path) -> AbstractContextManager[None]:
    """The lock of a process that trains or deletes the run at `path`, damaged or not."""
    return locks.held(path / _LOCK, f"{path} is being trained")
