"""Import and export of checkpoints of the released code and of PYSKL's zoo.

mmcv saves them as `{"meta": {...}, "state_dict": {...}}`. The networks differ only in names:
`backbone.*` and `cls_head.fc_cls.*` belong to the classifier, `cls_head.inter_loss.cl_fc.*` and
`cls_head.intra_loss.cl_fc.*` to the projections of the contrastive terms, which only ACLNet has.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from aclnet.datasets.formats.unpickle import numpy_scalars
from aclnet.datasets.registry import get_dataset
from aclnet.datasets.spec import AclnetError, first_of
from aclnet.datasets.spec.layouts import get_layout, layouts_of
from aclnet.datasets.spec.protocols import OWN
from aclnet.exchange.zoo_names import UNUSED, their_name, which_network
from aclnet.losses.contrast import WIDTH
from aclnet.models.aclnet import SUBSETS, ACLNet
from aclnet.models.choices import MAX_WINDOW_SCALES, WINDOW_SCALES, preset_widths
from aclnet.models.persons import PADDED_PERSONS
from aclnet.models.registry import BASELINES, make_model
from aclnet.pipelines.steps.normalise import normalisation_name
from aclnet.runs.config import build_config
from aclnet.runs.known_preparation import imported_preparation
from aclnet.runs.recipes import default_recipe
from aclnet.runs.record import ImportRecord, RunRecord, SplitRecord, environment
from aclnet.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aclnet.datasets.spec import DatasetSpec
    from aclnet.datasets.spec.layouts import Layout
    from aclnet.models.choices import ModelName
    from aclnet.runs.config import Config

_PROJECTIONS = {
    "contrast.inter_projection.": "cls_head.inter_loss.cl_fc.",
    "contrast.intra_projection.": "cls_head.intra_loss.cl_fc.",
}
"""Prefixes of `aclnet.runs.network.Network`, and their counterparts in the released code."""
_MAX_JOINTS, _MAX_WIDTH = 1000, 2**17
"""Limits of a checkpoint's joints, and of its channels or classes."""
_ZOO_LAYOUTS = {25: "nturgb+d", 17: "coco", 18: "openpose"}
"""Layouts of PYSKL's networks by their number of joints."""
_MIN_BASE = 8
"""Width of the first block of the smallest network, as in `aclnet.runs.config.ModelConfig`."""


class _Sizes(NamedTuple):
    """Sizes of a network, in the order of `Official`."""

    num_joints: int
    in_channels: int
    base_channels: int
    num_classes: int
    window_scales: int


@dataclass(frozen=True, slots=True)
class Official:
    """A released network with aclnet's names."""

    model: ModelName
    weights: dict[str, Tensor]
    """Weights `model.*`, and `contrast.*` if the file has the projections."""
    num_joints: int
    in_channels: int
    base_channels: int
    num_classes: int
    window_scales: int
    """Number of window scales; only MS-G3D has them."""
    sha256: str
    """sha256 of the file."""


def read_official(path: Path) -> Official:
    """Reads a checkpoint; widths and classes come from its tensors, and every key is used.

    Raises AclnetError if it cannot be read, if it holds anything but tensors, plain values and
    numpy scalars (no code in it is run), or if it is of another network. The message names the keys
    that are missing, unknown or of another shape.
    """
    state = _load(path)
    model = which_network(state) or "aclnet"
    sizes = _sizes(path, model, state)
    expected = _expected(model, sizes, state)
    _check(path, model, state, {_theirs(model, ours): shape for ours, shape in expected.items()})
    weights = {ours: state[_theirs(model, ours)] for ours in expected}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Official(model, weights, *sizes, sha256=digest)


def write_official(path: Path, network: Mapping[str, Tensor], meta: dict[str, Any]) -> None:
    """Writes the weights of a `Network` (its `state_dict`) in the form of the released code.

    From the contrastive losses only the projections are written: the released code does not save
    their other state.
    """
    written = ("model.", *_PROJECTIONS)
    state = {
        _theirs("aclnet", name): value
        for name, value in network.items()
        if name.startswith(written)
    }
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
    """Makes a finished run from a released checkpoint, with the released code's settings.

    Args:
        dataset: name as in `aclnet prepare`. Its recipe gives the input of a released ACLNet; for
            PYSKL's networks the recipe is `pyskl`.
        modality: modality that it was trained on, which a checkpoint does not contain.
        protocol: protocol that it was trained on; None: the dataset's first.
        classes: names, if they are not the first of the dataset.
        out: the run's folder; None: below ./runs.

    Raises AclnetError as `read_official` does, if the network does not fit the dataset's layout,
    and if `out` exists.
    """
    official, spec = read_official(path), get_dataset(dataset)
    protocol = protocol or next((p.name for p in spec.protocols), OWN)
    of_zoo = official.model != "aclnet"
    layout = _layout(path, official, spec)
    preparation = imported_preparation(layout, spec)
    dimensions = preparation.coordinates
    config = _config(official, spec.name, dimensions, modality, protocol)
    names = list(classes or spec.class_names[: official.num_classes])
    if len(names) != official.num_classes:
        raise AclnetError(
            f"{path} has {official.num_classes} classes, but "
            f"{'--classes' if classes else spec.title} names {len(names)}; give the names with "
            "--classes FILE, one per line"
        )
    name = official.model if of_zoo else config.recipe
    out = out or Path("runs") / f"{name}-{modality}-{official.sha256[:8]}"
    if out.exists():
        raise AclnetError(f"{out} already exists; choose another --out, or delete it")
    run = Run.begin(
        out,
        config,
        RunRecord(
            name=out.name,
            store=None,
            dataset=spec.name,
            layout=layout,
            channels=official.in_channels,
            normalisation=normalisation_name(layout, align=of_zoo, coordinates=dimensions),
            preparation=preparation,
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


def _layout(path: Path, official: Official, spec: DatasetSpec) -> Layout:
    """Layout of the network's joints."""
    layout = get_layout(spec.layout)
    if official.num_joints == layout.num_joints:
        return layout
    if official.model != "aclnet" and official.num_joints in _ZOO_LAYOUTS:
        return get_layout(_ZOO_LAYOUTS[official.num_joints])
    raise AclnetError(
        f"{path} is a network for {official.num_joints} joints, but {spec.title} has layout "
        f"{layout.name} with {layout.num_joints} joints; choose another --dataset"
    )


def _config(
    official: Official, dataset: str, dimensions: int, modality: str, protocol: str
) -> Config:
    of_zoo = official.model != "aclnet"
    recipe = "pyskl" if of_zoo else default_recipe(dataset, protocol)
    if recipe == "default":
        raise AclnetError(
            f"there is no recipe of {dataset} for protocol {protocol}, so the input of the network "
            "is not known; give another --protocol"
        )
    presets = {width: name for name, width in preset_widths(official.model).items()}
    settings = [
        *([] if of_zoo else ["settings=official"]),
        f"model.name={official.model}",
        f"model.window_scales={official.window_scales}",
        f"model.size={presets.get(official.base_channels, official.base_channels)}",
        f"data.modality={modality}",
        f"data.protocol={protocol}",
    ]
    if dimensions == 2:
        settings.append(f"data.score={str(official.in_channels == 3).lower()}")
    return build_config(recipe, settings)


def _load(path: Path) -> Mapping[str, Tensor]:
    try:
        with torch.serialization.safe_globals(numpy_scalars()), warnings.catch_warnings():
            # warnings about other pickles, which are refused anyway
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise AclnetError(f"{path} cannot be read: {error.strerror or error}") from None
    # if the bytes are not a checkpoint, torch's unpickler raises many kinds of exceptions
    except Exception:
        # Torch's own message suggests loading such a file without restrictions.
        raise AclnetError(
            f"{path} was not loaded: it is damaged, or it holds objects other than tensors, plain "
            "values and numpy scalars, which could run code; get the file from its authors"
        ) from None
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(map(_is_weight, state, state.values())):
        raise AclnetError(
            f"{path} is not a checkpoint of mmcv: it has no `state_dict` of names and tensors"
        )
    return state


def _is_weight(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor) and value.layout == torch.strided


def _sizes(path: Path, model: ModelName, state: Mapping[str, Tensor]) -> _Sizes:
    """Sizes of a network, from the shapes of some weights."""

    def shape(name: str, dimensions: int) -> torch.Size:
        if name not in state:
            raise AclnetError(f"{path}: {name} is missing")
        found = state[name].shape
        if len(found) != dimensions:
            raise AclnetError(f"{path}: {name} is {tuple(found)}; {dimensions} axes are expected")
        return found

    scales = WINDOW_SCALES
    if model == "msg3d":
        scales = shape(_theirs(model, "gcn.0.windows.0.graph_conv.A"), 3)[0]
    V = shape(_theirs(model, "gcn.0.frames.0.A" if model == "msg3d" else "gcn.0.gcn.A"), 3)[1]
    inputs = shape("backbone.data_bn.weight", 1)[0]
    classes, width = shape("cls_head.fc_cls.weight", 2)
    some = 1 <= V <= _MAX_JOINTS and all(1 <= n <= _MAX_WIDTH for n in (inputs, classes, width))
    by_person = model != "aclnet" and BASELINES[model].norm_by_person
    joints = V * (PADDED_PERSONS if by_person else 1)
    known = model == "aclnet" or (layouts_of(V) and 1 <= scales <= MAX_WINDOW_SCALES)
    if not some or not known or inputs % joints or width % 4 or width < 4 * _MIN_BASE:
        raise AclnetError(
            f"{path}: no network has {inputs} inputs of {V} joints, a head of width {width} and "
            f"{classes} classes"
        )
    return _Sizes(V, inputs // joints, width // 4, classes, scales)


def _expected(
    model: ModelName, sizes: _Sizes, state: Mapping[str, Tensor]
) -> dict[str, torch.Size]:
    """Names and shapes of a network's weights; the projections only if the file has them."""
    V, channels, base, classes, scales = sizes
    network = nn.Module()
    with torch.device("meta"):
        if model == "aclnet":
            network.model = ACLNet(
                num_joints=V, num_classes=classes, in_channels=channels, base_channels=base
            )
        else:
            network.model = make_model(
                model,
                # any layout with this number of joints, because the file has the graphs
                get_layout(layouts_of(V)[0]),
                num_classes=classes,
                in_channels=channels,
                base_channels=base,
                persons="padded",
                window_scales=scales,
            )
        if any(name.startswith(tuple(_PROJECTIONS.values())) for name in state):
            network.contrast = nn.Module()
            network.contrast.inter_projection = nn.Linear(V * V, WIDTH)
            network.contrast.intra_projection = nn.Linear(V * V, WIDTH)
    return {name: value.shape for name, value in network.state_dict().items()}


def _check(
    path: Path,
    model: ModelName,
    state: Mapping[str, Tensor],
    expected: Mapping[str, torch.Size],
) -> None:
    known = {*expected, *([] if model == "aclnet" else [UNUSED])}
    problems = [f"{name} is missing" for name in expected if name not in state]
    problems += [f"{name} is unknown" for name in state if name not in known]
    problems += [
        f"{name} is {tuple(state[name].shape)} instead of {tuple(shape)}"
        for name, shape in expected.items()
        if name in state and state[name].shape != shape
    ]
    if problems:
        network = f"ACLNet's or DG-STGCN's network with {SUBSETS} subsets"
        network = network if model == "aclnet" else f"PYSKL's network {model}"
        raise AclnetError(f"{path} is not a checkpoint of {network}: {first_of(problems, 3, '; ')}")


def _theirs(model: ModelName, name: str) -> str:
    """Name of a weight in the file, from aclnet's name."""
    for ours, theirs in _PROJECTIONS.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return their_name(model, name.removeprefix("model."))
