"""Which rank a process is, by its environment: torch's variables, Slurm's, and those of sqgen.

sqgen's launcher sets torch's variables, as torchrun does. Loads nothing heavy.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from ...errors import NetError
from ...host import available_cores
from ...text import printable

RANK, WORLD_SIZE = "RANK", "WORLD_SIZE"
LOCAL_RANK, LOCAL_WORLD_SIZE = "LOCAL_RANK", "LOCAL_WORLD_SIZE"
MASTER_ADDR, MASTER_PORT = "MASTER_ADDR", "MASTER_PORT"
# Of sqgen's launcher alone:
LAUNCHER = "SQGEN_LAUNCHER"  # its process id
SEED = "SQGEN_SEED"  # of a training whose solver has no random_seed
STORE_FD = "SQGEN_STORE_FD"  # rank 0's listening socket for torch's TCPStore
ACTIVITY_FD = "SQGEN_ACTIVITY_FD"  # the pipe for `watch.Activity`


class Placement(NamedTuple):
    """Where a process stands among the ranks of a training.

    Attributes:
        rank, world_size: of all ranks.
        local_rank, local_world_size: of those on this machine.
        is_ours: whether sqgen's launcher started it.
    """

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    is_ours: bool

    @property
    def speaks(self) -> bool:
        """Whether its log is the log of the run: rank 0's, and on other machines the first's."""
        return self.rank == 0 or (self.is_ours and self.local_rank == 0)


def find_placement(environment: Mapping[str, str] = os.environ) -> Placement | None:
    """Return the rank that this process was started as; None if no launcher started it.

    Raises:
        NetError: the variables contradict each other.
    """
    if RANK in environment and WORLD_SIZE in environment:
        rank, size = _number(environment, RANK), _number(environment, WORLD_SIZE)
        local_rank = _number(environment, LOCAL_RANK, rank)
        local_size = _number(environment, LOCAL_WORLD_SIZE, size)
    elif _is_slurm_step(environment):
        rank, size = _number(environment, "SLURM_PROCID"), _slurm_tasks(environment)
        local_rank = _number(environment, "SLURM_LOCALID", rank)
        local_size = _slurm_local_tasks(environment, size)
    else:
        return None
    if not (rank < size and local_rank < local_size <= size):
        raise NetError(
            f"the environment is of no launcher: rank {rank} of {size}, on this machine"
            f" {local_rank} of {local_size}; unset {RANK} and {WORLD_SIZE}, or mend them"
        )
    return Placement(rank, size, local_rank, local_size, LAUNCHER in environment)


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name)
    if text is None and default is not None:
        return default
    if text is None or not re.fullmatch("[0-9]{1,9}", text):
        raise NetError(f"the environment has {name}={printable(text or '')}, which is no number")
    return int(text)


def _is_slurm_step(environment: Mapping[str, str]) -> bool:
    """Whether srun started the process as one of several; a batch script is no step."""
    named = "SLURM_PROCID" in environment and "SLURM_STEP_ID" in environment
    return named and _slurm_tasks(environment) > 1


def _slurm_tasks(environment: Mapping[str, str]) -> int:
    name = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environment else "SLURM_NTASKS"
    return _number(environment, name, 1)


def _slurm_local_tasks(environment: Mapping[str, str], size: int) -> int:
    """Return the tasks on this node, from a list such as `4(x2),3`."""
    counts: list[int] = []
    for word in environment.get("SLURM_STEP_TASKS_PER_NODE", "").split(","):
        match = re.fullmatch(r"([0-9]{1,6})(?:\(x([0-9]{1,6})\))?", word)
        if match is not None:
            counts += [int(match[1])] * int(match[2] or 1)
    node = _number(environment, "SLURM_NODEID", 0)
    return counts[node] if node < len(counts) else size


def default_threads() -> int | None:
    """Return the compute threads of a rank that shares its machine; None where it does not."""
    placement = find_placement()
    if placement is None or placement.local_world_size == 1:
        return None
    if "SLURM_CPUS_PER_TASK" in os.environ and not placement.is_ours:
        return max(1, _number(os.environ, "SLURM_CPUS_PER_TASK"))
    return max(1, available_cores() // placement.local_world_size)
