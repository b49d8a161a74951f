"""Cost of the data path: one file, a whole `prepare`, the stream, the waiting of a consumer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import people
import torch
from measure import Row, alternate, command
from peers import network_input, read_skeleton

import aclnet
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec.layouts import get_layout
from aclnet.pipelines.inputs.augment import AugmentSpec
from aclnet.pipelines.inputs.sampling import ClipSampling, UniformSampling
from aclnet.pipelines.steps.clean import clean_ntu
from aclnet.runs.config import DataConfig
from aclnet.runs.inputs import MakeInputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from aclnet.datasets.store.store import Store

_FILES = 20_000
_PEER_SAMPLES = 40
_BATCH = 64
_DEMAND = 4_000
"""Sequences per second that the waiting consumer takes."""


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """All rows; synthetic files and stores go below `folder`."""
    files = people.make(folder / "generated")
    yield _parse(files, rounds)
    yield from _prepare(files, folder)
    store = aclnet.open_store(folder / "two.zarr")
    yield from _stream(store, rounds)
    yield _wait(store)


def _parse(files: list[Path], rounds: int) -> Row:
    source = open_raw(get_dataset("ntu60"), files[0].parent)
    chosen = {file.stem: file for file in files[::5]}
    items = [item for item in source.scan()[0] if item.sample_id in chosen]

    def ours() -> None:
        for item in items:
            clean_ntu(source.read(item))  # type: ignore[arg-type]

    def peer() -> None:
        for item in items:
            read_skeleton(chosen[item.sample_id])

    theirs, own = (1000 * t / len(items) for t in alternate([peer, ours], rounds))
    frames = np.mean([int(chosen[item.sample_id].open().readline()) for item in items])
    size = np.mean([item.size for item in items]) / 1000
    return Row(
        f"parse and clean one NTU file ({frames:.0f} frames, {size:.0f} kB), ms",
        f"{theirs:.1f}",
        f"{own:.2f}",
        theirs / own,
        "2",
    )


def _prepare(files: list[Path], folder: Path) -> Iterator[Row]:
    """The whole command with one and two workers; the start is measured with one file."""
    raw = people.link(files, folder / "raw", _FILES)
    few = people.link(files, folder / "few", 1)
    start = time.perf_counter()
    for file in files:
        read_skeleton(file)
    peer = (time.perf_counter() - start) / len(files) * _FILES
    seconds = {}
    for workers, name in ((1, "one"), (2, "two")):
        options = ("--workers", str(workers), "--out", str(folder / f"{name}.zarr"))
        seconds[name] = command(
            "prepare", "ntu120", "--raw", str(raw), *options, cwd=folder
        ).seconds
        options = (*options[:-1], str(folder / f"{name}-start.zarr"))
        begun = command("prepare", "ntu120", "--raw", str(few), *options, cwd=folder).seconds
        seconds[f"{name} start"] = begun
    yield Row(
        f"prepare {_FILES:,} NTU files, two workers, s (peer: parsing alone)",
        f"{peer:.0f}",
        f"{seconds['two']:.0f}",
        peer / seconds["two"],
        "60",
    )
    rate = {n: _FILES / (seconds[n] - seconds[f"{n} start"]) for n in ("one", "two")}
    yield Row(
        f"rate of two workers over that of one (start {seconds['two start']:.1f} s apart)",
        "",
        f"{rate['two']:.0f} / {rate['one']:.0f} files per second",
        rate["two"] / rate["one"],
        "1.7",
    )


def _stream(store: Store, rounds: int) -> Iterator[Row]:
    layout = get_layout("nturgb+d")
    rng = np.random.default_rng(0)
    picked = rng.choice(len(store), _PEER_SAMPLES, replace=False)
    raw = [store.sequence(int(row)).keypoint for row in picked]

    def peer(name: str, clips: int, limit: float) -> Callable[[], None]:
        def run() -> None:
            for seed, keypoint in enumerate(raw):
                network_input(
                    keypoint,
                    name,
                    list(layout.bone_parent),
                    list(layout.kbone_partner),
                    clips=clips,
                    limit=limit,
                    seed=seed,
                )

        return run

    for title, modality, clips, reach in (
        ("training stream, joints", "j", 1, "8,000"),
        ("training stream, bone motion", "bm", 1, "6,000"),
        ("ten-clip test input, joints", "j", 10, "2,000"),
    ):
        limit = 0.0 if clips > 1 else 0.2
        counted = [0]
        own = _epoch(store, modality, clips, limit, counted)
        theirs, ours = alternate([peer(modality, clips, limit), own], rounds)
        rate = (len(raw) / theirs, counted[0] / ours)
        yield Row(
            f"{title}, sequences/s",
            f"{rate[0]:,.0f}",
            f"{rate[1]:,.0f}",
            rate[1] / rate[0],
            reach,
        )


def _epoch(
    store: Store, modality: str, clips: int, limit: float, counted: list[int]
) -> Callable[[], None]:
    """An epoch of the stream up to the network's input, ragged; adds sequences to `counted`."""
    data = DataConfig(modality=modality, clips=clips)
    make = MakeInputs(store, data, torch.device("cpu"), spec=AugmentSpec(rotate=limit))
    sampling = ClipSampling(100, clips) if clips > 1 else UniformSampling(100)
    split = "xsub/test" if clips > 1 else "xsub/train"
    stream = store.stream(
        split, batch_size=_BATCH, sampling=sampling, shuffle=clips == 1, motion=make.motion
    )

    def run() -> None:
        counted[0] = sum(len(make(batch)) for batch in stream)

    return run


def _wait(store: Store) -> Row:
    """The share of its time that a consumer with a steady demand waits for batches."""
    stream = store.stream("xsub/train", batch_size=_BATCH, sampling=UniformSampling(100), seed=0)
    batches = iter(stream)
    next(batches)  # the first window must be read before any batch
    waited, begun = 0.0, time.perf_counter()
    while True:
        asked = time.perf_counter()
        if next(batches, None) is None:
            break
        waited += time.perf_counter() - asked
        time.sleep(_BATCH / _DEMAND)
    share = waited / (time.perf_counter() - begun)
    what = f"a consumer of {_DEMAND:,} sequences/s waits, % of its time"
    return Row(what, "", f"{100 * share:.1f}", None, "2")
