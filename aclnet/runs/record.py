"""Record of a run in `run.json`: its data, samples, environment and result."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal

import torch
from pydantic import field_validator

from aclnet.datasets.spec.layouts import Layout
from aclnet.datasets.spec.records import Record

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
    """By which it is found again where it was moved."""


class SplitRecord(Record):
    """What tells the samples of a run from those of others; part of the run's identity."""

    protocol: str
    """Of the store, the stem of a file of sides, or a name made of protocol and fold."""
    side: Literal["probe"] | None = None
    """What is tested where it is not the side `test`."""
    sha256: str | None = None
    """Of the file of sides."""
    of: str | None = None
    """The protocol that a fold is of."""
    fold: tuple[int, int] | None = None
    """Number of the fold, from 1, and how many there are."""
    tested: str | None = None
    """Subjects of the fold, in words."""
    held_out: str | None = None
    """Who validates, in words."""


class ImportRecord(Record):
    """The checkpoint that a run was made of."""

    file: str
    sha256: str


class RunRecord(Record):
    """Everything about a run but its configuration, which is `config.toml`."""

    format: Literal[1] = FORMAT
    name: str
    store: StoreRecord | None
    """None: the run was not trained here, but made of a checkpoint."""
    dataset: str
    layout: Layout
    channels: int
    """C of the network's input."""
    normalisation: str
    class_names: list[str]
    score_names: list[str] | None = None
    """Of the columns of its test scores where these are not its classes."""
    split: SplitRecord
    init_from: str | None
    """Name of the run whose weights it started from."""
    imported: ImportRecord | None = None
    environment: dict[str, str]
    """Versions, machine, commit."""
    config_sha256: str | None = None
    """sha256 of `config.toml`; None in runs of earlier versions."""
    finished: bool = False
    result: dict[str, Any] | None = None
    """Figures by name, once it is finished."""
    files: dict[str, str] | None = None
    """Digests of checkpoints and history by name, once it is finished; None in runs of before."""

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
                raise ValueError(f"{name} is {value!r:.40}, a number is expected")
        return result


def record_digest(values: dict[str, Any]) -> str:
    """sha256 of the content of `run.json`, which the file holds under `sha256`."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def environment() -> dict[str, str]:
    """What a run is made with: versions, machine and, in a checkout, the commit."""
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
        return ""  # installed, perhaps inside somebody else's repository
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
