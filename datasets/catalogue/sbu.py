"""SBU Kinect Interaction (Yun et al., "Two-person interaction detection using body-pose features
and multiple instance learning", CVPR 2012 workshops)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.spec import DatasetSpec, Provenance, Source, read_class_names
from aclnet.datasets.spec.protocols import Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.datasets.spec.protocols import Columns, Masks


def _open(spec: DatasetSpec, raw: Path) -> Source:
    from aclnet.datasets.formats.files import check_archive
    from aclnet.datasets.readers.sbu import SbuSource

    check_archive(raw, "sXXsYY/CC/NNN/skeleton_pos.txt")
    return SbuSource(spec, raw)


_FOLDS = (
    ("s01s02", "s03s04", "s05s02", "s06s04"),
    ("s02s03", "s02s07", "s03s05", "s05s03"),
    ("s01s03", "s01s07", "s07s01", "s07s03"),
    ("s02s01", "s02s06", "s03s02", "s03s06"),
    ("s04s02", "s04s03", "s04s06", "s06s02", "s06s03"),
)
"""Sets of recordings, by their pairs of subjects, that are tested together (the README's)."""
_ALL = tuple(pair for fold in _FOLDS for pair in fold)


def _divide(columns: Columns, tested: tuple[str, ...]) -> Masks:
    test = np.isin(columns["condition"], tested)
    return {"train": np.isin(columns["condition"], _ALL) & ~test, "test": test}


DATASETS = (
    DatasetSpec(
        name="sbu",
        title="SBU Kinect Interaction",
        layout="sbu",
        units="m",
        class_names=read_class_names("sbu"),
        opener=_open,
        about=Provenance(
            home="http://vision.cs.stonybrook.edu/~kiwon/Datasets/SBU_Kinect_Interactions/README.txt",
            terms="see its page",
            size="",
            publication='Yun et al., "Two-person interaction detection using body-pose features '
            'and multiple instance learning", CVPR 2012 workshops',
            forms=("a folder of the 21 sets sXXsYY (clean version), or of their zips",),
        ),
        places=("sbu", "SBU", "SBU-Kinect-Interaction"),
        protocols=tuple(
            Protocol(f"fold{number}", partial(_divide, tested=fold))
            for number, fold in enumerate(_FOLDS, start=1)
        ),
        max_persons=2,
    ),
)
