"""FineGYM-99 (Shao et al., CVPR 2020; skeletons: Duan et al., CVPR 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aclnet.datasets.spec import DatasetSpec, Provenance, Source, read_class_names

if TYPE_CHECKING:
    from pathlib import Path


def _open(spec: DatasetSpec, raw: Path) -> Source:
    from aclnet.datasets.readers.pyskl import open_pickle

    return open_pickle(spec, raw, "gym_hrnet.pkl")


DATASETS = (
    DatasetSpec(
        name="finegym",
        title="FineGYM-99",
        layout="coco_new",
        raw_layout="coco",
        units="px",
        class_names=read_class_names("finegym"),
        opener=_open,
        about=Provenance(
            home="https://github.com/kennymckormick/pyskl/blob/main/tools/data/README.md",
            terms="skeletons of public videos; annotations CC BY-NC 4.0",
            size="",
            publication='Shao et al., "FineGym: A hierarchical video dataset for fine-grained '
            'action understanding", CVPR 2020; skeletons: Duan et al., "Revisiting '
            'skeleton-based action recognition", CVPR 2022',
            forms=("PYSKL's gym_hrnet.pkl",),
            remarks="only the athletes, in boxes drawn by hand: mostly one person per clip",
        ),
        places=("gym_hrnet.pkl", "gym/gym_hrnet.pkl"),
        max_persons=2,
    ),
)
