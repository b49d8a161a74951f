"""A run as one graph for other runtimes: recordings go in, probabilities of classes come out."""

from __future__ import annotations

import json
import logging
import warnings
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.spec.user_code import told
from aclnet.models.folding import fold_batch_norms
from aclnet.models.persons import PADDED_PERSONS
from aclnet.pipelines.inputs.features import is_there, make_features, needs_following, presence
from aclnet.pipelines.inputs.image_scale import scale_to_image
from aclnet.pipelines.steps.normalise import NORMALISATION, ON_ORIGIN
from aclnet.runs.known_preparation import preparation_record
from aclnet.runs.network import load_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from aclnet.runs.run import Run

OPSET = 18
_SIZES = (2, 3, 2)
"""N, M and K of the recordings for tracing; none is 1, because tracing would fix a size of 1."""


class Deployed(nn.Module):
    """The network of a run with all steps before it, except the choice of frames.

    It computes the same as `aclnet.runs.inputs.MakeInputs` and `aclnet.runs.inference.Inference`,
    with tensors of fixed rank instead of lists of tracks: an absent person is a track too, which
    the mean ignores.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        if run.config.task != "action":
            raise AclnetError(
                f"run {run.name} recognises people by their embeddings, but an exported graph "
                "computes classes; `aclnet export --to embeddings` writes embeddings"
            )
        self.data = run.config.data
        self.layout = run.layout
        self.coordinates = preparation_record(run).coordinates
        self.scored = _is_scored(run)
        self.image_scale = self.data.image_scale and self.coordinates == 2
        self.centres = run.record.normalisation == NORMALISATION
        self.model = fold_batch_norms(load_model(run), fast_pooling=False)
        self.padded = self.model.persons == "padded"
        # pairs are made here, and the network takes all of them
        self.model.persons = "present"

    def forward(
        self,
        keypoint: Tensor,
        frame_index: Tensor,
        frames: Tensor,
        image_size: Tensor | None = None,
    ) -> Tensor:
        """(N, classes) float32: the mean of the probabilities of the clips of N recordings.

        Args:
            keypoint: (N, M, T, V, C) float32 joints in the run's layout and units, with the
                confidence as last coordinate if the run uses it. Missing joints and absent persons
                are zero. Present persons come first; the first is the main person, who is in every
                frame. A recording with fewer frames repeats its last one.
            frame_index: (N, T) int64 number of each frame in its recording, ascending.
            frames: (N, K, L) int64 frames of K clips of L frames, from 0 to T - 1.
            image_size: (N, 2) float32 width and height of the image, pixels.
        """
        (N, _, T), (K, L) = keypoint.shape[:3], frames.shape[1:]
        if self.padded:
            padded = torch.cat([keypoint, torch.zeros_like(keypoint)], 1)
            keypoint = padded[:, :PADDED_PERSONS]
        M = keypoint.shape[1]
        there = (keypoint != 0).flatten(2).any(2)
        x, now = self._centred(keypoint), frames.flatten(1)
        after = (now + 1).clamp(max=T - 1)
        x, following = (_take(x, chosen).flatten(0, 1) for chosen in (now, after))
        if image_size is not None:
            size = _of_persons(image_size, M)
            x, following = (scale_to_image(y, size, scored=self.scored) for y in (x, following))
        number = frame_index.gather(1, now)
        elapsed = (frame_index.gather(1, after) - number).clamp(min=1)
        last = number == frame_index[:, -1:]
        x = self._features(x, following, _of_persons(elapsed, M), _of_persons(last, M))
        tracks = x.reshape(N * M, K, L, *x.shape[2:]).transpose(0, 1).flatten(0, 1)
        sample = torch.arange(K * N, device=x.device)
        logits = self._logits(tracks, there.repeat(K, 1), sample[:, None].expand(-1, M))
        return logits.softmax(1).view(K, N, -1).mean(0)

    def _logits(self, tracks: Tensor, there: Tensor, sample: Tensor) -> Tensor:
        """(B, classes) of tracks (B * M, L, V, C); `there` and `sample` (B, M) hold the presence
        and the sample of each track."""
        B, owner = there.shape[0], sample.flatten()  # len() would fix the number
        if self.padded:
            logits: Tensor = self.model(tracks, owner, B).logits
            return logits
        # absent persons belong to an additional sample, which is left out; owners must ascend
        owner, order = torch.where(there.flatten(), owner, B).sort()
        logits = self.model(tracks[order], owner, B + 1).logits
        return logits[:B]

    def _centred(self, keypoint: Tensor) -> Tensor:
        """Applies the rule of `aclnet.pipelines.steps.normalise`, if the run uses it."""
        if not self.centres:
            return keypoint
        xyz = keypoint[..., : self.coordinates]
        seen = (xyz != 0).any(-1, keepdim=True)
        centre = xyz[:, :1, :1, self.layout.normalise_centre, None]
        moved = torch.where(seen, xyz - centre, 0)
        moved = torch.where(seen & (moved == 0).all(-1, keepdim=True), ON_ORIGIN, moved)
        return torch.cat([moved, keypoint[..., self.coordinates :]], -1) if self.scored else moved

    def _features(self, x: Tensor, following: Tensor, elapsed: Tensor, last: Tensor) -> Tensor:
        """(P, K * L, V, C) joints in the frames, and in the frames after them."""
        modality, scored = self.data.modality, self.scored
        if self.data.motion == "sampled":
            following = torch.cat([x[:, 1:], x[:, -1:]], 1)
            number = torch.arange(x.shape[1], device=x.device)
            last = (number == x.shape[1] - 1)[None]
        there, there_after = is_there(x, scored=scored), is_there(following, scored=scored)
        if self.data.motion == "timed":
            following = torch.lerp(x, following, (1 / elapsed)[..., None, None].to(x.dtype))
        features = make_features(
            x, following, self.layout, modality, scored=scored, root_path=self.data.root_path
        )
        if scored and needs_following(modality):
            score = features[..., -1:].masked_fill(last[..., None, None], 0)
            features = torch.cat([features[..., :-1], score], -1)
        if self.data.presence:
            told = presence(there, there_after, self.layout, modality)
            features = torch.cat([features, told[..., None].to(x.dtype)], -1)
        return features

    def example(self) -> tuple[Tensor, ...]:
        """Example inputs for tracing."""
        (N, M, K), L, V = _SIZES, self.data.frames, self.layout.num_joints
        T = L + 3
        given = (
            torch.randn(N, M, T, V, self.coordinates + self.scored),
            torch.arange(T).repeat(N, 1),
            torch.arange(L).repeat(N, K, 1),
        )
        return (*given, torch.full((N, 2), 500.0)) if self.image_scale else given


def _take(x: Tensor, frames: Tensor) -> Tensor:
    """(N, M, F, V, C): the frames (N, F) of `x` (N, M, T, V, C)."""
    rows = torch.arange(x.shape[0], device=x.device)[:, None]
    return x.transpose(1, 2)[rows, frames].transpose(1, 2)


def _of_persons(values: Tensor, persons: int) -> Tensor:
    """(N * M, F) from values (N, F): the same values for each person."""
    return values[:, None].expand(-1, persons, -1).flatten(0, 1)


def write_torch_export(run: Run, path: Path, about: Mapping[str, Any]) -> None:
    """Writes the graph for `torch.export.load`, with `about` as its extra file `about.json`."""
    program = _program(run)
    facts = json.dumps({**about, **_facts(run)})
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={"about.json": facts})


def write_onnx(run: Run, path: Path, about: Mapping[str, Any]) -> None:
    """Writes the graph as ONNX, with `about` as its metadata: texts, and other values as JSON.

    Raises AclnetError if the packages of `aclnet[onnx]` are not installed.
    """
    if not find_spec("onnxscript"):  # torch's exporter needs it
        raise AclnetError("--to onnx needs further packages: pip install 'aclnet[onnx]'")
    program = _program(run)
    names = ["probability"]
    try:
        with _quiet():
            found = torch.onnx.export(
                program, dynamo=True, opset_version=OPSET, output_names=names, verbose=False
            )
    except Exception as error:
        raise AclnetError(
            f"ONNX cannot hold the network {run.config.model.name} of {run.path}: {told(error)}; "
            "try --to torch-export"
        ) from error
    assert found is not None
    facts = {**about, **_facts(run)}
    found.model.metadata_props.update(
        {name: x if isinstance(x, str) else json.dumps(x) for name, x in facts.items()}
    )
    found.save(path)


def _is_scored(run: Run) -> bool:
    """True if the confidence of joints is one of the network's channels."""
    channels = run.record.channels - run.config.data.presence
    return channels > preparation_record(run).coordinates


def _facts(run: Run) -> dict[str, Any]:
    """Facts that are needed to use the graph, for JSON."""
    data = run.config.data
    return {
        "class_names": run.class_names,
        "joints": run.layout.joints,
        "units": preparation_record(run).units,
        "confidence": _is_scored(run),
        "normalisation": run.record.normalisation,
        "centres": run.record.normalisation == NORMALISATION,
        "frames": data.frames,
        "clips": data.clips,
        "sampling": data.sampling,
        "short_clips": data.short_clips,
        "weights_sha256": run.weights_sha256(),
        "config": run.config.to_toml(),
    }


def _program(run: Run) -> torch.export.ExportedProgram:
    """The traced graph; N, M, T, K and L may change."""
    graph = Deployed(run).eval().requires_grad_(False)
    given = graph.example()
    auto = torch.export.Dim.AUTO
    shapes = [{0: auto, 1: auto, 2: auto}, {0: auto, 1: auto}, {0: auto, 1: auto, 2: auto}]
    shapes += [{0: auto}] * graph.image_scale
    try:
        with torch.no_grad(), _quiet():
            graph(*given)  # indices of joints are made at their first use, which must not be traced
            return torch.export.export(graph, given, dynamic_shapes=(*shapes,))
    except Exception as error:
        name = run.config.model.name
        raise AclnetError(
            f"torch.export cannot trace the network {name} of {run.path}: {told(error)}"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses the exporters' own remarks."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
