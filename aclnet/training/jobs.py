"""Several runs by one command: one after the other, or several at once in separate processes.

Finished runs are skipped and interrupted runs resume, so the same command, run again, resumes the
set.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, NamedTuple

import torch

from aclnet.datasets.opening import open_store
from aclnet.datasets.spec import AclnetError
from aclnet.runs.places import runs_folder
from aclnet.runs.run import is_finished
from aclnet.training.launch import TrainingRequest, make_fabric, plan_run, train_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess
    from pathlib import Path
    from typing import Any

    from aclnet.datasets.store.paths import StorePath
    from aclnet.datasets.store.store import Store
    from aclnet.runs.config import Config
    from aclnet.training.trainer import TrainingMonitor

    Watch = Callable[[str, "Job"], AbstractContextManager[TrainingMonitor]]
    """Entered with a run's place in the set, for example `2/6`, at its start; left at its end."""

FAILED = "failed (the reason is shown at the end)"


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a set."""

    title: str
    """Name that distinguishes it from the others of the set."""
    stores: tuple[StorePath, ...]
    """Paths of the stores to train on, as `open_store` takes them."""
    request: TrainingRequest
    path: Path
    """The run's folder, which has the run's name."""

    @property
    def config(self) -> Config:
        return self.request.config

    @property
    def data(self) -> str:
        """The stores to train on, in words."""
        return " + ".join(map(str, self.stores))


def plan_job(title: str, store: Store, request: TrainingRequest, out: Path | None) -> Job:
    """A run of a set, named after its settings, in the folder `out`; None: beside the store.

    Raises AclnetError if it cannot be trained.
    """
    path = (out or runs_folder(store)) / plan_run(store, request).name
    return Job(title, store.paths, request, path)


class Failure(NamedTuple):
    """A run that could not be trained."""

    job: Job
    message: str

    def as_dict(self) -> dict[str, str]:
        """The run's folder and the reason, for JSON."""
        return {"run": str(self.job.path), "message": self.message}


def train_jobs(
    jobs: Sequence[Job], watch: Watch, *, at_once: int = 1, accelerator: str = "auto"
) -> list[Failure]:
    """Trains the unfinished runs of a set, each on one device, and returns the failures.

    With `at_once` above 1, the runs are processes that share the threads of this process and take
    CUDA devices in turn. They end with this process in any case. Raises AclnetError if the
    accelerator does not exist.
    """
    numbered = [(f"{number}/{len(jobs)}", job) for number, job in enumerate(jobs, start=1)]
    waiting = deque(
        (n, job) for n, job in numbered if job.request.fresh or not is_finished(job.path)
    )
    at_once = min(at_once, len(waiting))
    if waiting:
        make_fabric(waiting[0][1].config, accelerator, "1")  # report a missing device once
    if at_once <= 1:
        return _one_by_one(waiting, watch, accelerator)
    return _SideBySide(waiting, watch, at_once, accelerator).run()


def failed(failures: Sequence[Failure], total: int) -> AclnetError:
    """Error that names the failed runs of a set and their reasons."""
    reasons = "".join(f"\n{job.title}: {message}" for job, message in failures)
    return AclnetError(f"{len(failures)} of {total} runs failed{reasons}")


def _one_by_one(waiting: deque[tuple[str, Job]], watch: Watch, accelerator: str) -> list[Failure]:
    failures = []
    for place, job in waiting:
        with watch(place, job) as monitor:
            message = _train(job, monitor, accelerator, "1")
            if message:
                monitor.remark(FAILED)
                failures.append(Failure(job, message))
    return failures


def _train(job: Job, monitor: TrainingMonitor, accelerator: str, devices: str) -> str | None:
    """Trains one run; returns its failure, if any, so that the other runs continue."""
    try:
        fabric = make_fabric(job.config, accelerator, devices)
        fabric.launch()
        train_run(fabric, open_store(*job.stores), job.request, monitor, job.path)
    except (AclnetError, OSError) as error:
        return str(error)
    except Exception:  # a defect of aclnet, which keeps its traceback
        return traceback.format_exc()
    return None


@dataclass(slots=True)
class _Running:
    """A run that is trained in a separate process."""

    job: Job
    slot: int
    process: BaseProcess
    monitor: TrainingMonitor
    shown: ExitStack


class _SideBySide:
    """Trains this number of runs at once; when a run ends, the next one starts."""

    def __init__(
        self, waiting: deque[tuple[str, Job]], watch: Watch, at_once: int, accelerator: str
    ) -> None:
        self.waiting, self.watch, self.at_once = waiting, watch, at_once
        self.accelerator = accelerator
        self.threads = max(1, torch.get_num_threads() // at_once)
        self.running: dict[Connection, _Running] = {}
        self.failures: list[Failure] = []

    def run(self) -> list[Failure]:
        try:
            while self.waiting or self.running:
                while self.waiting and len(self.running) < self.at_once:
                    self._start(*self.waiting.popleft())
                for connection in wait(list(self.running)):
                    self._listen(connection)  # type: ignore[arg-type]
        finally:
            for one in self.running.values():
                one.process.terminate()
                one.process.join()
                one.shown.close()
        return self.failures

    def _start(self, place: str, job: Job) -> None:
        slot = min(set(range(self.at_once)) - {one.slot for one in self.running.values()})
        shown = ExitStack()
        monitor = shown.enter_context(self.watch(place, job))
        # not a fork: threads and CUDA do not survive one
        context = multiprocessing.get_context("spawn")
        reader, writer = context.Pipe(duplex=False)
        arguments = (job, writer, self.accelerator, _device(self.accelerator, slot), self.threads)
        process = context.Process(target=_work, args=arguments)
        process.start()
        writer.close()  # only the process, which has the other end, decides when it closes
        self.running[reader] = _Running(job, slot, process, monitor, shown)

    def _listen(self, connection: Connection) -> None:
        """Forwards the messages of a process."""
        one = self.running[connection]
        try:
            said, *values = connection.recv()
        except EOFError:
            one.process.join()
            said, values = "end", [f"its process was ended (status {one.process.exitcode})"]
        if said != "end":
            getattr(one.monitor, said)(*values)
            return
        (message,) = values
        if message:
            one.monitor.remark(FAILED)
            self.failures.append(Failure(one.job, message))
        del self.running[connection]
        one.process.join()
        one.shown.close()
        connection.close()


def _device(accelerator: str, slot: int) -> str:
    """`devices` of Fabric for one of several runs at once."""
    cuda = accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available()
    return f"{slot % torch.cuda.device_count()}," if cuda else "1"


def _work(job: Job, writer: Connection, accelerator: str, devices: str, threads: int) -> None:
    """Main function of a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process ends this one
    torch.set_num_threads(threads)
    talk = Talk(writer)
    with suppress(KeyboardInterrupt):  # the sender of the signal knows about it
        talk.say("end", _train(job, talk, accelerator, devices))


class Talk:
    """A monitor that sends its events to the parent process."""

    def __init__(self, writer: Connection) -> None:
        self.writer = writer

    def say(self, *words: Any) -> None:  # noqa: ANN401 - whatever the monitor is told
        """Raises SystemExit if the parent is gone, so that a killed command stops the training."""
        try:
            self.writer.send(words)
        except BrokenPipeError:
            raise SystemExit(1) from None

    def remark(self, text: str) -> None:
        self.say("remark", text)

    def step(self, epoch: int, step: int, steps: int, rate: float, waiting: float) -> None:
        self.say("step", epoch, step, steps, rate, waiting)

    def epoch(self, row: dict[str, float]) -> None:
        self.say("epoch", row)
