"""Kinetics-Skeleton 400 (skeletons: Yan et al., AAAI 2018; Duan et al., CVPR 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aclnet.datasets.source import About, DatasetSpec, Source, class_names

if TYPE_CHECKING:
    from pathlib import Path


def _open(spec: DatasetSpec, raw: Path) -> Source:
    from aclnet.datasets.readers.pyskl import open_pickle

    return open_pickle(spec, raw, "k400_hrnet.pkl")


DATASETS = (
    DatasetSpec(
        name="kinetics",
        title="Kinetics-Skeleton 400",
        layout="coco_new",
        raw_layout="coco",
        units="px",
        class_names=class_names("kinetics"),
        opener=_open,
        about=About(
            home="https://github.com/kennymckormick/pyskl/blob/main/tools/data/README.md",
            terms="skeletons of public videos; ask their authors",
            size="",
            forms=("k400_hrnet.pkl and, in any folder beside it, its kpfiles",),
        ),
        places=("k400_hrnet.pkl",),
        max_persons=2,
    ),
)
