"""UTD-MHAD (Chen, Jafari and Kehtarnavaz, ICIP 2015)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aclnet.datasets.spec import DatasetSpec, Provenance, Source, read_class_names
from aclnet.datasets.spec.protocols import by_column

if TYPE_CHECKING:
    from pathlib import Path


def _open(spec: DatasetSpec, raw: Path) -> Source:
    from aclnet.datasets.formats.files import check_archive
    from aclnet.datasets.readers.utd_mhad import UtdMhadSource

    check_archive(raw, "aA_sS_tT_skeleton.mat", ".mat")
    return UtdMhadSource(spec, raw)


DATASETS = (
    DatasetSpec(
        name="utd-mhad",
        title="UTD-MHAD",
        layout="utd_mhad",
        units="m",
        class_names=read_class_names("utd-mhad"),
        opener=_open,
        about=Provenance(
            home="https://personal.utdallas.edu/~kehtar/UTD-MHAD.html",
            terms="open download",
            size="",
            publication='Chen, Jafari and Kehtarnavaz, "UTD-MHAD: A multimodal dataset for '
            "human action recognition utilizing a depth camera and a wearable "
            'inertial sensor", ICIP 2015',
            forms=("a folder of aA_sS_tT_skeleton.mat, or its zip",),
        ),
        places=("utd-mhad", "utd_mhad", "UTD-MHAD"),
        protocols=(by_column("xsub", "subject", (1, 3, 5, 7), (431, 430)),),
    ),
)
