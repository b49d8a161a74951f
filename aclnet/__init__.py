"""Raw skeleton recordings to Zarr stores to training with affinity contrastive learning.

    report = aclnet.prepare("ntu60", raw="nturgb+d_skeletons")
    run = aclnet.train(report.path)
    model = aclnet.load(run.path)
    print(model.predict("S001C001P001R001A001.skeleton")[0].top(3))

docs/python.md describes these functions. To write your own training code:

    store = aclnet.open_store("ntu60.zarr")
    stream = store.stream("xsub/train", batch_size=64, sampling=aclnet.UniformSampling(100))
    for batch in stream: ...
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aclnet.datasets.opening import open_store
    from aclnet.datasets.spec import AclnetError, AclnetWarning, SkeletonSequence
    from aclnet.datasets.store.plan import Share
    from aclnet.datasets.store.store import Store
    from aclnet.evaluation.evaluate import evaluate
    from aclnet.loader import StreamDataset
    from aclnet.pipelines.inputs.sampling import (
        ClipSampling,
        ConsecutiveClips,
        ConsecutiveSampling,
        EvenClips,
        EvenSampling,
        UniformSampling,
        WindowSampling,
    )
    from aclnet.pipelines.prepare.dataset import prepare, read
    from aclnet.pipelines.prepare.finalise import finalise
    from aclnet.pipelines.prepare.options import PrepareOptions
    from aclnet.prediction.model import Model, load
    from aclnet.prediction.windows import SegmentSettings
    from aclnet.training.launch import train

    __version__: str

_HERE = Path(__file__).parent
if not (_HERE / "datasets").is_dir():
    # in a checkout, datasets/, pipelines/ and cli/ are beside this folder; in a wheel, inside it
    __path__.append(str(_HERE.parent))

__all__ = [
    "AclnetError",
    "AclnetWarning",
    "ClipSampling",
    "ConsecutiveClips",
    "ConsecutiveSampling",
    "EvenClips",
    "EvenSampling",
    "Model",
    "PrepareOptions",
    "SegmentSettings",
    "Share",
    "SkeletonSequence",
    "Store",
    "StreamDataset",
    "UniformSampling",
    "WindowSampling",
    "__version__",
    "evaluate",
    "finalise",
    "load",
    "open_store",
    "prepare",
    "read",
    "train",
]

_SAMPLING = "aclnet.pipelines.inputs.sampling"
_MODULES = {
    "AclnetError": "aclnet.datasets.spec",
    "AclnetWarning": "aclnet.datasets.spec",
    "ClipSampling": _SAMPLING,
    "ConsecutiveClips": _SAMPLING,
    "ConsecutiveSampling": _SAMPLING,
    "EvenClips": _SAMPLING,
    "EvenSampling": _SAMPLING,
    "Model": "aclnet.prediction.model",
    "PrepareOptions": "aclnet.pipelines.prepare.options",
    "SegmentSettings": "aclnet.prediction.windows",
    "Share": "aclnet.datasets.store.plan",
    "SkeletonSequence": "aclnet.datasets.spec",
    "Store": "aclnet.datasets.store.store",
    "StreamDataset": "aclnet.loader",
    "UniformSampling": _SAMPLING,
    "WindowSampling": _SAMPLING,
    "evaluate": "aclnet.evaluation.evaluate",
    "finalise": "aclnet.pipelines.prepare.finalise",
    "load": "aclnet.prediction.model",
    "open_store": "aclnet.datasets.opening",
    "prepare": "aclnet.pipelines.prepare.dataset",
    "read": "aclnet.pipelines.prepare.dataset",
    "train": "aclnet.training.launch",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    # `import aclnet` must stay quick: torch and zarr are imported by the functions that need them
    if name == "__version__":
        from importlib.metadata import version

        return version("aclnet")
    if name not in _MODULES:
        raise AttributeError(f"module 'aclnet' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
