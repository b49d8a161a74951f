"""Raw skeleton recordings to Zarr stores to training with affinity contrastive learning.

For training code of one's own:

    store = aclnet.open_store("ntu60.zarr")
    stream = store.stream("xsub/train", batch_size=64, sampling=aclnet.UniformSampling(100))
    for batch in stream: ...
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aclnet.datasets.spec import AclnetError
    from aclnet.datasets.store.plan import Share
    from aclnet.datasets.store.store import Store
    from aclnet.loader import StreamDataset
    from aclnet.pipelines.inputs.sampling import (
        ClipSampling,
        ConsecutiveClips,
        ConsecutiveSampling,
        UniformSampling,
        WindowSampling,
    )

_HERE = Path(__file__).parent
if not (_HERE / "datasets").is_dir():
    # in a checkout datasets/, pipelines/ and cli/ lie beside this folder; in a wheel, inside
    __path__.append(str(_HERE.parent))

__all__ = [
    "AclnetError",
    "ClipSampling",
    "ConsecutiveClips",
    "ConsecutiveSampling",
    "Share",
    "Store",
    "StreamDataset",
    "UniformSampling",
    "WindowSampling",
    "open_store",
]

_SAMPLING = "aclnet.pipelines.inputs.sampling"
_MODULES = {
    "AclnetError": "aclnet.datasets.spec.errors",
    "ClipSampling": _SAMPLING,
    "ConsecutiveClips": _SAMPLING,
    "ConsecutiveSampling": _SAMPLING,
    "Share": "aclnet.datasets.store.plan",
    "Store": "aclnet.datasets.store.store",
    "StreamDataset": "aclnet.loader",
    "UniformSampling": _SAMPLING,
    "WindowSampling": _SAMPLING,
}


def open_store(path: str | Path) -> Store:
    """Opens a finished store for reading.

    Raises AclnetError where there is none, or a visibly damaged one.
    """
    from aclnet.datasets.store.store import Store

    return Store(path)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    # `import aclnet` must stay quick: torch and zarr come with what needs them
    if name not in _MODULES:
        raise AttributeError(f"module 'aclnet' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
