"""NTU RGB+D 60 and 120.

Names, unusable recordings and protocols: the README of the dataset (Shahroudy et al., CVPR 2016;
Liu et al., TPAMI 2019).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.formats.files import walk_files
from aclnet.datasets.spec import AclnetError, DatasetSpec, Provenance, Source, read_class_names
from aclnet.datasets.spec.protocols import Protocol, by_column

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.datasets.spec.protocols import Columns, Masks


def _open(spec: DatasetSpec, raw: Path) -> Source:
    if raw.is_dir():
        return _open_folder(spec, raw)
    match raw.suffix.lower():
        case ".zip" | ".skeleton":
            from aclnet.datasets.readers.ntu import NtuSource

            return NtuSource(spec, raw)
        case ".npz":
            from aclnet.datasets.readers.ctr_npz import CtrNpzSource

            return CtrNpzSource(replace(spec, clean=None), raw)
        case ".pkl" | ".pickle":
            from aclnet.datasets.readers.pyskl import PysklSource, pickle_dimensions

            _check_names(spec, raw)
            return PysklSource(_in_pixels(spec) if pickle_dimensions(raw) == 2 else spec, raw)
    forms = "; or ".join(spec.about.forms)
    raise AclnetError(f"{raw} has none of the forms of {spec.title}: {forms}")


def _check_names(spec: DatasetSpec, raw: Path) -> None:
    """Raises AclnetError if no annotation of a pickle has a name of the dataset's recordings."""
    from aclnet.datasets.readers.ntu import parse_name
    from aclnet.datasets.readers.pyskl import load

    names = [*load(raw).annotations]
    if names and not any(map(parse_name, names)):
        raise AclnetError(
            f"{raw}: no name fits the recordings of {spec.title} (SsssCcccPpppRrrrAaaa); the "
            f"first name is {names[0]!r}. For data of your own: `aclnet prepare custom --raw {raw}`"
        )


def _open_folder(spec: DatasetSpec, raw: Path) -> Source:
    from aclnet.datasets.readers import agcn_npy, ntu

    folders = agcn_npy.agcn_folders(raw, [protocol.name for protocol in spec.protocols])
    if len(folders) > 1:
        raise AclnetError(
            f"{raw} holds arrays of {' and '.join(folder.name for folder in folders)}, each with "
            "all recordings; give one of these folders: the names determine the sides of the other "
            "protocols"
        )
    if folders:
        return agcn_npy.AgcnSource(replace(spec, clean=None), folders[0])
    single = [file for file in sorted(raw.iterdir()) if file.suffix in (".npz", ".pkl")]
    if len(single) == 1 and not any(path.endswith(ntu.EXTENSION) for path, _ in walk_files(raw)):
        return _open(spec, single[0])
    return ntu.NtuSource(spec, raw)


def _in_pixels(spec: DatasetSpec) -> DatasetSpec:
    """The dataset with HRNet's joints in the colour videos."""
    return replace(
        spec, layout="coco_new", raw_layout="coco", units="px", max_persons=2, clean=None
    )


# fmt: off
_XSUB_60 = (1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38)
_XSUB_120 = (
    *_XSUB_60, 45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84,
    85, 86, 89, 91, 92, 93, 94, 95, 97, 98, 100, 103,
)
# fmt: on
_XVIEW_60 = (2, 3)
_XSET_120 = range(2, 33, 2)


def _divide_one_shot(columns: Columns) -> Masks:
    """Every sixth class is new: the gallery has one exemplar of each, the probes are the others.

    The exemplars are S001C003P008R001 of actions 1 to 60 and S018C003P008R001 of the others.
    """
    known = columns["setup"] > 0
    is_new = known & (columns["label"] % 6 == 0)
    is_exemplar = is_new & np.isin(columns["setup"], (1, 18))
    for column, value in (("camera", 3), ("subject", 8), ("replication", 1)):
        is_exemplar &= columns[column] == value
    return {"train": known & ~is_new, "gallery": is_exemplar, "probe": is_new & ~is_exemplar}


# the README names classes and exemplars; counts are those of the usable recordings
_ONE_SHOT = Protocol(
    "one-shot", _divide_one_shot, {"train": 95_001, "gallery": 20, "probe": 18_924}
)

_ARRAYS = "a folder of 2s-AGCN's train_data_joint.npy, train_label.pkl and those of val"

_HOME = "https://rose1.ntu.edu.sg/dataset/actionRecognition/"
_TERMS = "academic use; fill in a request form"

DATASETS = (
    DatasetSpec(
        name="ntu60",
        title="NTU RGB+D 60",
        layout="nturgb+d",
        units="m",
        class_names=read_class_names("ntu120")[:60],
        opener=_open,
        about=Provenance(
            home=_HOME,
            terms=_TERMS,
            size="5.8 GB (skeletons)",
            publication='Shahroudy et al., "NTU RGB+D: A large scale dataset for 3D human '
            'activity analysis", CVPR 2016',
            forms=(
                "a folder of SsssCcccPpppRrrrAaaa.skeleton at any depth, zips read in place",
                "PYSKL's ntu60_3danno.pkl, or ntu60_hrnet.pkl (joints in pixels)",
                "CTR-GCN's NTU60_CS.npz or NTU60_CV.npz",
                _ARRAYS,
            ),
        ),
        places=("ntu60", "nturgb+d_skeletons", "ntu60_3danno.pkl", "NTU60_CS.npz", "NTU60_CV.npz"),
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
        class_names=read_class_names("ntu120"),
        opener=_open,
        about=Provenance(
            home=_HOME,
            terms=_TERMS,
            size="5.8 GB and 4.5 GB (skeletons, two archives)",
            publication='Liu et al., "NTU RGB+D 120: A large-scale benchmark for 3D human '
            'activity understanding", TPAMI 2019',
            forms=(
                "a folder that holds nturgb+d_skeletons and nturgb+d_skeletons120, or both zips",
                "PYSKL's ntu120_3danno.pkl, or ntu120_hrnet.pkl (joints in pixels)",
                "CTR-GCN's NTU120_CSub.npz or NTU120_CSet.npz",
                _ARRAYS,
            ),
        ),
        places=("ntu120", "nturgb+d", "ntu120_3danno.pkl", "NTU120_CSub.npz", "NTU120_CSet.npz"),
        protocols=(
            by_column("xsub", "subject", _XSUB_120, (63_026, 50_919)),
            by_column("xset", "setup", _XSET_120, (54_468, 59_477)),
            by_column("ntu60-xsub", "subject", _XSUB_60, (40_091, 16_487), num_classes=60),
            by_column("ntu60-xview", "camera", _XVIEW_60, (37_646, 18_932), num_classes=60),
            _ONE_SHOT,
        ),
        clean="ntu",
    ),
)
