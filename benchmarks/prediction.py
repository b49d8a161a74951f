"""Cost of predictions: files to rows beside the forward pass alone, and a frame of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from measure import Row, alternate

from aclnet.datasets.registry import get_dataset
from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.synth.ntu import sample_names, write_skeletons
from aclnet.pipelines.steps.normalise import normalisation_name
from aclnet.prediction.files import FileSettings, predict_files
from aclnet.prediction.model import Model
from aclnet.runs.config import build_config
from aclnet.runs.inputs import MakeInputs, clips_to_test
from aclnet.runs.network import build_model
from aclnet.runs.record import ImportRecord, RunRecord, SplitRecord, environment
from aclnet.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FILES = 32
_WINDOW = 60


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """Yields all rows; synthetic files and an untrained run go below `folder`."""
    raw, names = folder / "to-predict", sample_names(subjects=10)
    write_skeletons(raw, names[:: len(names) // _FILES][:_FILES], seed=0)
    run = _run(folder / "untrained")
    yield _files(run, raw, rounds)
    yield _stream(run, raw, rounds)


def _run(path: Path) -> Run:
    """A small network with initial weights."""
    spec, layout = get_dataset("ntu60"), get_layout("nturgb+d")
    config = build_config("ntu60-xsub", ["model.size=small"])
    record = RunRecord(
        name=path.name,
        store=None,
        dataset=spec.name,
        layout=layout,
        channels=3,
        normalisation=normalisation_name(layout),
        class_names=list(spec.class_names),
        split=SplitRecord(protocol="xsub"),
        init_from=None,
        imported=ImportRecord(file="", sha256=""),
        environment=environment(),
    )
    torch.manual_seed(0)
    run = Run.begin(path, config, record)
    state = build_model(config, layout, 3, len(spec.class_names)).state_dict()
    run.save("last", {"network": {f"model.{name}": value for name, value in state.items()}})
    run.finish({"select": config.select})
    return run


def _files(run: Run, raw: Path, rounds: int) -> Row:
    """Files are parsed and cleaned by a thread while the network computes."""
    model = Model([run], accelerator="cpu")
    data, clips = run.config.data, run.config.data.clips
    samples = [model.preparer.fit(sequence) for sequence in model.read(raw)]
    store = model.preparer.hold(samples)
    make = MakeInputs(store, data, torch.device("cpu"))
    stream = store.stream(
        np.ones(len(store), np.bool_),
        batch_size=16,
        sampling=clips_to_test(data, clips),
        shuffle=False,
    )
    inputs = [(make(batch), len(batch) * clips) for batch in stream]
    network = model.members[0].model

    @torch.inference_mode()
    def forward() -> None:
        for one, count in inputs:
            network(one.tracks, one.owner, count)

    def predict() -> None:
        assert len([*predict_files(model, [raw], FileSettings())]) == _FILES

    alone, whole = alternate([forward, predict], rounds)
    what = (
        f"predict {_FILES} NTU files, small network, {clips} clips, sequences/s "
        "(left: the forward pass alone)"
    )
    return Row(what, f"{_FILES / alone:.1f}", f"{_FILES / whole:.1f}", alone / whole, "0.9")


def _stream(run: Run, raw: Path, rounds: int) -> Row:
    """From a frame that completes a window to its prediction."""
    model = Model([run], clips=1, accelerator="cpu")
    frames = model.read(raw)[0].keypoint.transpose(1, 0, 2, 3)
    stream = model.stream(_WINDOW)
    for number in range(_WINDOW):
        stream.push(frames[number % len(frames)])
    prepared = model.preparer.hold([model.preparer.fit(model.read(raw)[0])])
    mask = np.ones(1, np.bool_)
    scored, pushed = alternate(
        [lambda: model.scores(prepared, mask), lambda: stream.push(frames[0])], 4 * rounds
    )
    what = f"stream, window of {_WINDOW} frames, one clip, from a frame to its prediction, ms"
    return Row(f"{what} (left: scores alone)", f"{1000 * scored:.1f}", f"{1000 * pushed:.1f}",
               scored / pushed, "0.8")  # fmt: skip
