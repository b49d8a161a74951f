"""Datasets for re-identification of people by their 3-D skeletons.

Sides and sizes: the code of Rao et al. (SGELA, TranSG and others), which all later work follows.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aclnet.datasets.spec import AclnetError, DatasetSpec, Provenance, Source
from aclnet.datasets.spec.protocols import Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.datasets.spec.protocols import Columns, Masks

_ARRAYS = "Datasets/{}/F of the arrays of windows of F frames (source_x_{}_F.npy), or its zip"


def _open(spec: DatasetSpec, raw: Path) -> Source:
    from aclnet.datasets.readers.reid_arrays import open_arrays
    from aclnet.datasets.readers.reid_text import FORMATS, open_text

    arrays = open_arrays(spec, raw)
    if arrays is not None:
        return arrays
    if spec.name in FORMATS:
        return open_text(spec, raw)
    raise AclnetError(
        f"{raw} has no recordings of {spec.title}; give {'; or '.join(spec.about.forms)}"
    )


def _divide(columns: Columns, probe: str, gallery: str) -> Masks:
    """Probe and gallery; conditions are the folders' names."""
    condition = columns["condition"]
    sides = {"train": "train", "gallery": gallery, "probe": probe}
    return {side: condition == wanted for side, wanted in sides.items()}


def _protocol(name: str, probe: str, gallery: str) -> Protocol:
    return Protocol(name, partial(_divide, probe=probe, gallery=gallery))


def _names(numbers: range) -> tuple[str, ...]:
    return tuple(f"{number:03}" for number in numbers)


# fmt: off
_KS20_BODIES = (1, 2, 3, 4, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22, 23, 24)
# fmt: on
_REQUEST = "on request, see its page"

DATASETS = (
    DatasetSpec(
        name="biwi",
        title="BIWI RGBD-ID",
        layout="kinect_v1",
        units="m",
        class_names=_names(range(50)),
        opener=_open,
        about=Provenance(
            home="http://robotics.dei.unipd.it/reid/index.php/downloads",
            terms="see its page",
            size="",
            publication='Munaro et al., "One-shot person re-identification with a consumer '
            'depth camera", 2014',
            forms=(
                "a folder of Training, Testing/Still and Testing/Walking, each ID/*skel.txt",
                _ARRAYS.format("BIWI", "BIWI"),
            ),
        ),
        places=("biwi", "BIWI"),
        protocols=(
            _protocol("walking", probe="walking", gallery="still"),
            _protocol("still", probe="still", gallery="walking"),
        ),
        task="reid",
    ),
    DatasetSpec(
        name="ias-lab",
        title="IAS-Lab RGBD-ID",
        layout="kinect_v1",
        units="m",
        class_names=tuple(map(str, range(11))),
        opener=_open,
        about=Provenance(
            home="http://robotics.dei.unipd.it/reid/index.php/downloads",
            terms="see its page",
            size="",
            publication='Munaro et al., "A feature-based approach to people re-identification '
            'using skeleton keypoints", ICRA 2014',
            forms=(
                "a folder of Training, TestingA and TestingB, each PERSON/*skel.txt",
                _ARRAYS.format("IAS", "IAS"),
            ),
        ),
        places=("ias-lab", "IAS-Lab", "IAS"),
        protocols=(
            _protocol("a", probe="a", gallery="b"),
            _protocol("b", probe="b", gallery="a"),
        ),
        task="reid",
    ),
    DatasetSpec(
        name="kgbd",
        title="Kinect Gait Biometry Dataset",
        layout="kinect_v1",
        units="m",
        class_names=_names(range(1, 165)),
        opener=_open,
        about=Provenance(
            home="https://www.researchgate.net/publication/275023745",
            terms="see its page",
            size="",
            publication='Andersson and Araujo, "Person identification using anthropometric and '
            'gait data from Kinect sensor", AAAI 2015',
            forms=("a folder of PersonNNN/K.txt", _ARRAYS.format("KGBD", "KGBD")),
        ),
        places=("kgbd", "KGBD"),
        protocols=(_protocol("drawn", probe="probe", gallery="gallery"),),
        task="reid",
    ),
    DatasetSpec(
        name="ks20",
        title="KS20",
        layout="nturgb+d",
        units="m",
        class_names=tuple(map(str, _KS20_BODIES)),
        opener=_open,
        about=Provenance(
            home="https://github.com/Kali-Hac/TranSG",
            terms=_REQUEST,
            size="",
            publication='Nambiar et al., "Context-aware person re-identification in the wild '
            'via fusion of gait and anthropometric features", FG 2017',
            forms=("a folder of VIEW/gcK_bodyB_TIME.txt", _ARRAYS.format("KS20", "KS20")),
        ),
        places=("ks20", "KS20"),
        protocols=(_protocol("drawn", probe="probe", gallery="gallery"),),
        task="reid",
    ),
    DatasetSpec(
        name="casia-b-3d",
        title="CASIA-B re-ID in 3-D",
        layout="openpose14",
        units="m",
        class_names=_names(range(1, 125)),
        opener=_open,
        about=Provenance(
            home="https://github.com/Kali-Hac/TranSG",
            terms=_REQUEST,
            size="",
            publication='Yu, Tan and Tan, "A framework for evaluating the effect of view angle, '
            'clothing and carrying condition on gait recognition", ICPR 2006',
            forms=(_ARRAYS.format("CASIA_B_match", "CASIA_B"),),
        ),
        places=("CASIA_B_match", "casia-b-3d"),
        protocols=tuple(
            _protocol(f"{probe[0]}-{gallery[0]}", probe, gallery)
            for probe, gallery in (
                ("nm", "nm"),
                ("bg", "bg"),
                ("cl", "cl"),
                ("cl", "nm"),
                ("bg", "nm"),
            )
        ),
        task="reid",
    ),
)
