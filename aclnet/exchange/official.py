"""Checkpoints of the released code and of PYSKL's DG-STGCN, to runs and back.

They are what mmcv saves: `{"meta": {...}, "state_dict": {...}}`. The networks are the same but for
names: `backbone.*` and `cls_head.fc_cls.*` are the classifier's, `cls_head.inter_loss.cl_fc.*` and
`cls_head.intra_loss.cl_fc.*` the projections of the contrastive terms, which DG-STGCN has not.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from aclnet.datasets.formats.unpickle import numpy_scalars
from aclnet.datasets.registry import get_dataset
from aclnet.datasets.spec import AclnetError, first_of
from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.spec.protocols import OWN
from aclnet.losses.contrast import WIDTH
from aclnet.models.aclnet import SUBSETS, ACLNet
from aclnet.models.choices import preset_widths
from aclnet.pipelines.steps.normalise import normalisation_name
from aclnet.runs.config import build_config
from aclnet.runs.recipes import default_recipe
from aclnet.runs.record import ImportRecord, RunRecord, SplitRecord, environment
from aclnet.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aclnet.datasets.spec import DatasetSpec
    from aclnet.runs.config import Config

_NAMES = {
    "backbone.": "model.",
    "cls_head.fc_cls.": "model.fc_cls.",
    "cls_head.inter_loss.cl_fc.": "contrast.inter_projection.",
    "cls_head.intra_loss.cl_fc.": "contrast.intra_projection.",
}
"""Prefixes there, and those of `aclnet.runs.network.Network`; the second wins over the first."""
_MAX_JOINTS, _MAX_WIDTH = 1000, 2**17
"""Joints of a checkpoint, and its channels or classes: a file can announce more than it holds."""
_MIN_BASE = 8
"""Width of the first block of the smallest network, as in `aclnet.runs.config.ModelConfig`."""
_THEIRS = {ours: theirs for theirs, ours in _NAMES.items()}


@dataclass(frozen=True, slots=True)
class Official:
    """A released network under our names."""

    weights: dict[str, Tensor]
    """`model.*`, and `contrast.*` where the file has the projections."""
    num_joints: int
    in_channels: int
    base_channels: int
    num_classes: int
    sha256: str
    """Of the file."""


def read_official(path: Path) -> Official:
    """Reads a checkpoint; widths and classes come from its tensors, and every key is used.

    AclnetError where it cannot be read, holds anything but tensors, plain values and numpy
    scalars (nothing in it is run), or is of another network: keys that are missing, unknown or
    of another shape are named.
    """
    state = _load(path)
    weights = {_renamed(path, name): value for name, value in state.items()}
    V, channels, base, classes = _sizes(path, weights)
    _check(path, weights, _expected(V, channels, base, classes, weights))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Official(weights, V, channels, base, classes, digest)


def write_official(path: Path, network: Mapping[str, Tensor], meta: dict[str, Any]) -> None:
    """Writes the weights of a `Network` (its `state_dict`) as the released code saves them.

    Of the contrastive losses only the projections are written: the released code does not save
    their other state.
    """
    renamed = ((_exchanged(name, _THEIRS), value) for name, value in network.items())
    state = {name: value for name, value in renamed if name is not None}
    torch.save({"meta": meta, "state_dict": state}, path)


def import_official(
    path: Path,
    dataset: str,
    modality: str,
    *,
    protocol: str | None = None,
    classes: Sequence[str] | None = None,
    out: Path | None = None,
) -> Run:
    """Makes a finished run of a released checkpoint, with the released code's settings.

    Args:
        dataset: as `aclnet prepare` knows it; its recipe tells what the network is fed with.
        modality: what it was trained on, which a checkpoint does not say.
        protocol: which split it was trained on; None: the dataset's first.
        classes: names, where they are not the first ones of the dataset.
        out: the run's folder; None: below ./runs.

    AclnetError as of `read_official`, where the network does not fit the dataset's layout, and
    where `out` is there already.
    """
    official, spec = read_official(path), get_dataset(dataset)
    protocol = protocol or next((p.name for p in spec.protocols), OWN)
    config = _config(official, spec, modality, protocol)
    layout = get_layout(spec.layout)
    if official.num_joints != layout.num_joints:
        raise AclnetError(
            f"{path} is a network of {official.num_joints} joints, and {spec.title} has layout "
            f"{layout.name} with {layout.num_joints}; choose another --dataset"
        )
    names = list(classes or spec.class_names[: official.num_classes])
    if len(names) != official.num_classes:
        raise AclnetError(
            f"{path} tells {official.num_classes} classes apart, and {len(names)} are named by "
            f"{'--classes' if classes else spec.title}; name them with --classes FILE, a line each"
        )
    out = out or Path("runs") / f"{config.recipe}-{modality}-{official.sha256[:8]}"
    if out.exists():
        raise AclnetError(f"{out} is there already; choose another --out, or delete it")
    run = Run.begin(
        out,
        config,
        RunRecord(
            name=out.name,
            store=None,
            dataset=spec.name,
            layout=layout,
            channels=official.in_channels,
            normalisation=normalisation_name(layout, coordinates=spec.dimensions),
            class_names=names,
            split=SplitRecord(protocol=protocol),
            init_from=None,
            imported=ImportRecord(file=path.name, sha256=official.sha256),
            environment=environment(),
        ),
    )
    run.save("last", {"network": official.weights})
    run.finish({"select": config.select})
    return run


def _config(official: Official, spec: DatasetSpec, modality: str, protocol: str) -> Config:
    recipe = default_recipe(spec.name, protocol)
    if recipe == "default":
        raise AclnetError(
            f"there is no recipe of {spec.name} for protocol {protocol}, which would tell what the "
            "network is fed with; name another --protocol"
        )
    presets = {width: name for name, width in preset_widths("aclnet").items()}
    settings = [
        "settings=official",
        f"model.size={presets.get(official.base_channels, official.base_channels)}",
        f"data.modality={modality}",
        f"data.protocol={protocol}",
    ]
    if spec.dimensions == 2:
        settings.append(f"data.score={str(official.in_channels == 3).lower()}")
    return build_config(recipe, settings)


def _load(path: Path) -> Mapping[str, Tensor]:
    try:
        with torch.serialization.safe_globals(numpy_scalars()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other pickles, which are refused anyway
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise AclnetError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception:  # bytes that are no checkpoint make torch's unpickler raise about anything
        # torch's own message proposes to load such a file without restrictions
        raise AclnetError(
            f"{path} was not loaded: it is damaged, or holds other objects than tensors, plain "
            "values and numpy scalars, which are not run; get it from its authors"
        ) from None
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(map(_is_weight, state, state.values())):
        raise AclnetError(
            f"{path} is no checkpoint of mmcv: it has no `state_dict` of names and tensors"
        )
    return state


def _is_weight(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor) and value.layout == torch.strided


def _renamed(path: Path, name: str) -> str:
    ours = _exchanged(name, _NAMES)
    if ours is None:
        raise AclnetError(
            f"{path}: {name} is no key of the released ACLNet or of DG-STGCN; known are "
            f"{', '.join(f'{p}*' for p in _NAMES)}"
        )
    return ours


def _sizes(path: Path, weights: dict[str, Tensor]) -> tuple[int, int, int, int]:
    """Joints, channels, width of the first block and classes."""

    def shape(name: str, dimensions: int) -> torch.Size:
        if name not in weights:
            raise AclnetError(f"{path}: {_there(name)} is missing")
        found = weights[name].shape
        if len(found) != dimensions:
            raise AclnetError(f"{path}: {_there(name)} is {tuple(found)}, {dimensions} axes wanted")
        return found

    V = shape("model.gcn.0.gcn.A", 3)[1]
    inputs = shape("model.data_bn.weight", 1)[0]
    classes, width = shape("model.fc_cls.weight", 2)
    some = 1 <= V <= _MAX_JOINTS and all(1 <= n <= _MAX_WIDTH for n in (inputs, classes, width))
    if not some or inputs % V or width % 4 or width < 4 * _MIN_BASE:
        raise AclnetError(
            f"{path}: {inputs} inputs of {V} joints, a head {width} wide and {classes} classes fit "
            "no network"
        )
    return V, inputs // V, width // 4, classes


def _expected(
    V: int, channels: int, base: int, classes: int, weights: dict[str, Tensor]
) -> dict[str, torch.Size]:
    """Names and shapes of a network's weights; the projections only where there are any."""
    with torch.device("meta"):
        network = nn.Module()
        network.model = ACLNet(
            num_joints=V, num_classes=classes, in_channels=channels, base_channels=base
        )
        if any(name.startswith("contrast.") for name in weights):
            network.contrast = nn.Module()
            network.contrast.inter_projection = nn.Linear(V * V, WIDTH)
            network.contrast.intra_projection = nn.Linear(V * V, WIDTH)
    return {name: value.shape for name, value in network.state_dict().items()}


def _check(path: Path, weights: dict[str, Tensor], expected: dict[str, torch.Size]) -> None:
    problems = [f"{_there(name)} is missing" for name in expected if name not in weights]
    problems += [f"{_there(name)} is unknown" for name in weights if name not in expected]
    problems += [
        f"{_there(name)} is {tuple(weights[name].shape)} instead of {tuple(shape)}"
        for name, shape in expected.items()
        if name in weights and weights[name].shape != shape
    ]
    if problems:
        raise AclnetError(
            f"{path} is not of ACLNet's or DG-STGCN's network with {SUBSETS} subsets: "
            f"{first_of(problems, 3, '; ')}"
        )


def _there(name: str) -> str:
    """Our name of a weight as it is called in the file."""
    return _exchanged(name, _THEIRS) or name


def _exchanged(name: str, prefixes: Mapping[str, str]) -> str | None:
    """The name with the longest of `prefixes` that it has exchanged; None where it has none."""
    known = max((p for p in prefixes if name.startswith(p)), key=len, default=None)
    return None if known is None else prefixes[known] + name.removeprefix(known)
