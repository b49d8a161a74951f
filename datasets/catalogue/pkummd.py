"""PKU-MMD, phase 1 (Liu et al., "PKU-MMD: A large scale benchmark for continuous multi-modal human
action understanding", 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aclnet.datasets.spec import DatasetSpec, Provenance, Source, read_class_names

if TYPE_CHECKING:
    from pathlib import Path

_PICKLE = "pku_mmd.pkl"


def _open(spec: DatasetSpec, raw: Path) -> Source:
    is_archive = raw.suffix.lower() == ".zip"
    if (raw.is_dir() or is_archive) and not (raw / _PICKLE).is_file():
        from aclnet.datasets.readers.pku_text import open_recordings

        return open_recordings(spec, raw)
    from aclnet.datasets.readers.pyskl import open_pickle

    return open_pickle(spec, raw, _PICKLE)


DATASETS = (
    DatasetSpec(
        name="pkummd",
        title="PKU-MMD",
        layout="nturgb+d",
        units="m",
        class_names=read_class_names("pkummd"),
        opener=_open,
        about=Provenance(
            home="https://struct002.github.io/PKUMMD/",
            terms="non-commercial research; nothing to sign",
            size="",
            publication='Liu et al., "PKU-MMD: A large scale benchmark for continuous multi- '
            'modal human action understanding", 2017',
            forms=(
                "a folder that holds Data/PKU_Skeleton_Renew, Label/Train_Label_PKU_final and "
                "Split, zips read in place",
                "pku_mmd.pkl of ACLNet's authors",
            ),
            remarks="phase 2 is not read",
        ),
        places=("pkummd", "PKU-MMD", "PKUMMD", _PICKLE),
    ),
)
