"""The processes and devices of a command, started by Fabric, torchrun or srun."""

from __future__ import annotations

import atexit
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aclnet.datasets.spec import AclnetError
from aclnet.runs.device import resolve_accelerator
from aclnet.runs.launcher import find_launcher, inside_slurm
from aclnet.runs.processes import leave_processes, naming_lost_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lightning_fabric import Fabric

    from aclnet.runs.launcher import Launcher


def open_fabric(
    accelerator: str = "auto",
    devices: str = "auto",
    nodes: int | None = None,
    plugins: tuple[Any, ...] = (),
) -> Fabric:
    """The processes and devices, which `launch` starts.

    `auto` is as many devices as torchrun or srun started processes on a node; without them it is
    all CUDA devices where there are any, else one process on the CPU. `nodes` is the number of
    machines; None: as many as torchrun or srun use, else this one. `plugins` are Fabric's.

    Raises AclnetError if this machine lacks the devices, or if devices, nodes and the launcher do
    not fit together.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    accelerator = resolve_accelerator(accelerator)
    launcher = find_launcher()
    count: int | str = int(devices) if devices.isdigit() else devices
    if devices == "auto" and (launcher or accelerator == "cpu"):
        count = launcher.per_node if launcher else 1
    nodes = _nodes(nodes, count, launcher)
    if launcher is None and inside_slurm():
        # Fabric would wait for processes that srun did not start.
        plugins = (*plugins, LightningEnvironment())
    atexit.register(leave_processes)
    try:
        return Fabric(
            accelerator=accelerator, devices=count, num_nodes=nodes, plugins=list(plugins)
        )
    except (ValueError, TypeError, RuntimeError, MisconfigurationException) as error:
        reason = " ".join(str(error).split())
        raise AclnetError(f"--accelerator {accelerator} --devices {devices}: {reason}") from None


def _nodes(nodes: int | None, devices: int | str, launcher: Launcher | None) -> int:
    """The number of nodes. Raises AclnetError if the launcher started other processes."""
    if launcher is None:
        if nodes is not None and nodes > 1:
            raise AclnetError(
                f"--nodes {nodes}: start the command with torchrun or srun, which start processes "
                "on all nodes (docs/gpu.md)"
            )
        return 1
    if nodes not in (None, launcher.nodes) or devices not in (launcher.per_node, "auto"):
        raise AclnetError(
            f"{launcher.name} started {launcher.world} processes, {launcher.per_node} on each of "
            f"{launcher.nodes} nodes, which differs from --nodes {nodes or launcher.nodes} "
            f"--devices {devices}; leave both options out, or start one process for each device"
        )
    return launcher.nodes


@contextmanager
def ending_together(fabric: Fabric) -> Iterator[None]:
    """Ends all processes of `fabric` if one of them fails or is lost.

    The processes that Fabric started for `--devices` may wait in a collective for this one, the
    first, where they react to no other signal. Raises AclnetError if another process was lost.
    """
    try:
        with naming_lost_process():
            yield
    except Exception:
        for process in getattr(fabric.strategy.launcher, "procs", ()):
            process.kill()
        raise
