"""All targets, and the processes that Atheris fuzzes them in."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.stress.fuzz import (
    targets_checkpoints,
    targets_custom,
    targets_formats,
    targets_recordings,
    targets_runs,
    targets_stores,
)
from tests.stress.fuzz.cases import MEGABYTES, ROOT, SECONDS, Finding, examine, peak_megabytes
from tests.stress.fuzz.mutations import mutate

if TYPE_CHECKING:
    from collections.abc import Iterator


_MAX_RESTARTS = 10
"""Limit of process crashes of one target, after which its remaining inputs are skipped."""
_STATE = "state.json"


GROUPS = {
    "files of each kind, layouts, settings": targets_formats.TARGETS,
    "recordings of the known datasets": targets_recordings.TARGETS,
    "data of one's own": targets_custom.TARGETS,
    "stores, exports, unfinished preparations": targets_stores.TARGETS,
    "runs, files of scores": targets_runs.TARGETS,
    "released checkpoints": targets_checkpoints.TARGETS,
}
"""Targets by subject."""
TARGETS = {name: make for group in GROUPS.values() for name, make in group.items()}
"""Functions that make the case of each target in an empty folder."""
UNBOUNDED = {"export-hdf5-sealed"}
"""Targets with known findings that remain: HDF5's own library takes minutes or gigabytes for files
that were damaged on purpose and sealed again."""
CAMPAIGN = [name for name in TARGETS if name not in UNBOUNDED]
SLOW = {"prepare": 0.05, "store": 0.2, "history": 0.3, "official-values": 0.1, "official": 0.4}
"""Relative numbers of inputs of slow targets, by the beginning of their names; others have 1."""


def share(name: str) -> float:
    """Number of inputs of a target relative to other targets."""
    return next((part for begin, part in SLOW.items() if name.startswith(begin)), 1.0)


@dataclass(slots=True)
class Result:
    """Result of a target."""

    target: str
    inputs: int = 0
    """Number of examined inputs."""
    seconds: float = 0.0
    slowest: float = 0.0
    """Seconds of the slowest input."""
    findings: list[Finding] = field(default_factory=list)


def run_all(inputs: int, seed: int, out: Path | None = None) -> Iterator[Result]:
    """Fuzzes the targets of `CAMPAIGN` one after another, with `inputs` in total.

    Inputs that are findings are kept below `out`, None: `fuzz-findings` in the working folder.
    """
    whole = sum(map(share, CAMPAIGN))
    for name in CAMPAIGN:
        yield run_target(name, round(inputs * share(name) / whole), seed, out)


def run_target(name: str, inputs: int, seed: int, out: Path | None = None) -> Result:
    """Fuzzes one target in processes of its own: a new one whenever an input ends the process."""
    if importlib.util.find_spec("atheris") is None:
        raise SystemExit(
            "fuzzing needs Atheris, which has wheels for Linux on x86-64: "
            "pip install 'aclnet[stress]'"
        )
    out = (out or Path("fuzz-findings")).absolute()
    out.mkdir(parents=True, exist_ok=True)
    result = Result(name)
    begun = time.monotonic()
    for turn in range(_MAX_RESTARTS + 1):
        _one_process(result, inputs - result.inputs, seed + 1000 * turn, out)
        if result.inputs >= inputs:
            break
    result.seconds = time.monotonic() - begun
    return result


def _one_process(result: Result, inputs: int, seed: int, out: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_fast_folder()) as folder:
        arguments = [result.target, "--inputs", str(inputs), "--seed", str(seed)]
        command = [sys.executable, "-m", "tests.stress.fuzz", *arguments, "--child", folder]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": folder}
        done = subprocess.run(
            [*command, "--out", str(out)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        state = _read_state(Path(folder))
    result.inputs += state["inputs"]
    result.slowest = max(result.slowest, state["slowest"])
    known = {finding.key for finding in result.findings}
    for values in state["findings"]:
        finding = Finding(*values)
        if finding.key not in known:
            result.findings.append(finding)
    if done.returncode:
        kind = {70: "hang", 71: "memory"}.get(done.returncode, "crash")
        text = f"status {done.returncode}: {done.stderr[-3000:]}"
        saved = re.findall(r"written to (\S+)", done.stderr)
        result.findings.append(Finding(kind, text, "", input=saved[-1] if saved else ""))
        result.inputs += not state["inputs"]  # a target that ends at once must not repeat for ever


def _fast_folder() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _read_state(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / _STATE).read_bytes())  # type: ignore[no-any-return]
    except OSError:
        return {"inputs": 0, "slowest": 0.0, "findings": []}


def line_of(result: Result) -> str:
    """The line of a result, and a line for each finding."""
    lines = [
        f"{result.target:24} {result.inputs:7,} inputs  {result.seconds:6.1f} s  "
        f"slowest {result.slowest:5.2f} s  {len(result.findings)} findings"
    ]
    lines += [
        f"  {found.kind} at {found.place}: {found.text}  [{found.input}]"
        for found in result.findings
    ]
    return "\n".join(lines)


class _Examiner:
    """Examines the inputs of Atheris, and records the results."""

    def __init__(self, name: str, inputs: int, folder: Path, out: Path) -> None:
        self.name, self.wanted, self.out = name, inputs, out
        self.state = folder / _STATE
        self.folder = folder / "case"
        self.folder.mkdir()
        self.done, self.slowest = 0, 0.0
        self.findings: dict[str, Finding] = {}
        self.case = TARGETS[name](self.folder)
        self.case.warm_up()

    def __call__(self, data: bytes) -> None:
        begun = time.monotonic()
        finding = examine(self.case, data, self.folder)
        self.slowest = max(self.slowest, time.monotonic() - begun)
        self.done += 1
        if finding and finding.key not in self.findings:
            digest = hashlib.sha256(finding.key.encode()).hexdigest()[:8]
            file = self.out / f"{self.name}-{digest}.bin"
            file.write_bytes(data)
            told = f"{finding.key}\n{finding.text}\n{finding.trace}"
            file.with_suffix(".txt").write_bytes(told.encode(errors="backslashreplace"))
            self.findings[finding.key] = finding._replace(input=str(file), trace="")
            self._note()
        if self.done % 50 == 0 or self.done >= self.wanted:
            self._note()
        if self.done >= self.wanted:
            os._exit(0)  # Atheris ends the process in the same way, without a message

    def _note(self) -> None:
        values = {
            "inputs": self.done,
            "slowest": self.slowest,
            "findings": list(self.findings.values()),
        }
        self.state.write_text(json.dumps(values))


def fuzz_here(name: str, inputs: int, seed: int, folder: Path, out: Path) -> None:
    """Fuzzes a target in this process, which ends."""
    import atheris

    sys.dont_write_bytecode = True
    os.chdir(folder)
    with atheris.instrument_imports(include=["aclnet"], enable_loader_override=False):
        examiner = _Examiner(name, inputs, folder, out)
    seeds = examiner.case.seeds
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, content in enumerate(seeds):
        (corpus / f"{number}").write_bytes(content)

    def change(data: bytes, max_size: int, number: int) -> bytes:
        rng = np.random.default_rng(number)
        if rng.random() < 0.5:
            return bytes(atheris.Mutate(data, max_size))
        return mutate(data, rng, seeds)[:max_size]

    longest = max(4096, 2 * max(map(len, seeds)))
    limit = MEGABYTES + round(peak_megabytes())
    arguments = [
        *("-runs=-1", f"-seed={seed + 1}", f"-max_len={longest}", f"-timeout={SECONDS}"),
        *(
            f"-rss_limit_mb={limit}",
            f"-artifact_prefix={out}/{name}-",
            "-verbosity=0",
            "-keep_seed=1",
        ),
        str(corpus),
    ]
    atheris.Setup([sys.argv[0], *arguments], examiner, custom_mutator=change)
    atheris.Fuzz()
