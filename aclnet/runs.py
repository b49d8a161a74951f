"""A training run on disk: configuration, environment, checkpoints, metrics, history, scores."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from aclnet.config import Config, validate
from aclnet.datasets import manifest
from aclnet.datasets.errors import AclnetError
from aclnet.datasets.layouts import Layout
from aclnet.datasets.store import Store
from aclnet.history import History

_RECORD = "run.json"
FORMAT = 1


class Run:
    """The folder of a run.

    `run.json` says what it was trained on; `config.toml` how; `checkpoints/last.pt` and `best.pt`
    hold the weights and all state, `metrics.csv` a row an epoch, `history.zarr` confusions and
    families, `scores/*.npz` the scores of splits by sample id, `tb/` TensorBoard's events.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.record: dict[str, Any] = json.loads((path / _RECORD).read_text())
            values = tomllib.loads((path / "config.toml").read_text())
        except OSError:
            raise AclnetError(f"{path} is no run of aclnet (it has no {_RECORD})") from None
        except ValueError as error:
            raise AclnetError(f"{path / _RECORD} or its config.toml is damaged: {error}") from None
        if self.record.get("format") != FORMAT:
            raise AclnetError(f"{path}: written by another version of aclnet; train it again")
        self.config: Config = validate(values, str(path / "config.toml"))

    @classmethod
    def create(
        cls,
        path: Path,
        name: str,
        config: Config,
        store: Store,
        split: dict[str, Any],
        init: str | None,
    ) -> Run:
        """A new run's folder, or the one that is there already (for resuming)."""
        if not (path / _RECORD).is_file():
            path.mkdir(parents=True, exist_ok=True)
            (path / "config.toml").write_text(config.to_toml())
            record = {
                "format": FORMAT,
                "name": name,
                "store": {"path": str(store.path.resolve()), "digest": store.digest},
                "dataset": store.name,
                "layout": store.layout.model_dump(mode="json"),
                "coordinates": store.attributes["coordinates"],
                "class_names": store.class_names,
                "split": split,
                "init_from": init,
                "environment": environment(),
                "finished": False,
            }
            manifest.write_json(path / _RECORD, record)
        return cls(path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def class_names(self) -> list[str]:
        return list(self.record["class_names"])

    @property
    def layout(self) -> Layout:
        return Layout.model_validate(self.record["layout"])

    @property
    def protocol(self) -> str:
        return str(self.record["split"]["protocol"])

    @property
    def finished(self) -> bool:
        return bool(self.record["finished"])

    @property
    def history(self) -> History:
        return History(self.path / "history.zarr")

    def finish(self, result: dict[str, Any]) -> None:
        """Marks the run as finished with its result."""
        self.record |= {"finished": True, "result": result}
        manifest.write_json(self.path / _RECORD, self.record)

    def checkpoint(self, name: str) -> Path:
        return self.path / "checkpoints" / f"{name}.pt"

    def save(self, name: str, state: dict[str, Any]) -> None:
        """Writes a checkpoint so that after a crash there is the old one or the new one."""
        path = self.checkpoint(name)
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        with temporary.open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)

    def copy_checkpoint(self, source: str, target: str) -> None:
        """Makes `target` the same as `source`, at once."""
        temporary = self.checkpoint(target).with_suffix(f".{os.getpid()}.tmp")
        shutil.copyfile(self.checkpoint(source), temporary)
        temporary.replace(self.checkpoint(target))

    def load(self, name: str) -> dict[str, Any] | None:
        """A checkpoint on the CPU, None where there is none."""
        path = self.checkpoint(name)
        if not path.is_file():
            return None
        try:
            return torch.load(path, map_location="cpu", weights_only=True)  # type: ignore[no-any-return]
        except (RuntimeError, EOFError, OSError, ValueError) as error:
            raise AclnetError(f"{path} is damaged ({error}); train again with --fresh") from None

    def result_checkpoint(self) -> dict[str, Any]:
        """The checkpoint that the run's result is: the best one where one was selected."""
        state = (self.load("best") if self.config.select != "last" else None) or self.load("last")
        if state is None:
            raise AclnetError(f"{self.path} has no checkpoint yet; `aclnet train` goes on with it")
        return state

    def write_metrics(self, rows: list[dict[str, float]]) -> None:
        """Replaces metrics.csv."""
        temporary = self.path / f"metrics.csv.{os.getpid()}.tmp"
        pd.DataFrame(rows).to_csv(temporary, index=False)
        temporary.replace(self.path / "metrics.csv")

    def open_store(self) -> Store:
        """The store the run was trained on, found again by its digest where it was moved."""
        wanted = self.record["store"]["digest"]
        recorded = Path(self.record["store"]["path"])
        beside = self.path.parent.parent.glob("*.zarr")
        for path in [recorded, *sorted(beside), *sorted(Path.cwd().glob("**/*.zarr"))]:
            if (path / manifest.NAME).is_file():
                store = Store(path)
                if store.digest == wanted:
                    return store
        raise AclnetError(
            f"the store of {self.path} ({recorded}, digest {wanted[:12]}) is not there any more; "
            "name it with --store"
        )


def environment() -> dict[str, str]:
    """What a run was made with: versions, machine and, in a checkout, the commit."""
    packages = ("aclnet", "torch", "numpy", "zarr", "lightning-fabric")
    found = {name: version(name) for name in packages}
    found["python"] = platform.python_version()
    found["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    commit = _commit()
    return {**found, "commit": commit} if commit else found


def _commit() -> str:
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ""
    return answer.stdout.strip()


def run_name(config: Config, store: Store, split: dict[str, Any], init: str | None) -> str:
    """recipe-modality-seed-hash: the same for the same configuration and data."""
    identity = json.dumps([config.digest(), store.digest, split, init], sort_keys=True)
    short = hashlib.sha256(identity.encode()).hexdigest()[:8]
    return f"{config.recipe}-{config.data.modality}-s{config.seed}-{short}"


def run_folder(store: Store, name: str, out: Path | None) -> Path:
    """`--out`, else beside the store, else below ./runs where that cannot be written."""
    if out:
        return out
    beside = store.path.with_name(store.path.name + ".runs")
    parent = beside if beside.exists() else beside.parent
    return (beside if os.access(parent, os.W_OK) else Path("runs")) / name
