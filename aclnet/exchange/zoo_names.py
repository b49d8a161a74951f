"""Names of weights in checkpoints of PYSKL's zoo and of the released ACLNet."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

    from aclnet.models.choices import ModelName

_MARKS: dict[ModelName, str] = {
    "aclnet": "backbone.gcn.0.gcn.pre.0.weight",
    "stgcn": "backbone.gcn.0.gcn.PA",
    "stgcnpp": "backbone.gcn.0.tcn.branches.0.0.weight",
    "aagcn": "backbone.gcn.0.gcn.conv_sa.weight",
    "agcn": "backbone.gcn.0.gcn.conv_a.0.weight",
    "ctrgcn": "backbone.net.0.gcn1.A",
    "msg3d": "backbone.sgcn1.0.A",
}
"""A weight that distinguishes a network from the networks after it."""
UNUSED = "backbone.A"
"""A graph that some files contain but no network uses."""
_BACKBONE = (r"^", "backbone.")
_HEAD = (r"^backbone\.fc_cls\.", "cls_head.fc_cls.")
_CTRGCN = (
    (r"\.gcn\.(\d+)\.(gcn|tcn)\.", r".net.\1.\g<2>1."),
    (r"\.gcn\.(\d+)\.residual\.", r".net.\1.residual."),
)
_MSG3D = (
    (r"\.mlp\.", ".mlp.layers."),
    (r"\.frames\.", ".sgcn."),
    (r"\.windows\.(\d)\.", r".gcn3d.gcn3d.\1."),
    (r"\.graph_conv\.", ".gcn3d.1."),
    *((rf"\.gcn\.{stage}\.(\w+)\.", rf".\g<1>{stage + 1}.") for stage in range(3)),
)
_RULES = {"ctrgcn": _CTRGCN, "msg3d": _MSG3D}


def their_name(model: ModelName, name: str) -> str:
    """Returns the name that a weight of our network has in a checkpoint."""
    for pattern, replacement in (_BACKBONE, _HEAD, *_RULES.get(model, ())):
        name = re.sub(pattern, replacement, name)
    return name


def which_network(names: Container[str]) -> ModelName | None:
    """The network whose weights have these names; None: no network that we have."""
    return next((model for model, mark in _MARKS.items() if mark in names), None)
