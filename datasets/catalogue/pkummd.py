"""PKU-MMD (Liu et al., "PKU-MMD: A large scale benchmark for continuous multi-modal human action
understanding", 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aclnet.datasets.source import About, DatasetSpec, Source, class_names

if TYPE_CHECKING:
    from pathlib import Path


def _open(spec: DatasetSpec, raw: Path) -> Source:
    from aclnet.datasets.readers.pyskl import open_pickle

    return open_pickle(spec, raw, "pku_mmd.pkl")


DATASETS = (
    DatasetSpec(
        name="pkummd",
        title="PKU-MMD",
        layout="nturgb+d",
        units="m",
        class_names=class_names("pkummd"),
        opener=_open,
        about=About(
            home="https://struct002.github.io/PKUMMD/",
            terms="non-commercial research; nothing to sign",
            size="",
            forms=("pku_mmd.pkl of ACLNet's authors",),
        ),
        places=("pku_mmd.pkl",),
    ),
)
