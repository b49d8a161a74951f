"""Checks of `gpu.py`: parity with the CPU, no waiting in a step, precisions, repetition."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from gpu_bed import Figure, Silent, first_batch
from torch.utils._python_dispatch import TorchDispatchMode

import aclnet.training.trainer as training
from aclnet.models.choices import PAPER_WIDTH
from aclnet.models.folding import fold_batch_norms
from aclnet.pipelines.inputs.corruptions.joints import Drop
from aclnet.runs.inputs import MakeInputs
from aclnet.training.launch import TrainingRequest, make_fabric, train_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpu_bed import Bed
    from torch import Tensor

    from aclnet.runs.run import Run
    from aclnet.training.trainer import Trainer

OPTIONS: tuple[tuple[str, ...], ...] = (
    (),
    ("optim.precision=bf16-mixed",),
    ("optim.precision=16-mixed",),
    ("optim.matmul=tf32",),
    ("optim.name=adamw",),
    ("optim.name=adamw", "optim.precision=16-mixed"),
    ("model.pooling=joint", "model.joint_embedding=true", "model.zero_init=true"),
    ("optim.deterministic=true",),
    ("optim.accumulate=2",),
    ("optim.recompute=true",),
    ("optim.class_weights=true", "optim.label_smoothing=0.1"),
    ("data.modality=bm", "data.motion=timed"),
    ("data.presence=true",),
    ("augment.rotate=0.3", "augment.scale=0.1", "augment.mirror=0.5", "augment.jitter=0.01"),
    ("augment.limb_mask=0.5", "augment.joint_mask=0.5", "augment.time_mask=0.5"),
    ("settings=official",),
    ("model.persons=padded",),
    ("loss.triplet=1",),
    ("loss.terms=ce",),
    *((f"model.name={name}",) for name in PAPER_WIDTH if name != "aclnet"),
)


def parity(bed: Bed) -> Iterator[Figure]:
    """The device against the CPU, all in float32: the same batch, weights and losses."""
    settings = (*bed.small, "augment.rotate=0.2", "augment.limb_mask=0.5")
    with _exact():
        pair = [bed.trainer(*settings, accelerator=name) for name in ("cpu", bed.accelerator)]
        batch = next(iter(pair[0].stream))
        inputs = [trainer.make(batch, 0.5) for trainer in pair]
        yield _near("inputs", *(i.tracks for i in inputs), bound=1e-5)
        corrupted = [
            MakeInputs(
                t.store, t.config.data, t.fabric.device, corruption=Drop.of("arms", t.store.layout)
            )(batch)
            for t in pair
        ]
        yield _near("inputs with dropped arms", *(i.tracks for i in corrupted), bound=1e-5)
        outputs = [t.network(i.tracks, i.owner, len(i)) for t, i in zip(pair, inputs, strict=True)]
        yield _near("network, logits", *(o.logits for o in outputs), bound=1e-4)
        yield _near("network, pooled", *(o.pooled for o in outputs), bound=1e-4)
        for trainer, made in zip(pair, inputs, strict=True):
            trainer.step.raw_optimizer.zero_grad()
            _gradients(trainer, made, batch.sample)
        yield _near("losses", *(t.meter.sums for t in pair), bound=1e-4)
        gradients = [
            torch.cat([p.grad.flatten().cpu() for p in t.network.parameters()]) for t in pair
        ]
        yield _near("gradients", *gradients, bound=1e-3)
        folded = [fold_batch_norms(t.model) for t in pair]
        with torch.inference_mode():
            plain = pair[0].model.eval()(inputs[0].tracks, inputs[0].owner, len(batch)).logits
            found = folded[1](inputs[1].tracks, inputs[1].owner, len(batch)).logits
            yield _near("folded inference against plain", plain, found, bound=1e-4)
            with torch.autocast(bed.device.type, torch.bfloat16):
                rounded = folded[1](inputs[1].tracks, inputs[1].owner, len(batch)).logits
            yield _near(
                "probabilities in bfloat16",
                *(x.float().softmax(1) for x in (plain, rounded)),
                bound=0.02,
                relative=False,
            )


def _gradients(trainer: Trainer, inputs: Any, samples: Any) -> None:  # noqa: ANN401
    """Gradients of a step, without the step."""
    output = trainer.network(inputs.tracks, inputs.owner, len(inputs))
    trainer.step.observe(output, inputs)
    trainer.step.backward(inputs, output, 0, len(inputs), samples)


def _near(
    what: str, wanted: Tensor, found: Tensor, *, bound: float, relative: bool = True
) -> Figure:
    """The greatest difference, relative to the greatest value."""
    wanted, found = wanted.detach().double().cpu(), found.detach().double().cpu()
    scale = float(wanted.abs().max()) if relative else 1.0
    difference = float((wanted - found).abs().max()) / max(scale, 1e-30)
    words = f"at most {bound:g}{' of the greatest' if relative else ''}"
    return Figure("parity", what, difference, "", words, difference <= bound)


@contextmanager
def _exact() -> Iterator[None]:
    """No TF32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


class Refuse(TorchDispatchMode):
    """Refuses, on a CPU, operations that on a GPU would wait for its results."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "bincount", "equal")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        name = func._schema.name.partition("::")[2]
        if name.startswith(self.WAITING) or (name.startswith("index") and _selects(args)):
            raise RuntimeError(f"{name} waits for the device")
        return func(*args, **(kwargs or {}))


def _selects(args: Any) -> bool:  # noqa: ANN401
    """Tells if an indexing operation uses a mask. The device must count the hits of a mask."""
    lists = [a for a in args if isinstance(a, list | tuple)]
    tensors = [t for found in lists for t in found if isinstance(t, torch.Tensor)]
    return any(t.dtype in (torch.bool, torch.uint8) for t in tensors)


@contextmanager
def no_waiting(bed: Bed) -> Iterator[None]:
    """Raises RuntimeError where the block waits for the device."""
    if not bed.cuda:
        with Refuse():
            yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def waiting(bed: Bed) -> Iterator[Figure]:
    """Tests with every option that a step does not wait for the device."""
    for settings in OPTIONS[:: 5 if bed.quick else 1]:
        name = " ".join(settings) or "default"
        if "16-mixed" in name and "bf16" not in name and not bed.cuda:
            continue
        yield Figure("waiting", name, *_waits(bed, settings, "ntu60"))
    yield Figure("waiting", "kinetics", *_waits(bed, ("augment.confidence=0.3",), "kinetics"))


def _waits(bed: Bed, settings: tuple[str, ...], store: str) -> tuple[str, str, str, bool]:
    trainer = bed.trainer(*bed.small, *settings, store=store)
    try:
        batch = next(iter(trainer.stream))
        for _ in range(1 if bed.quick else 2):  # the first steps fill caches
            trainer.step.take(trainer.make(batch, 0.5), batch.sample)
        with no_waiting(bed):
            trainer.step.take(trainer.make(batch, 0.5), batch.sample)
    except RuntimeError as error:
        return str(error).splitlines()[0][:90], "", "does not wait", False
    finally:
        torch.use_deterministic_algorithms(mode=False)
    return "does not wait", "", "does not wait", True


def precision(bed: Bed) -> Iterator[Figure]:
    """The mean loss of the last third of some steps in each precision, over that of float32."""
    kinds = {
        "float32": (),
        "tf32": ("optim.matmul=tf32",),
        "bf16": ("optim.precision=bf16-mixed",),
        "fp16": ("optim.precision=16-mixed",),
    }
    first = None
    for name, settings in kinds.items():
        if name in ("tf32", "fp16") and not bed.cuda:
            continue
        loss = _loss(bed, settings)
        first = loss if first is None else first
        change = abs(loss / first - 1)
        yield Figure(
            "precision", f"loss in {name}", loss, "", "within 3 % of float32", change <= 0.03
        )


def _loss(bed: Bed, settings: tuple[str, ...]) -> float:
    trainer = bed.trainer(*bed.small, *settings, "optim.lr=0.01")
    inputs, samples = first_batch(trainer)
    steps = 3 if bed.quick else 60
    for number in range(steps):
        if number == 2 * steps // 3:
            trainer.meter.reset()
        trainer.step.set_lr(number / steps)
        trainer.step.take(inputs, samples)
    return float(trainer.meter.sums[0]) / (len(inputs) * (steps - 2 * steps // 3))


class _Stop(Silent):
    """Stops a training after some steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self, *_: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise InterruptedError


def repetition(bed: Bed) -> Iterator[Figure]:
    """Weights of the same training twice, and of an interrupted one, bit for bit."""
    settings = (*bed.small, "optim.epochs=2", "data.clips=1", "optim.deterministic=true")
    whole = _weights(_train(bed, "whole", settings))
    again = _weights(_train(bed, "again", settings))
    yield _same("deterministic training twice", whole, again)
    before = training.CHECK_EVERY, training.SAVE_EVERY
    training.CHECK_EVERY, training.SAVE_EVERY = 1, -1.0
    try:
        _train(bed, "resumed", settings, _Stop(2))
    except InterruptedError:
        pass
    finally:
        training.CHECK_EVERY, training.SAVE_EVERY = before
    yield _same("interrupted and resumed", whole, _weights(_train(bed, "resumed", settings)))
    torch.use_deterministic_algorithms(mode=False)
    if bed.cuda:
        pair = [_weights(_train(bed, f"free{i}", settings[:-1])) for i in range(2)]
        difference = float((pair[0] - pair[1]).abs().max())
        yield Figure("repetition", "twice without optim.deterministic", difference, "", "reported")


def _train(bed: Bed, name: str, settings: tuple[str, ...], monitor: Any = None) -> Run:  # noqa: ANN401
    store = bed.store("ntu60")
    request = TrainingRequest.of(store, settings=settings, accelerator=bed.accelerator)
    fabric = make_fabric(request.config, bed.accelerator, "1")
    fabric.launch()
    return train_run(fabric, store, request, monitor or Silent(), bed.folder / f"run-{name}")


def _weights(run: Run) -> Tensor:
    return torch.cat([w.flatten().double() for w in run.weights().values()])


def _same(what: str, wanted: Tensor, found: Tensor) -> Figure:
    difference = float((wanted - found).abs().max())
    return Figure("repetition", what, difference, "", "0: bit for bit", difference == 0)
