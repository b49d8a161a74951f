"""Recognition of 28 people in UCalgary's gait recordings by the network and simple baselines.

    python benchmarks/ucalgary.py RAW WORK [--seeds 0,1,2] [--epochs 300] [--jobs 2]

RAW is the folder of the recordings, WORK a folder for stores and runs; a repeated call resumes.
There are two protocols. In `known`, everybody's first recording of each condition trains and is the
gallery, and the second is the probe. In `disjoint`, the probes' people do not train (two halves,
each tested once). Prints the tables of docs/results/ucalgary-gait.md.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import pandas as pd
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aclnet.cli.monitors import JobsScreen
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.store.store import Store
from aclnet.evaluation.scorer import Scorer
from aclnet.pipelines.prepare.executor import open_executor
from aclnet.pipelines.prepare.options import PrepareOptions
from aclnet.pipelines.prepare.stages import prepare
from aclnet.retrieval.embedder import Embedder
from aclnet.retrieval.ranking import Embeddings, rank
from aclnet.retrieval.recognition import Recogniser
from aclnet.runs.config import build_config
from aclnet.runs.network import build_network
from aclnet.runs.run import Run
from aclnet.runs.splits import choose_splits
from aclnet.training.jobs import failed, plan_job, train_jobs
from aclnet.training.launch import TrainingRequest

if TYPE_CHECKING:
    from aclnet.runs.choices import Embedding
    from aclnet.runs.config import Config
    from aclnet.runs.splits import Splits

FRAMES = 20
SETTINGS = (
    "model.size=tiny",
    f"data.frames={FRAMES}",
    "data.modality=b",
    "data.balance=false",
    "data.per_class=4",
    "optim.batch_size=32",
    "optim.lr=0.2",
)
STORES = (
    PrepareOptions(),
    PrepareOptions(normalise="directions"),
    PrepareOptions(align=True),
)
FILES = {"known": ["known"], "disjoint": ["half1", "half2"]}
RIGID = 0.05
"""Relative variation during a walk below which a distance is rigid."""
_NAME = re.compile(r"subject(\d+)_Seq_(\d)_Gen_\w_GeometricPositions_(\w+)")


@click.command()
@click.argument("raw", type=click.Path(path_type=Path, exists=True))
@click.argument("work", type=click.Path(path_type=Path))
@click.option("--seeds", default="0,1,2")
@click.option("--epochs", default=300)
@click.option("--jobs", default=2)
def main(raw: Path, work: Path, seeds: str, epochs: int, jobs: int) -> None:
    """Trains what is missing and prints the tables."""
    _link(raw, work / "raw")
    numbers = [int(seed) for seed in seeds.split(",")]
    for options in STORES:
        store = _store(work, options)
        _write_splits(store, work)
        rows = pd.DataFrame(_rows(store, work, numbers, epochs, jobs))
        shown = rows.groupby(["protocol", "method"], sort=False).agg(["mean", "std"])
        title = f"--normalise {options.normalise}{' --align' if options.align else ''}"
        print(f"\n`{title}`\n\n{_markdown(100 * shown)}", flush=True)


def _link(raw: Path, folder: Path) -> None:
    """A folder in the form of `custom`: links to the recordings, an index and dataset.toml."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for file in sorted(raw.glob("*.csv")):
        subject, take, condition = _NAME.fullmatch(file.stem).groups()  # type: ignore[union-attr]
        link = folder / file.name
        link.unlink(missing_ok=True)
        link.symlink_to(file.resolve())
        # a condition's first recording has an odd number
        sample, replication = f"{int(subject):02}-{take}", 2 - int(take) % 2
        rows.append((sample, file.name, f"{int(subject):02}", subject, replication, condition))
    with (folder / "index.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("id", "file", "label", "subject", "replication", "condition"))
        table.writerows(rows)
    (folder / "dataset.toml").write_text('layout = "kinect18"\nunits = "m"\ncolumns = "0:54"\n')


def _store(work: Path, options: PrepareOptions) -> Store:
    out = work / f"{options.normalise}{'-aligned' if options.align else ''}.zarr"
    with open_executor() as execute:
        source = open_raw(get_dataset("custom"), (work / "raw").resolve())
        prepare(source, out, options, execute)
    return Store(out)


def _write_splits(store: Store, work: Path) -> None:
    samples = store.samples
    people = sorted(samples["label"].unique())
    trained_and_tested = {
        "known": (people, people),
        "half1": (people[0::2], people[1::2]),
        "half2": (people[1::2], people[0::2]),
    }
    for name, (trained, tested) in trained_and_tested.items():
        with (work / f"{name}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(("id", "split"))
            for row in samples.sort_values("id").itertuples():
                first = row.replication == 1
                sides = ["train"] * (row.label in trained and (first or name != "known"))
                sides += ["gallery" if first else "probe"] * (row.label in tested)
                if sides:
                    table.writerow((row.id, "+".join(sides)))


def _rows(
    store: Store, work: Path, seeds: list[int], epochs: int, jobs: int
) -> list[dict[str, object]]:
    """A row per protocol, method and seed."""
    planned = {}
    for protocol, names in FILES.items():
        for seed in seeds:
            settings = [*SETTINGS, f"optim.epochs={epochs}"]
            config = build_config("reid", settings, seed=seed)
            for name in names:
                title = f"{name}, seed {seed}"
                file = work / f"{name}.csv"
                request = TrainingRequest(config, split_file=file)
                planned[protocol, seed, name] = plan_job(title, store, request, None)
    with JobsScreen(jobs) as watch:
        failures = train_jobs(list(planned.values()), watch, at_once=jobs)
    if failures:
        raise failed(failures, len(planned))
    rows: list[dict[str, object]] = []
    for protocol, names in FILES.items():
        for seed in seeds:
            parts: dict[str, list[pd.DataFrame]] = {}
            for name in names:
                job = planned[protocol, seed, name]
                for method, found in _sides(store, Run(job.path), job.config, seed == seeds[0]):
                    parts.setdefault(method, []).append(_measures(method, *found))
            rows += [
                {"protocol": protocol, "method": method, **pd.concat(of).mean().to_dict()}
                for method, of in parts.items()
            ]
    return rows


def _sides(
    store: Store, run: Run, config: Config, baselines: bool
) -> list[tuple[str, tuple[Embeddings, Embeddings]]]:
    """Probes and gallery by method; a row per sequence."""
    splits = choose_splits(store, config, run.split_file)
    device = torch.device("cpu")
    torch.manual_seed(config.seed)
    untrained = Embedder(build_network(config, store, splits).model, None, config, device)
    assert splits.gallery is not None
    raw = Recogniser(untrained, store, splits.test, splits.gallery, config)
    found = [
        ("network", _embedded(run, store, "pooled")),
        ("network, not trained", raw().sequences()),
        ("network and shape", _embedded(run, store, "shape+pooled")),
    ]
    if baselines:
        found.append(("shape", _embedded(run, store, "shape")))
        found += [
            ("height alone", _plain(store, splits, _heights(store))),
            ("rigid distances, LDA", _lda(store, splits, _rigid(store, splits))),
            ("postures, LDA", _lda(store, splits, _postures(store))),
        ]
    return found


def _embedded(run: Run, store: Store, embedding: Embedding) -> tuple[Embeddings, Embeddings]:
    retrieval = run.config.retrieval.changed(embedding=embedding)
    return Scorer(run, store, retrieval=retrieval, accelerator="cpu").recognise().sequences()


def _measures(method: str, probe: Embeddings, gallery: Embeddings) -> pd.DataFrame:
    """One row: measures in the whole gallery, in the probe's condition, and in each other one."""
    metric = "cosine" if method.startswith(("network", "shape")) else "euclidean"
    whole = rank(probe, gallery, metric).summary()
    pairs = {
        (of, among): rank(
            probe[probe.condition == of], gallery[gallery.condition == among], metric
        ).summary()
        for of in np.unique(probe.condition)
        for among in np.unique(gallery.condition)
    }
    same = pd.DataFrame([m for (a, b), m in pairs.items() if a == b]).mean()
    across = pd.DataFrame([m for (a, b), m in pairs.items() if a != b]).mean()
    of = {"all": whole, "same": same, "across": across}
    row = {f"{name} {m}": values[m] for name, values in of.items() for m in ("rank1", "mAP")}
    return pd.DataFrame([row])


def _windows(store: Store, row: int) -> list[np.ndarray]:
    """The person's (FRAMES, V, C) windows."""
    keypoint = store.sequence(row).keypoint[0]
    count = max(1, len(keypoint) // FRAMES)
    return [keypoint[w * FRAMES : (w + 1) * FRAMES] for w in range(count)]


def _distances(window: np.ndarray) -> np.ndarray:
    """(T, pairs) distances of all joints."""
    a, b = np.triu_indices(window.shape[1], 1)
    return np.linalg.norm(window[:, a] - window[:, b], axis=-1)


def _rigid(store: Store, splits: Splits) -> list[np.ndarray]:
    """Medians of the distances that are rigid in training: for each sample, a row per window."""
    every = [[_distances(w) for w in _windows(store, row)] for row in range(len(store))]
    train = [d for row in np.flatnonzero(splits.train) for d in every[row]]
    varies = np.median([d.std(0) / d.mean(0) for d in train], axis=0)
    return [np.stack([np.median(d, 0)[varies < RIGID] for d in windows]) for windows in every]


def _postures(store: Store) -> list[np.ndarray]:
    """Mean and deviation of each coordinate: for each sample, a row per window."""
    return [
        np.stack([np.concatenate([w.mean(0).ravel(), w.std(0).ravel()]) for w in windows])
        for windows in (_windows(store, row) for row in range(len(store)))
    ]


def _heights(store: Store) -> list[np.ndarray]:
    """Bone lengths from the head down trunk and legs: for each sample, a row per window."""
    place = store.layout.joints.index
    trunk = ("Head", "Neck", "SpineMid", "SpineBase")
    legs = [(f"Hip{side}", f"Knee{side}", f"Ankle{side}") for side in ("Left", "Right")]

    def length(window: np.ndarray, chain: tuple[str, ...]) -> float:
        joints = window[:, [place(name) for name in chain]]
        return float(np.median(np.linalg.norm(np.diff(joints, axis=1), axis=-1).sum(1)))

    return [
        np.array([[length(w, trunk) + np.mean([length(w, leg) for leg in legs])] for w in windows])
        for windows in (_windows(store, row) for row in range(len(store)))
    ]


def _lda(store: Store, splits: Splits, features: list[np.ndarray]) -> tuple[Embeddings, Embeddings]:
    """Standardised features in the space of an LDA of the training people; means over windows."""
    rows = np.flatnonzero(splits.train)
    people = np.repeat(store.column("label")[rows], [len(features[row]) for row in rows])
    lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto")
    model = make_pipeline(StandardScaler(), lda)
    model.fit(np.concatenate([features[row] for row in rows]), people)
    return _plain(store, splits, [model.transform(windows) for windows in features])


def _plain(
    store: Store, splits: Splits, features: list[np.ndarray]
) -> tuple[Embeddings, Embeddings]:
    """Probes and gallery: means over the windows of each sequence."""
    assert splits.gallery is not None
    sides = []
    for mask in (splits.test, splits.gallery):
        rows = np.flatnonzero(mask)
        sides.append(
            Embeddings(
                ids=store.column("id")[rows],
                vectors=np.stack([features[row].mean(0) for row in rows]).astype(np.float32),
                label=store.column("label")[rows].astype(np.int64),
                condition=store.column("condition")[rows],
                camera=store.column("camera")[rows].astype(np.int64),
            )
        )
    return sides[0], sides[1]


def _markdown(table: pd.DataFrame) -> str:
    names = list(dict.fromkeys(name for name, _ in table.columns))
    lines = [f"| protocol | method | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for (protocol, method), row in table.iterrows():
        cells = [
            f"{row[n, 'mean']:.1f}" + ("" if np.isnan(row[n, "std"]) else f" ± {row[n, 'std']:.1f}")
            for n in names
        ]
        lines.append(f"| {protocol} | {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
