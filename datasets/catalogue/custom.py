"""Data of one's own: a folder of recordings with an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aclnet.datasets.spec import DatasetSpec, Provenance, Source

if TYPE_CHECKING:
    from pathlib import Path


def _open(spec: DatasetSpec, raw: Path) -> Source:
    from aclnet.datasets.formats.files import check_archive
    from aclnet.datasets.readers.custom import open_custom

    check_archive(raw, "index.csv and the recordings that it names")
    return open_custom(spec, raw)


DATASETS = (
    DatasetSpec(
        name="custom",
        title="Data of your own",
        layout="",
        units="m",
        class_names=(),
        opener=_open,
        about=Provenance(
            home="docs/custom.md",
            terms="yours",
            size="",
            forms=(
                "a folder of .npy, .npz, .csv or .json recordings (COCO results, MMPose, AlphaPose,"
                " MediaPipe) or folders of OpenPose, with index.csv that names them; or its zip",
            ),
            remarks="layout, units and classes are those of the folder",
        ),
        places=("custom",),
    ),
)
