"""NW-UCLA Multiview Action3D (Wang et al., "Cross-view action modeling, learning and recognition",
CVPR 2014), in the form of CTR-GCN (Chen et al., ICCV 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aclnet.datasets.spec import DatasetSpec, Provenance, Source, read_class_names
from aclnet.datasets.spec.protocols import by_column

if TYPE_CHECKING:
    from pathlib import Path


def _open(spec: DatasetSpec, raw: Path) -> Source:
    from aclnet.datasets.formats.files import check_archive
    from aclnet.datasets.readers.nw_ucla import NwUclaSource

    check_archive(raw, "all_sqe/aXX_sYY_eZZ_vNN.json", ".json")
    return NwUclaSource(spec, raw)


DATASETS = (
    DatasetSpec(
        name="nw-ucla",
        title="NW-UCLA",
        layout="kinect_v1",
        units="m",
        class_names=read_class_names("nw-ucla"),
        opener=_open,
        about=Provenance(
            home="https://github.com/Uason-Chen/CTR-GCN",
            terms="see its page",
            size="",
            publication='Wang et al., "Cross-view action modeling, learning and recognition", '
            "CVPR 2014",
            forms=("a folder of aXX_sYY_eZZ_vNN.json (CTR-GCN's all_sqe), or its zip",),
        ),
        places=("nw-ucla", "NW-UCLA", "all_sqe", "all_sqe.zip"),
        protocols=(by_column("xview", "camera", (1, 2), (1_020, 464)),),
    ),
)
