"""Kinetics-Skeleton 400 (skeletons: Yan et al., AAAI 2018; Duan et al., CVPR 2022)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aclnet.datasets.spec import DatasetSpec, Provenance, Source, read_class_names

if TYPE_CHECKING:
    from pathlib import Path

_PICKLE = "k400_hrnet.pkl"


def _open(spec: DatasetSpec, raw: Path) -> Source:
    if (raw / _PICKLE).is_file() or raw.suffix.lower() in (".pkl", ".pickle"):
        from aclnet.datasets.readers.pyskl import open_pickle

        return open_pickle(spec, raw, _PICKLE)
    from aclnet.datasets.formats.files import check_archive
    from aclnet.datasets.readers.kinetics_json import KineticsJsonSource

    check_archive(raw, f"{_PICKLE}, or kinetics_train and kinetics_val")
    openpose = replace(spec, layout="openpose", raw_layout=None, clean="two-by-score")
    return KineticsJsonSource(openpose, raw)


DATASETS = (
    DatasetSpec(
        name="kinetics",
        title="Kinetics-Skeleton 400",
        layout="coco_new",
        raw_layout="coco",
        units="px",
        class_names=read_class_names("kinetics"),
        opener=_open,
        about=Provenance(
            home="https://github.com/kennymckormick/pyskl/blob/main/tools/data/README.md",
            terms="skeletons of public videos; ask their authors",
            size="",
            publication='Kay et al., "The Kinetics human action video dataset", 2017; '
            'skeletons: Yan et al., "Spatial temporal graph convolutional networks '
            'for skeleton-based action recognition", AAAI 2018, or Duan et al., '
            '"Revisiting skeleton-based action recognition", CVPR 2022',
            forms=(
                f"{_PICKLE} and, in any folder beside it, its kpfiles",
                "ST-GCN's folder of kinetics_train and kinetics_val with their label files, "
                "zips read in place",
            ),
            remarks="ST-GCN's files, from https://github.com/yysijie/st-gcn, have OpenPose's "
            "18 joints: layout openpose",
        ),
        places=(_PICKLE, f"k400/{_PICKLE}", "kinetics-skeleton", "kinetics_skeleton"),
        max_persons=2,
    ),
)
