"""Networks by name."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aclnet.models.aagcn import AAGCN, AGCN
from aclnet.models.aclnet import ACLNet
from aclnet.models.choices import WINDOW_SCALES
from aclnet.models.ctrgcn import CTRGCN
from aclnet.models.msg3d import MSG3D
from aclnet.models.stgcn import STGCN
from aclnet.models.stgcnpp import STGCNPlusPlus

if TYPE_CHECKING:
    from aclnet.datasets.spec.layouts import Layout
    from aclnet.models.choices import Feature, Persons, Pooling
    from aclnet.models.classifier import Classifier
    from aclnet.models.stages import TenStages

BASELINES: dict[str, type[TenStages | MSG3D]] = {
    "stgcn": STGCN,
    "stgcnpp": STGCNPlusPlus,
    "agcn": AGCN,
    "aagcn": AAGCN,
    "ctrgcn": CTRGCN,
    "msg3d": MSG3D,
}


def make_model(
    name: str,
    layout: Layout,
    *,
    num_classes: int,
    in_channels: int,
    base_channels: int,
    persons: Persons,
    feature: Feature = "pooled",
    pooling: Pooling = "all",
    joint_embedding: bool = False,
    zero_init: bool = False,
    presence: bool = False,
    recompute: bool = False,
    window_scales: int = WINDOW_SCALES,
) -> Classifier:
    """A network with initial weights.

    `feature` and `zero_init` have an effect only for `aclnet`, and `window_scales` only for
    `msg3d`.
    """
    if name == "aclnet":
        return ACLNet(
            num_joints=layout.num_joints,
            num_classes=num_classes,
            in_channels=in_channels,
            base_channels=base_channels,
            feature=feature,
            pooling=pooling,
            joint_embedding=joint_embedding,
            zero_init=zero_init,
            persons=persons,
            presence=presence,
            recompute=recompute,
        )
    make = partial(MSG3D, window_scales=window_scales) if name == "msg3d" else BASELINES[name]
    return make(
        layout,
        num_classes=num_classes,
        in_channels=in_channels,
        base_channels=base_channels,
        pooling=pooling,
        joint_embedding=joint_embedding,
        persons=persons,
        presence=presence,
        recompute=recompute,
    )
