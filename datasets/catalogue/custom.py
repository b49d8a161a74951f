"""Data of one's own: a folder of recordings with an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aclnet.datasets.spec import DatasetSpec, Provenance, Source

if TYPE_CHECKING:
    from pathlib import Path


def _open(spec: DatasetSpec, raw: Path) -> Source:
    from aclnet.datasets.formats.files import check_archive
    from aclnet.datasets.readers import custom_archives
    from aclnet.datasets.readers.custom import open_custom

    archive = custom_archives.find(raw)
    if archive is not None:
        return custom_archives.open_archive(spec, archive)
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
                "a folder of recordings (.npy, .npz, .csv, .bvh, .skeleton, .json of pose "
                "estimators, folders with a file a frame), with index.csv that names them; its zip",
                "a pickle as PYSKL's or an .npz as CTR-GCN's, with classes of your own",
            ),
            remarks="layout, units and classes are those of the folder",
        ),
        places=("custom",),
    ),
)
