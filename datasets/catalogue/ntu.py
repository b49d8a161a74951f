"""NTU RGB+D 60 and 120.

Names, unusable recordings and protocols: the README of the dataset (Shahroudy et al., CVPR 2016;
Liu et al., TPAMI 2019).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aclnet.datasets.protocols import by_column
from aclnet.datasets.source import About, DatasetSpec, Source, class_names

if TYPE_CHECKING:
    from pathlib import Path


def _open(spec: DatasetSpec, raw: Path) -> Source:
    if raw.is_dir() or raw.suffix.lower() == ".zip":
        from aclnet.datasets.readers.ntu import NtuSource

        return NtuSource(spec, raw)
    from aclnet.datasets.readers.pyskl import open_pickle

    return open_pickle(spec, raw, f"a folder of .skeleton files or PYSKL's {spec.name}_3danno.pkl")


# fmt: off
_XSUB_60 = (1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38)
_XSUB_120 = (
    *_XSUB_60, 45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84,
    85, 86, 89, 91, 92, 93, 94, 95, 97, 98, 100, 103,
)
# fmt: on
_XVIEW_60 = (2, 3)
_XSET_120 = range(2, 33, 2)

_HOME = "https://rose1.ntu.edu.sg/dataset/actionRecognition/"
_TERMS = "academic use, after a request form"

DATASETS = (
    DatasetSpec(
        name="ntu60",
        title="NTU RGB+D 60",
        layout="nturgb+d",
        units="m",
        class_names=class_names("ntu120")[:60],
        opener=_open,
        about=About(
            home=_HOME,
            terms=_TERMS,
            size="5.8 GB (skeletons)",
            forms=(
                "a folder of SsssCcccPpppRrrrAaaa.skeleton at any depth, zips read in place",
                "PYSKL's ntu60_3danno.pkl",
            ),
        ),
        places=("ntu60", "nturgb+d_skeletons", "ntu60_3danno.pkl"),
        protocols=(
            by_column("xsub", "subject", _XSUB_60, (40_091, 16_487)),
            by_column("xview", "camera", _XVIEW_60, (37_646, 18_932)),
        ),
        clean="ntu",
    ),
    DatasetSpec(
        name="ntu120",
        title="NTU RGB+D 120",
        layout="nturgb+d",
        units="m",
        class_names=class_names("ntu120"),
        opener=_open,
        about=About(
            home=_HOME,
            terms=_TERMS,
            size="5.8 GB and 4.5 GB (skeletons, two archives)",
            forms=(
                "a folder that holds nturgb+d_skeletons and nturgb+d_skeletons120, or both zips",
                "PYSKL's ntu120_3danno.pkl",
            ),
        ),
        places=("ntu120", "nturgb+d", "ntu120_3danno.pkl"),
        protocols=(
            by_column("xsub", "subject", _XSUB_120, (63_026, 50_919)),
            by_column("xset", "setup", _XSET_120, (54_468, 59_477)),
            by_column("ntu60-xsub", "subject", _XSUB_60, (40_091, 16_487), num_classes=60),
            by_column("ntu60-xview", "camera", _XVIEW_60, (37_646, 18_932), num_classes=60),
        ),
        clean="ntu",
    ),
)
