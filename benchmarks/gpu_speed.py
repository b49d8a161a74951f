"""Speeds of `gpu.py`: ceilings of the device, steps, variants, the stream, whole commands."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from gpu_bed import Figure, first_batch
from joined_norms import with_joined_norms
from measure import ROOT
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from aclnet.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from gpu_bed import Bed
    from numpy.typing import NDArray
    from torch import Tensor

    from aclnet.runs.inputs import Inputs
    from aclnet.training.trainer import Trainer

_H200 = (4.8e12, 989e12)
"""Bytes a second of the memory, and operations a second in bfloat16, by the data sheet."""
_COMPILING = 120.0
"""Seconds that compiling may take."""
_PRECISIONS = {
    "float32": ("optim.precision=32-true",),
    "tf32": ("optim.matmul=tf32",),
    "bf16": ("optim.precision=bf16-mixed",),
    "fp16": ("optim.precision=16-mixed",),
}


def ceilings(bed: Bed) -> Iterator[Figure]:
    """Measures the rates of a copy and of a product of matrices."""
    count, width = (1 << 20, 256) if bed.quick else (1 << 28, 8192)
    x = torch.empty(count, device=bed.device)
    y = torch.empty_like(x)
    copied = 2 * x.nbytes / bed.seconds(lambda: y.copy_(x), 10)
    a = torch.randn(width, width, device=bed.device, dtype=torch.bfloat16)
    product = 2 * width**3 / bed.seconds(lambda: a @ a, 10)
    bed.product = product
    known = bed.cuda and "H200" in torch.cuda.get_device_name()
    for what, found, sheet, unit, share in (
        ("copy, bytes read and written", copied, _H200[0], "GB/s", 0.7),
        ("product of matrices in bfloat16", product, _H200[1], "GFLOP/s", 0.6),
    ):
        bound = f"{share:.0%} of the data sheet of an H200" if known else "reported"
        met = found >= share * sheet if known else None
        yield Figure("ceilings", what, found / 1e9, unit, bound, met)


def steps(bed: Bed) -> Iterator[Figure]:
    """A whole optimizer step of one fixed batch, for sizes of batches and precisions."""
    for batch in (4,) if bed.quick else (16, 64, 256):
        for name, settings in _PRECISIONS.items():
            if bed.late or (not bed.cuda and name in ("tf32", "fp16")):
                continue
            yield from _step(bed, f"batch {batch}, {name}", batch, settings)


def _step(bed: Bed, title: str, batch: int, settings: tuple[str, ...]) -> Iterator[Figure]:
    memory = f"loss.memory_rows={2 * batch}"
    trainer = bed.trainer(*bed.sizes, f"optim.batch_size={batch}", memory, *settings)
    inputs, samples = first_batch(trainer)

    step = partial(_fixed, trainer, inputs, samples)
    if bed.cuda:
        torch.cuda.reset_peak_memory_stats()
    try:
        spent = bed.seconds(step, 1 if bed.quick else 10)
    except torch.OutOfMemoryError:
        yield Figure("step", title, "does not fit the memory", "", "reported")
        return
    with FlopCounterMode(display=False) as counted:
        step()
    work = counted.get_total_flops()
    most = bed.product * len(inputs) / work
    yield Figure(
        *("step", f"{title}: sequences", len(inputs) / spent, "1/s"),
        f"at most {most:.4g} at the speed of a bfloat16 product",
    )
    yield Figure("step", f"{title}: products and convolutions", work / spent / 1e9, "GFLOP/s")
    begun = time.perf_counter()
    step()
    host = time.perf_counter() - begun
    bed.wait()
    kernels, device = _kernels(bed, step)
    yield Figure("step", f"{title}: {'kernels' if bed.cuda else 'operations'}", kernels)
    yield Figure("step", f"{title}: host", 1000 * host, "ms")
    if not bed.cuda:
        return
    yield Figure(
        *("step", f"{title}: device", 1000 * device, "ms"),
        "at least the host's time, else the launching thread is the limit",
        device >= host,
    )
    peak = torch.cuda.max_memory_allocated()
    whole = torch.cuda.get_device_properties(0).total_memory
    yield Figure(
        *("step", f"{title}: memory", peak / 1e9, "GB"),
        "at most 80 % of the device's",
        peak <= 0.8 * whole,
    )


def _kernels(bed: Bed, step: Callable[[], object]) -> tuple[int, float]:
    """Number of kernels (on a CPU: of operations) of a step, and seconds of the device."""
    kinds = [ProfilerActivity.CUDA] if bed.cuda else [ProfilerActivity.CPU]
    with profile(activities=kinds) as found:
        step()
        bed.wait()
    events = list(found.events() or [])
    if not bed.cuda:
        return len(events), 0.0
    kernels = [e for e in events if e.device_type == DeviceType.CUDA]
    return len(kernels), sum(e.time_range.elapsed_us() for e in kernels) / 1e6


def variants(bed: Bed) -> Iterator[Figure]:
    """Other ways to compute the same network: speed over ours, and the difference of logits."""
    kind = "bf16-mixed" if bed.cuda else "32-true"
    trainer = bed.trainer(*bed.sizes, f"optim.precision={kind}")
    inputs, _ = first_batch(trainer)
    model = trainer.model.train()
    rounds = 1 if bed.quick else 10
    ours = bed.seconds(lambda: _pass(bed, model, inputs, kind), rounds)
    wanted = _pass(bed, model, inputs, kind)
    kernels, _ = _kernels(bed, lambda: _pass(bed, model, inputs, kind))
    ways: dict[str, Callable[[Any], None]] = {
        "joined normalisation": with_joined_norms,
        "channels-last": lambda other: other.to(memory_format=torch.channels_last),
    }
    if bed.cuda:
        ways["torch.compile of each block"] = _compile
    for name, change in ways.items():
        if name.startswith("torch.compile") and time.monotonic() > bed.end - _COMPILING:
            yield Figure("variants", name, "left out: no time", "", "reported")
            continue
        other = deepcopy(model)
        try:
            change(other)
            begun = time.perf_counter()
            found = _pass(bed, other, inputs, kind)
            first = time.perf_counter() - begun
            spent = bed.seconds(lambda other=other: _pass(bed, other, inputs, kind), rounds)
        except Exception as error:  # of a compiler, which is not a fault of the step
            yield Figure("variants", name, f"fails: {str(error).splitlines()[0][:80]}")
            continue
        scale = float(wanted.abs().max())
        yield Figure("variants", f"{name}: speed", ours / spent, "times", "more than 1 is faster")
        yield Figure("variants", f"{name}: first pass", first, "s")
        count, _ = _kernels(bed, lambda other=other: _pass(bed, other, inputs, kind))
        what = "kernels" if bed.cuda else "operations"
        yield Figure("variants", f"{name}: {what}", count, "", f"{kernels} without")
        difference = float((wanted - found).abs().max()) / scale
        bound = 0.05 if bed.cuda else 1e-4
        yield Figure(
            *("variants", f"{name}: logits", difference, ""),
            f"at most {bound:g} of the greatest",
            difference <= bound,
        )


def _compile(model: Any) -> None:  # noqa: ANN401
    for block in model.gcn:
        block.compile(dynamic=True)


def _pass(bed: Bed, model: Any, inputs: Inputs, kind: str) -> Tensor:  # noqa: ANN401
    """Forward and backward pass; the logits."""
    with torch.autocast(bed.device.type, torch.bfloat16, enabled=kind == "bf16-mixed"):
        output = model(inputs.tracks, inputs.owner, len(inputs))
        loss = output.logits.float().square().mean() + output.feature.float().square().mean()
    loss.backward()
    model.zero_grad(set_to_none=True)
    found: Tensor = output.logits.detach().float()
    return found


def stream(bed: Bed) -> Iterator[Figure]:
    """Training from the stream, before and after its shards are kept, against a fixed batch."""
    kind = "bf16-mixed" if bed.cuda else "32-true"
    for name in ("ntu60", "kinetics"):
        if bed.late:
            continue
        trainer = bed.trainer(*bed.sizes, f"optim.precision={kind}", store=name)
        batch = next(iter(trainer.stream))
        inputs = trainer.make(batch, 0.5)

        best = len(inputs) / bed.seconds(
            partial(_fixed, trainer, inputs, batch.sample), 1 if bed.quick else 20
        )
        yield Figure("stream", f"{name}: a fixed batch", best, "sequences/s", "reported")
        trainer = bed.trainer(*bed.sizes, f"optim.precision={kind}", store=name)
        for title in ("first epoch", "cached epoch"):
            trainer.meter.reset()
            begun = time.perf_counter()
            for batch in trainer.meter.timed(trainer.stream):
                trainer.step.take(trainer.make(batch, 0.5), batch.sample)
                trainer.meter._unchecked.clear()
            bed.wait()
            rate = trainer.meter.seen / (time.perf_counter() - begun)
            judged = title == "cached epoch" and bed.cuda
            yield Figure(
                *("stream", f"{name}: {title}", rate, "sequences/s"),
                "at least 95 % of a fixed batch" if judged else "reported",
                rate >= 0.95 * best if judged else None,
            )
            waiting = 100 * trainer.meter.waiting
            yield Figure(
                *("stream", f"{name}: {title}, waiting", waiting, "%"),
                "at most 2 %" if judged else "reported",
                waiting <= 2 if judged else None,
            )


def _fixed(trainer: Trainer, inputs: Inputs, samples: NDArray[np.int64]) -> None:
    trainer.step.take(inputs, samples)
    trainer.meter._unchecked.clear()


def commands(bed: Bed) -> Iterator[Figure]:
    """The command line from raw recordings to scores."""
    count = "24" if bed.quick else "600"
    options = [f"--set={s}" for s in (*bed.small, "optim.epochs=2", "data.clips=2")]
    where = ("--accelerator", bed.accelerator)
    for name, arguments in {
        "synth": ("synth", "ntu60", "people", "--sequences", count),
        "prepare": ("prepare", "ntu60", "--raw", "people", "--out", "people.zarr"),
        "train": ("train", "people.zarr", "--out", "trained", *options, *where),
        "evaluate": ("evaluate", "trained", *where),
        "evaluate --bf16": ("evaluate", "trained", "--bf16", *where),
    }.items():
        spent = _run(bed, [sys.executable, "-m", "aclnet", *arguments])
        yield Figure("commands", name, spent, "s", "ends with status 0", True)


def launcher(bed: Bed) -> Iterator[Figure]:
    """One process of torchrun with DDP, against a process without either."""
    settings = [f"--set={s}" for s in (*bed.small, "optim.epochs=1", "data.clips=1")]
    store = bed.store("ntu60").path
    weights = []
    for name, start in {
        "alone": [sys.executable],
        "torchrun": [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            "--nproc-per-node=1",
        ],
    }.items():
        strategy = {"LT_STRATEGY": "ddp"} if name == "torchrun" else {}
        arguments = ["train", str(store), "--out", f"by-{name}", *settings]
        arguments += ["--accelerator", bed.accelerator]
        spent = _run(bed, [*start, "-m", "aclnet", *arguments], strategy)
        yield Figure("launcher", name, spent, "s", "ends with status 0", True)
        values = Run(bed.folder / f"by-{name}").weights().values()
        weights.append(torch.cat([w.flatten().double() for w in values]))
    difference = float((weights[0] - weights[1]).abs().max() / weights[0].abs().max())
    bound = 1e-2 if bed.cuda else 0
    yield Figure(
        *("launcher", "weights of DDP with one process", difference, ""),
        f"at most {bound:g} of the greatest",
        difference <= bound,
    )


def _run(bed: Bed, command: list[str], more: dict[str, str] | None = None) -> float:
    """Seconds of a command; raises RuntimeError if it fails."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(more or {})}
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=bed.folder, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[-6:])} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - begun
