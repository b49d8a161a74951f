"""Record of a run in `run.json`: its data, samples, environment and result."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from pydantic import field_validator

from aclnet.datasets.spec import Units
from aclnet.datasets.spec.layouts import Layout
from aclnet.datasets.spec.records import Record
from aclnet.datasets.store.joined import JoinedStore

if TYPE_CHECKING:
    from aclnet.datasets.store.store import Store

FORMAT: Final = 1
_FIGURES = (
    *("top1", "top1_low", "top1_high", "top5", "mean_class", "samples", "clips", "short"),
    *("chance", "threshold"),
)
"""Figures of a result that are always numbers."""


class StoreRecord(Record):
    """The store that a run was trained on."""

    path: str
    digest: str
    """Digest by which a store is found again after it was moved."""
    members: tuple[StoreRecord, ...] | None = None
    """The stores that were joined for this run alone, in their order; `path` is then a name."""

    @classmethod
    def of(cls, store: Store) -> StoreRecord:
        """Record of a store, or of stores as one."""
        members = store.members if isinstance(store, JoinedStore) and len(store.paths) > 1 else None
        return cls(
            path=str(store.path.resolve()),
            digest=store.digest,
            members=None if members is None else tuple(map(cls.of, members)),
        )


class SplitRecord(Record):
    """Samples of a run; part of the run's identity."""

    protocol: str
    """Protocol of the store, stem of a file of sides, or a name made of protocol and fold."""
    side: Literal["probe"] | None = None
    """Side that is tested, if it is not `test`."""
    sha256: str | None = None
    """sha256 of the file of sides."""
    of: str | None = None
    """Protocol of the fold."""
    fold: tuple[int, int] | None = None
    """Number of the fold, from 1, and number of folds."""
    tested: str | None = None
    """Subjects of the fold, in words."""
    held_out: str | None = None
    """Samples or subjects held out for validation, in words."""


class ImportRecord(Record):
    """The checkpoint from which a run was made."""

    file: str
    sha256: str


class CodeRecord(Record):
    """Code of the user that a run was trained with."""

    name: str
    """Name in the configuration."""
    file: str | None
    """The source file of its module."""
    sha256: str | None
    """Hash of that file."""


class PreparationRecord(Record):
    """Preparation of the sequences of a store, so that new recordings get the same preparation."""

    options: dict[str, Any]
    """`aclnet.pipelines.prepare.options.PrepareOptions`."""
    cleaning: str
    """Step of `aclnet.pipelines.steps.clean` by name, or `none`."""
    units: Units
    coordinates: int
    """C, the number of coordinates of a joint, without its confidence."""
    median_frames: int | None = None
    """Median and, in `longest_frames`, largest number of frames of the training sequences."""
    longest_frames: int | None = None


class RunRecord(Record):
    """All facts about a run except its configuration, which is `config.toml`."""

    format: Literal[1] = FORMAT
    name: str
    store: StoreRecord | None
    """None: the run was not trained here, but made from a checkpoint."""
    dataset: str
    layout: Layout
    channels: int
    """C, the number of channels of the network's input."""
    normalisation: str
    preparation: PreparationRecord | None = None
    """None in runs of earlier versions."""
    class_names: list[str]
    score_names: list[str] | None = None
    """Names of the columns of its test scores, if they are not its classes."""
    split: SplitRecord
    init_from: str | None
    """Name of the run whose weights it started from."""
    imported: ImportRecord | None = None
    code: tuple[CodeRecord, ...] = ()
    """Network and loss of the user."""
    environment: dict[str, str]
    """Versions, machine, commit."""
    config_sha256: str | None = None
    """sha256 of `config.toml`; None in runs of earlier versions."""
    finished: bool = False
    result: dict[str, Any] | None = None
    """Figures by name, of a finished run."""
    files: dict[str, str] | None = None
    """Digests of checkpoints and history by name, of a finished run; None in older runs."""

    @field_validator("result")
    @classmethod
    def _figures_are_numbers(cls, result: dict[str, Any] | None) -> dict[str, Any] | None:
        """Refuses figures that no command can print or compute with."""
        figures = {name: value for name, value in (result or {}).items() if name != "unknown"}
        unknown = (result or {}).get("unknown")
        if unknown is not None:
            figures["threshold"] = unknown.get("threshold") if isinstance(unknown, dict) else ""
        for name, value in figures.items():
            if name in _FIGURES and type(value) not in (int, float):
                raise ValueError(f"{name} is {value!r:.40}; a number is expected")
        return result


def record_digest(values: dict[str, Any]) -> str:
    """sha256 of the content of `run.json`, which the file holds under `sha256`."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def environment() -> dict[str, str]:
    """Versions, machine and, in a checkout, the commit."""
    packages = ("aclnet", "torch", "numpy", "zarr", "lightning-fabric")
    found = {name: version(name) for name in packages}
    found["python"] = platform.python_version()
    found["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    commit = _commit()
    return {**found, "commit": commit} if commit else found


def computing(processes: int, device: torch.device) -> dict[str, str]:
    """Software and hardware that affect rounding, by name; a change alters the final weights."""
    cuda = device.type == "cuda"
    return {
        "torch": version("torch"),
        "threads": str(torch.get_num_threads()),
        "processes": str(processes),
        "device": torch.cuda.get_device_name(device) if cuda else _processor(),
    }


def _processor() -> str:
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def _commit() -> str:
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():
        return ""  # installed, perhaps inside another repository
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=checkout,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ""
    return answer.stdout.strip()
