"""MSR-Action3D (Li, Zhang and Liu, "Action recognition based on a bag of 3D points", CVPR 2010
workshops)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.spec import DatasetSpec, Provenance, Source, read_class_names
from aclnet.datasets.spec.protocols import Protocol, by_column

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.datasets.spec.protocols import Columns, Masks


def _open(spec: DatasetSpec, raw: Path) -> Source:
    from aclnet.datasets.formats.files import check_archive
    from aclnet.datasets.readers.msr_action3d import MsrAction3dSource

    check_archive(raw, "aXX_sYY_eZZ_skeleton3D.txt", ".txt")
    return MsrAction3dSource(spec, raw)


_TRAIN = (1, 3, 5, 7, 9)
_SUBSETS = {
    "as1": (2, 3, 5, 6, 10, 13, 18, 20),
    "as2": (1, 4, 7, 8, 9, 11, 12, 14),
    "as3": (6, 14, 15, 16, 17, 18, 19, 20),
}
"""Actions, from 1, of each subset of the paper."""


def _divide(columns: Columns, actions: tuple[int, ...]) -> Masks:
    takes_part = np.isin(columns["label"] + 1, actions)
    trains = np.isin(columns["subject"], _TRAIN)
    return {"train": takes_part & trains, "test": takes_part & ~trains}


DATASETS = (
    DatasetSpec(
        name="msr-action3d",
        title="MSR-Action3D",
        layout="kinect_v1",
        units="m",
        class_names=read_class_names("msr-action3d"),
        opener=_open,
        about=Provenance(
            home="https://sites.google.com/view/wanqingli/data-sets/msr-action3d",
            terms="see its page",
            size="",
            publication='Li, Zhang and Liu, "Action recognition based on a bag of 3D points", '
            "CVPR 2010 workshops",
            forms=("a folder of aXX_sYY_eZZ_skeleton3D.txt (MSRAction3DSkeletonReal3D), or a zip",),
            remarks="the archive is a .rar: unpack it first",
        ),
        places=("msr-action3d", "MSRAction3D", "MSRAction3DSkeletonReal3D"),
        protocols=(
            by_column("xsub", "subject", _TRAIN),
            *(Protocol(name, partial(_divide, actions=a)) for name, a in _SUBSETS.items()),
        ),
    ),
)
