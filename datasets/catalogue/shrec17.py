"""SHREC'17 Track: 3D hand gesture recognition (De Smedt et al., 3DOR 2017).

A sample of a store has one label, so the two tasks on the same recordings are two datasets.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from aclnet.datasets.formats.files import check_archive, walk_files
from aclnet.datasets.spec import DatasetSpec, Provenance, Source, read_class_names
from aclnet.datasets.spec.protocols import by_column

if TYPE_CHECKING:
    from pathlib import Path


def _open(spec: DatasetSpec, raw: Path) -> Source:
    from aclnet.datasets.readers.shrec17 import FILES, Shrec17Source

    check_archive(raw, f"gesture_G/finger_F/subject_S/essai_E/{FILES['m']}")

    def holds(file: str) -> bool:
        return any(path.endswith(file) for path, _ in walk_files(raw))

    if not holds(FILES["m"]) and holds(FILES["px"]):
        spec = replace(spec, units="px")
    return Shrec17Source(spec, raw)


_TRAIN = (2, 3, 4, *range(7, 17), 19, 20, 21, 22, 25, 26, 27)
"""Subjects of the recordings in train_gestures.txt; test_gestures.txt lists those of all others."""
_spec = partial(
    DatasetSpec,
    layout="hand22",
    units="m",
    opener=_open,
    about=Provenance(
        home="http://www-rech.telecom-lille.fr/shrec2017-hand/",
        terms="see its page",
        size="",
        publication="De Smedt et al., \"SHREC'17 Track: 3D hand gesture recognition using a "
        'depth and skeletal dataset", 3DOR 2017',
        forms=(
            "a folder of gesture_G/finger_F/subject_S/essai_E/skeletons_world.txt, or its zip",
            "the same tree with skeletons_image.txt (joints in pixels) and no skeletons_world.txt",
        ),
        remarks="skeletons without depth images: https://github.com/giach68/gesturesCodes",
    ),
    places=("shrec17", "SHREC2017", "HandGestureDataset_SHREC2017", "shrec17.zip"),
    protocols=(by_column("xsub", "subject", _TRAIN, (1_960, 840)),),
)

DATASETS = (
    _spec(
        name="shrec17",
        title="SHREC'17, 14 gestures",
        class_names=read_class_names("shrec17"),
    ),
    _spec(
        name="shrec17-28",
        title="SHREC'17, 28 gestures",
        class_names=read_class_names("shrec17-28"),
    ),
)
