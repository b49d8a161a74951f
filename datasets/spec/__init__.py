"""What data are, as contracts: sequences, sources, layouts, protocols, errors.

What nearly every module and every reader of one's own needs can be imported from here. Layouts,
protocols and records, which take longer to import, are in modules of those names.
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
from aclnet.datasets.spec.wording import first_of, shown

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
    "first_of",
    "read_class_names",
    "shown",
    "silent",
]
