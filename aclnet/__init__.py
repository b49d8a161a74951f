"""Raw skeleton recordings to Zarr stores to training with affinity contrastive learning.

For training code of one's own:

    store = aclnet.open_store("ntu60.zarr")
    stream = store.stream("xsub/train", batch_size=64, sampling=aclnet.UniformSampling(100))
    for batch in stream: ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.datasets.store import Store
    from aclnet.loader import StreamDataset
    from aclnet.pipelines.sampling import ClipSampling, UniformSampling

__all__ = ["ClipSampling", "StreamDataset", "UniformSampling", "open_store"]

_MODULES = {
    "ClipSampling": "aclnet.pipelines.sampling",
    "StreamDataset": "aclnet.loader",
    "UniformSampling": "aclnet.pipelines.sampling",
}


def open_store(path: str | Path) -> Store:
    """Opens a finished store for reading.

    Raises aclnet.datasets.errors.AclnetError where there is none, or a visibly damaged one.
    """
    from aclnet.datasets.store import Store

    return Store(path)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    # `import aclnet` must stay quick: torch and zarr come with what needs them
    if name not in _MODULES:
        raise AttributeError(f"module 'aclnet' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
