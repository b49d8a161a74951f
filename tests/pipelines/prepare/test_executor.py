"""Executors of prepare: this process, local workers and a dask cluster; limits and failures."""

from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dask
import numpy as np
import pytest

from aclnet.datasets.registry import get_dataset
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store import manifest
from aclnet.pipelines.prepare import executor as executors
from aclnet.pipelines.prepare import preparation
from aclnet.pipelines.prepare.executor import open_executor


@pytest.mark.parametrize("options", [{"workers": 2}, {"scheduler": "tcp://127.0.0.1:9"}])
def test_without_dask_one_process_prepares(options, monkeypatch):
    monkeypatch.setattr(executors, "find_spec", lambda _: None)
    with pytest.raises(AclnetError, match=r"pip install 'aclnet\[distributed\]'"):  # noqa: SIM117
        with open_executor(**options):
            pass
    with open_executor() as run:
        assert list(run(abs, [-1, 2])) == [1, 2]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    from distributed import LocalCluster

    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("elsewhere"))  # the workers' folder is not the command's
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=0
    ) as cluster:
        os.chdir(before)
        yield cluster


@pytest.mark.slow
def test_local_workers_and_a_scheduler_give_the_same_bytes(
    cluster, people, people_store, tmp_path, monkeypatch, capfd
):
    from aclnet.cli.main import main

    monkeypatch.setattr(preparation, "_BATCH_ITEMS", 20)
    monkeypatch.chdir(tmp_path)
    Path("raw").symlink_to(people)
    command = ["prepare", "ntu60", "--raw", "raw", "--out"]
    main([*command, "c.zarr", "--scheduler", cluster.scheduler_address])
    main([*command, "w.zarr", "--workers", "2"])
    wanted = (people_store / manifest.NAME).read_bytes()
    assert Path("c.zarr", manifest.NAME).read_bytes() == wanted
    assert Path("w.zarr", manifest.NAME).read_bytes() == wanted
    assert "72/72" in capfd.readouterr().err


def test_a_mistake_in_a_worker_is_told_as_in_process(cluster):
    with (
        open_executor(scheduler=cluster.scheduler_address) as run,
        pytest.raises(AclnetError, match="moon"),
    ):
        list(run(get_dataset, ["moon"]))


def test_a_job_that_raises_a_time_out_ends_the_run(cluster):
    def job(_):
        raise OSError(errno.ETIMEDOUT, "the disk does not answer")

    with (
        open_executor(scheduler=cluster.scheduler_address) as run,
        pytest.raises(TimeoutError, match="the disk does not answer"),
    ):
        list(run(job, [1]))


def test_workers_share_the_memory_that_there_may_be():
    gib = 1 << 30
    assert executors._shares(4, 0) == (4, 0)
    number, share = executors._shares(16, gib)
    assert number < 16
    assert gib / 2 < number * share < gib
    assert executors._shares(2, 16 * gib)[0] == 2
    with pytest.raises(AclnetError, match="--max-memory 100 MiB: one worker"):
        open_executor(workers=2, max_memory=100 << 20).__enter__()
    with pytest.raises(AclnetError, match="'much' is not an amount of memory"):
        open_executor(workers=2, max_memory="much").__enter__()
    with pytest.raises(AclnetError, match="give their number with --workers"):
        open_executor(max_memory="1 GiB").__enter__()


@pytest.mark.slow
def test_a_worker_beyond_its_share_is_ended():
    with open_executor(workers=1, max_memory=500 << 20) as run:
        assert [len(ones) for ones in run(np.ones, [10])] == [10]
        # one that pauses when it is nearly full is never woken
        assert list(run(dask.config.get, ["distributed.worker.memory.pause"])) == [False]
        with pytest.raises(AclnetError, match="more --max-memory"):
            list(run(np.ones, [250_000_000]))  # two gigabytes


@pytest.mark.slow
def test_no_scheduler_or_one_without_workers(monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr(executors, "_WORKER_SECONDS", 0.5)
    with monkeypatch.context() as patch:
        patch.setattr(executors, "_CONNECT_SECONDS", 0.5)
        with pytest.raises(AclnetError, match=r"no dask scheduler answers at tcp://127\.0\.0\.1:9"):
            open_executor(scheduler="tcp://127.0.0.1:9").__enter__()
    with pytest.raises(AclnetError, match="no dask scheduler answers at nonsense://here"):
        open_executor(scheduler="nonsense://here").__enter__()
    with pytest.raises(AclnetError, match="either"):
        open_executor(workers=1, scheduler="tcp://127.0.0.1:9").__enter__()
    with (
        LocalCluster(n_workers=0, processes=False, protocol="tcp", dashboard_address=":0") as empty,
        pytest.raises(AclnetError, match="has no worker"),
    ):
        open_executor(scheduler=empty.scheduler_address).__enter__()


@pytest.mark.slow
def test_workers_leave_ctrl_c_to_the_command():
    """A terminal sends it to them too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with open_executor(workers=2) as run:
        for masked in run(partial(signal.pthread_sigmask, signal.SIG_BLOCK), [()] * 8):
            assert signal.SIGINT in masked
            assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


@dataclass(frozen=True)
class Payload:
    """Argument of a job."""

    number: int


@pytest.mark.slow
def test_local_workers_start_with_the_first_jobs_and_finished_jobs_are_forgotten():
    told = []
    with open_executor(workers=1, tell=told.append) as run:
        assert told == []
        assert sum(1 for _ in run(hash, map(Payload, range(200)))) == 200
        left = kept_payloads()
        for _ in range(50):  # dask's threads may be late
            if left < 100:
                break
            time.sleep(0.1)
            left = kept_payloads()
        assert sum(1 for _ in run(hash, [Payload(0)])) == 1
    assert len(told) == 1
    assert left < 100


def kept_payloads():
    gc.collect()
    # isinstance would ask objects of other libraries for their class, and some warn
    return sum(type(thing) is Payload for thing in gc.get_objects())


INTERRUPTED = """
import signal
import sys
from pathlib import Path
from aclnet.cli.main import cli, main
from aclnet.pipelines.prepare.executor import open_executor

def wait(*_, **__):
    with open_executor(workers=2) as run:
        list(run(Path.read_text, [Path(sys.argv[1])] * 2))

cli.invoke = wait
signal.signal(signal.SIGINT, signal.default_int_handler)  # the shell of these tests may ignore it
main(["info"])
"""


@pytest.mark.slow
def test_ctrl_c_with_workers_ends_in_one_line(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [sys.executable, "-c", INTERRUPTED, str(pipe)]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    with pipe.open("w"):  # which waits until a worker reads
        os.killpg(child.pid, signal.SIGINT)
        said = child.communicate()[1]
    assert child.returncode == 130
    assert said.strip() == "stopped; run the same command again to resume"


@pytest.mark.slow
def test_what_goes_wrong_in_a_worker_is_told_once(capfd):
    with open_executor(workers=1) as run, pytest.raises(FileNotFoundError):
        list(run(os.listdir, ["/no/where"]))
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_a_cluster_whose_workers_are_gone(monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr(executors, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(executors, "_GONE_SECONDS", 0)
    with LocalCluster(n_workers=0, processes=True, dashboard_address=":0") as cluster:
        address = cluster.scheduler_address
        dask_worker = [sys.executable, "-m", "dask", "worker", "--no-nanny", "--no-dashboard"]
        worker = subprocess.Popen([*dask_worker, address], stderr=subprocess.DEVNULL)
        gone = pytest.raises(
            AclnetError,
            match=r"there are no worker processes left; start "
            r"workers",
        )
        with open_executor(scheduler=address) as run, gone:
            list(run(os._exit, [1]))
        assert worker.wait() == 1
