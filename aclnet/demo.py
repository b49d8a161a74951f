"""The whole chain on synthetic people: raw files, store, training, families, occlusion bench.

There are three steps, so that the caller can show the progress of each: `make_store`, `train_on`
and `measure`. Files that already exist are not made again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.formats.atomic import write_json
from aclnet.datasets.formats.json_text import parse_json
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError, DamageError
from aclnet.datasets.store.store import Store
from aclnet.datasets.synth.motion import FAMILIES
from aclnet.datasets.synth.ntu import sample_names, write_skeletons
from aclnet.evaluation.family_table import family_table
from aclnet.evaluation.occlusion_bench import choose_protocols, run_bench
from aclnet.evaluation.scorer import Scorer
from aclnet.pipelines.prepare.executor import open_executor
from aclnet.pipelines.prepare.options import PrepareOptions
from aclnet.pipelines.prepare.stages import prepare
from aclnet.runs.config import build_config
from aclnet.runs.scores import Scores
from aclnet.training.launch import TrainingRequest, make_fabric, train_run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Progress
    from aclnet.evaluation.family_table import FamilyTable
    from aclnet.evaluation.occlusion_bench import Bench
    from aclnet.pipelines.prepare.stages import Report
    from aclnet.runs.run import Run
    from aclnet.training.trainer import TrainingMonitor

DROPS = ("hands", "legs", "trunk")
DAMAGE = 0.01
"""Share of the raw files that is damaged, to show the treatment of damaged files."""
_PEOPLE = "people.json"


@dataclass(frozen=True, slots=True)
class People:
    """Synthetic people, see `aclnet.datasets.synth.ntu.sample_names`."""

    seed: int = 0
    subjects: int = 10
    replications: int = 2
    cameras: int = 3


@dataclass(frozen=True, slots=True)
class Findings:
    """Results of a trained run on its test split."""

    scores: Scores
    """Scores of the clean test split."""
    families: FamilyTable
    occlusion: Bench
    average_precision: float
    """Average precision of the affinities, as a ranking of class pairs, for planted families."""
    chance: float
    """Average precision of a random ranking: the share of pairs inside a family."""


def make_store(
    folder: Path, progress: Progress, people: People | None = None
) -> tuple[Report, Store]:
    """Raw files in `folder`/raw and their store, `folder`/ntu60.zarr.

    Raises AclnetError if the folder holds other people.
    """
    people = people or People()
    raw, out = folder / "raw", folder / "ntu60.zarr"
    _claim(folder, people)
    if not out.exists():
        names = sample_names(
            subjects=people.subjects, replications=people.replications, cameras=people.cameras
        )
        write_skeletons(
            raw,
            names,
            people.seed,
            DAMAGE,
            lambda _stage, done, total, _remark="": progress("make up", done, total),
        )
    with open_executor() as execute:
        report = prepare(
            open_raw(get_dataset("ntu60"), raw),
            out,
            PrepareOptions(),
            execute,
            progress,
        )
    return report, Store(out)


def train_on(
    store: Store, monitor: TrainingMonitor, *, seed: int = 0, settings: Iterable[str] = ()
) -> Run:
    """A run of the recipe `demo` with further settings (`key=value`)."""
    config = build_config("demo", settings, seed=seed)
    fabric = make_fabric(config, devices="1")
    fabric.launch()
    return train_run(fabric, store, TrainingRequest(config), monitor)


def measure(run: Run, store: Store, progress: Progress) -> Findings:
    """Families, and accuracy clean and with parts missing."""
    scorer = Scorer(run, store)
    protocols, _ = choose_protocols(store, scorer.mask, drops=DROPS)
    occlusion = run_bench([scorer], protocols, progress=progress)
    families = family_table(run)
    found, chance = compare_with_planted(families.affinity)
    return Findings(Scores.load(run.scores(scorer.name)), families, occlusion, found, chance)


def compare_with_planted(affinity: NDArray[np.float32]) -> tuple[float, float]:
    """Average precision of affinities (60, 60) over pairs of planted classes, and chance.

    A pair is correct if both classes are in one planted family; tied pairs share one rank. Chance
    is the share of such pairs.
    """
    family_of = {a - 1: name for name, actions in FAMILIES.items() for a in actions}
    pairs = list(combinations(sorted(family_of), 2))
    same = np.array([family_of[a] == family_of[b] for a, b in pairs])
    _, rank = np.unique([-affinity[a, b] for a, b in pairs], return_inverse=True)
    hits, counts = np.bincount(rank, same), np.bincount(rank)
    precision = np.cumsum(hits) / np.cumsum(counts)
    return float(precision @ hits / hits.sum()), float(same.mean())


def _claim(folder: Path, people: People) -> None:
    """Records the people of a folder. Raises AclnetError if the folder has other people."""
    file = folder / _PEOPLE
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(file, asdict(people))
        return
    try:
        found = parse_json(file.read_bytes())
    except DamageError as damage:
        raise AclnetError(f"{file} is damaged ({damage}); choose another folder") from None
    if found != asdict(people):
        raise AclnetError(
            f"{folder} holds recordings of other people ({file}); choose another folder"
        )
