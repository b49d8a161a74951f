"""Contracts of the data: sequences, sources, layouts, protocols, errors.

Most modules, and readers that users write, need only the names imported here. Layouts, protocols
and records take longer to import; they are in modules of those names.
"""

from aclnet.datasets.spec.errors import AclnetError, AclnetWarning, Stopped
from aclnet.datasets.spec.progress import Progress, silent
from aclnet.datasets.spec.sequence import (
    UNLABELLED,
    DamageError,
    Kind,
    NobodyError,
    Prepared,
    Rejection,
    SkeletonSequence,
)
from aclnet.datasets.spec.source import (
    DatasetSpec,
    Item,
    Provenance,
    Source,
    Task,
    Units,
    read_class_names,
)
from aclnet.datasets.spec.wording import any_of, did_you_mean, first_of, shown

__all__ = [
    "UNLABELLED",
    "AclnetError",
    "AclnetWarning",
    "DamageError",
    "DatasetSpec",
    "Item",
    "Kind",
    "NobodyError",
    "Prepared",
    "Progress",
    "Provenance",
    "Rejection",
    "SkeletonSequence",
    "Source",
    "Stopped",
    "Task",
    "Units",
    "any_of",
    "did_you_mean",
    "first_of",
    "read_class_names",
    "shown",
    "silent",
]
