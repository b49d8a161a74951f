"""CASIA-B, gait of 124 people from eleven views (Yu, Tan and Tan, "A framework for evaluating the
effect of view angle, clothing and carrying condition on gait recognition", ICPR 2006)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aclnet.datasets.spec import AclnetError, DatasetSpec, Provenance, Source
from aclnet.datasets.spec.protocols import Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.datasets.spec.protocols import Columns, Masks

_SUBJECTS, _TRAINING = 124, 74
_GALLERY_TAKES = 4
_VIEWS, _TAKES = 11, 10
_FORMS = (
    "GaitGraph's casia-b_pose_coco.csv, or a folder of its tables",
    "a folder of OpenGait's sss/cc-nn/vvv/vvv.pkl, or its zip",
    "a folder of AlphaPose's or HRNet's sss-cc-nn-vvv.json, or its zip",
)


def _open(spec: DatasetSpec, raw: Path) -> Source:
    from aclnet.datasets.formats.files import walk_files
    from aclnet.datasets.readers import casia_csv, opengait_pickle, pose_json

    found = {path for path, _ in walk_files(raw)}
    if any(path.lower().endswith(".csv") for path in found):
        return casia_csv.CasiaCsvSource(spec, raw)
    if any(map(opengait_pickle.name_of, found)):
        return opengait_pickle.OpenGaitSource(spec, raw)
    if any(map(pose_json.name_of, found)):
        return pose_json.PoseJsonSource(spec, raw)
    raise AclnetError(f"{raw} has no recordings of {spec.title}; give {'; or '.join(_FORMS)}")


def _divide(columns: Columns) -> Masks:
    """Training subjects and test subjects; the latter are divided into gallery and probe."""
    subject = columns["subject"]
    test = subject > _TRAINING
    gallery = test & (columns["condition"] == "nm") & (columns["replication"] <= _GALLERY_TAKES)
    train = (subject >= 1) & (subject <= _TRAINING)
    return {"train": train, "test": test, "gallery": gallery, "probe": test & ~gallery}


def _published() -> dict[str, int]:
    """Nominal sizes of the sides: each subject walks ten times before eleven cameras."""
    tested = _SUBJECTS - _TRAINING
    takes = {"train": _TRAINING * _TAKES, "test": tested * _TAKES}
    takes |= {"gallery": tested * _GALLERY_TAKES, "probe": tested * (_TAKES - _GALLERY_TAKES)}
    return {side: _VIEWS * count for side, count in takes.items()}


DATASETS = (
    DatasetSpec(
        name="casia-b",
        title="CASIA-B gait",
        layout="coco",
        units="px",
        class_names=tuple(f"{subject:03}" for subject in range(1, 1 + _SUBJECTS)),
        opener=_open,
        about=Provenance(
            home="http://www.cbsr.ia.ac.cn/english/Gait%20Databases.asp",
            terms="see its page; poses: GaitGraph (github.com/tteepe/GaitGraph), OpenGait",
            size="",
            publication='Yu, Tan and Tan, "A framework for evaluating the effect of view angle, '
            'clothing and carrying condition on gait recognition", ICPR 2006',
            forms=_FORMS,
        ),
        places=("casia-b_pose_coco.csv", "casia-b", "CASIA-B", "casia_b"),
        protocols=(Protocol("gait", _divide, _published()),),
        task="gait",
    ),
)
