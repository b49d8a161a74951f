"""Processes that torchrun or srun start on one or several nodes, by the variables that they set."""

from __future__ import annotations

import os

import pytest

from aclnet.datasets.spec import AclnetError
from aclnet.runs.launcher import find_launcher
from aclnet.training.launch import make_fabric

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "a",
    "WORLD_SIZE": "2",
    "LOCAL_WORLD_SIZE": "1",
    "RANK": "1",
    "LOCAL_RANK": "0",
    "GROUP_RANK": "1",
}
SRUN = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
    "SLURM_NTASKS": "4",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_NNODES": "2",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_JOB_NAME": "train",
}


@pytest.fixture
def environment(monkeypatch):
    """Sets the variables of a launcher and removes all others."""
    for name in list(os.environ):
        if name.startswith(("SLURM", "TORCHELASTIC")) or name in TORCHRUN:
            monkeypatch.delenv(name)

    def start(variables, **others) -> None:
        for name, value in {**variables, **others}.items():
            monkeypatch.setenv(name, value)

    return start


@pytest.mark.parametrize(
    ("variables", "world", "rank"), [(TORCHRUN, 2, 1), (SRUN, 4, 3)], ids=["torchrun", "srun"]
)
def test_nodes_and_devices_follow_from_the_launcher(variables, world, rank, environment, quick):
    environment(variables)
    for nodes in (None, 2):
        fabric = make_fabric(quick(), "cpu", nodes=nodes)
        assert (fabric.world_size, fabric.global_rank) == (world, rank)
        assert not fabric.is_global_zero
        assert fabric._strategy.num_nodes == 2


@pytest.mark.parametrize(
    ("devices", "nodes"), [("2", None), ("auto", 1), ("auto", 3), ("1", 1), ("0,1", None)]
)
def test_what_differs_from_the_launcher_is_refused(devices, nodes, environment, quick):
    environment(TORCHRUN)
    message = r"torchrun started 2 processes, 1 on each of 2 nodes, which differs from --nodes"
    with pytest.raises(AclnetError, match=message) as error:
        make_fabric(quick(), "cpu", devices, nodes)
    assert "\n" not in str(error.value)


def test_nodes_need_a_launcher(environment, quick):
    environment({})
    with pytest.raises(AclnetError, match=r"--nodes 2: start .* with torchrun or srun"):
        make_fabric(quick(), "cpu", nodes=2)
    assert make_fabric(quick(), "cpu", nodes=1).world_size == 1


def test_nodes_with_unequal_numbers_of_processes(environment):
    environment(TORCHRUN, WORLD_SIZE="5", LOCAL_WORLD_SIZE="2")
    with pytest.raises(
        AclnetError, match="started 5 processes on 2 nodes, but not the same number"
    ):
        find_launcher()
    environment(TORCHRUN, WORLD_SIZE="many")
    with pytest.raises(AclnetError, match="WORLD_SIZE is 'many'"):
        find_launcher()


def test_a_batch_script_without_srun_trains_alone(environment, quick):
    """Fabric alone would wait for the other tasks of the job."""
    environment({name: value for name, value in SRUN.items() if name != "SLURM_STEP_ID"})
    fabric = make_fabric(quick(), "cpu")
    assert (fabric.world_size, fabric.is_global_zero) == (1, True)
    environment(SRUN, SLURM_NTASKS="1", SLURM_NNODES="1", SLURM_PROCID="0")
    assert find_launcher() is None
