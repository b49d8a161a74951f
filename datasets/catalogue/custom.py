"""Custom data: a folder of recordings with an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aclnet.datasets.spec import DatasetSpec, Provenance, Source

if TYPE_CHECKING:
    from pathlib import Path


def _open(spec: DatasetSpec, raw: Path) -> Source:
    from aclnet.datasets.formats.files import check_archive
    from aclnet.datasets.readers import custom_archives
    from aclnet.datasets.readers.custom import open_custom
    from aclnet.datasets.readers.custom_pattern import EVERY

    archive = custom_archives.find(raw)
    if archive is not None and not (spec.pattern and custom_archives.is_recording(archive)):
        return custom_archives.open_archive(spec, archive)
    if spec.pattern != EVERY:  # else one recording is enough
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
                "a folder of recordings (.npy, .npz, .csv, .bvh, .c3d, .skeleton, .json of pose "
                "estimators, folders with one file per frame) with index.csv, which lists them; "
                "or its zip",
                "a pickle in PYSKL's form or an .npz in CTR-GCN's form, with classes of your own",
            ),
            remarks="the folder determines layout, units and classes",
        ),
        places=("custom",),
    ),
)
