"""The launcher that started this process among others: torchrun or srun."""

from __future__ import annotations

import os
from typing import NamedTuple

from aclnet.datasets.spec import AclnetError


class Launcher(NamedTuple):
    """A program that started the processes of a training on one or several machines."""

    name: str
    world: int
    """Number of processes on all nodes."""
    nodes: int

    @property
    def per_node(self) -> int:
        return self.world // self.nodes


def find_launcher() -> Launcher | None:
    """The launcher by the variables that it sets; None for a command that was started by itself.

    A script of sbatch without srun, and srun with a single task, start the command by itself.
    Raises AclnetError if the nodes have different numbers of processes.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        world, local = _number("WORLD_SIZE"), _number("LOCAL_WORLD_SIZE")
        found = Launcher("torchrun", world, max(1, round(world / local)))
        uneven = world % local
    elif "SLURM_STEP_ID" in os.environ and _number("SLURM_NTASKS") > 1:
        found = Launcher("srun", _number("SLURM_NTASKS"), _number("SLURM_NNODES"))
        uneven = found.world % found.nodes
    else:
        return None
    if uneven:
        raise AclnetError(
            f"{found.name} started {found.world} processes on {found.nodes} nodes, but not the "
            "same number on each; start one process for each device of each node"
        )
    return found


def inside_slurm() -> bool:
    """Returns whether Slurm started this process, which Fabric would treat as one of several."""
    return "SLURM_NTASKS" in os.environ


def _number(variable: str) -> int:
    value = os.environ.get(variable, "1")
    if not value.isdecimal() or value == "0":
        raise AclnetError(
            f"the variable {variable} is {value!r}; a number of processes is expected"
        )
    return int(value)
