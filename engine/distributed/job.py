"""Which training or test on several devices a command line asks for, or that it asks for none."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from ...errors import NetError
from ...host import list_gpus, python_words, visible_gpus
from ...text import printable
from ..flags import CommandLine
from .environment import Placement, find_placement
from .nodes import LOOPBACK, Nodes

MODULE = "sqgen.engine"

ACTIONS = ("train", "test")
MAXIMUM_WORKERS = 1024  # on a machine: what is more is a slip
_LAUNCHERS = ("workers", "nodes", "node_rank", "rendezvous", "max_restarts")  # not its ranks'
FLAGS = (*_LAUNCHERS, "stall_timeout")


@dataclass(frozen=True)
class Job:
    """A training, or a test, to launch.

    Attributes:
        line: the command line, as given.
        nodes: the machines; `nodes.workers` ranks on this one.
        max_restarts: how often to start again when a rank dies.
    """

    line: CommandLine
    nodes: Nodes
    max_restarts: int = 0

    def rank_words(self, snapshot: str) -> list[str]:
        """Return the words of a rank, which goes on from a snapshot if there is one."""
        values = {
            name: self.line.values[name]
            for name in sorted(self.line.explicit.difference(_LAUNCHERS))
        }
        if snapshot:
            values |= {"snapshot": snapshot, "weights": ""}
        flags = [f"--{name}={_flag_text(value)}" for name, value in values.items()]
        return [*python_words(), "-m", MODULE, *self.line.words, *flags]


def _flag_text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def requested_job(action: str, line: CommandLine) -> Job | None:
    """Return what to launch; None for what runs in this process, alone or as a rank.

    Raises:
        NetError: the flags contradict each other, the environment, or the machine.
    """
    given = [name for name in FLAGS if name in line.explicit]
    if action not in ACTIONS:
        if given:
            raise NetError(f"--{given[0]} is for train and test; {action} runs in one process")
        return None
    if action == "test" and "max_restarts" in given:
        raise NetError(
            "--max_restarts is for train: a test has nothing to go on from; run it again"
        )
    placement = find_placement()
    if placement is not None:
        if not placement.is_ours:
            _check_joined(line, placement)
        return None
    workers = _count_workers(line)
    nodes = _read_nodes(line, workers)
    if workers == 1 and nodes.count == 1 and not line.integer("max_restarts"):
        if given == ["stall_timeout"] and "gpu" not in line.explicit:
            raise NetError("--stall_timeout is for several devices; give --workers or --gpu 0,1")
        return None
    if os.name != "posix":
        raise NetError("several processes need a POSIX system, such as Linux; this is none")
    return Job(line, nodes, line.integer("max_restarts"))


def _check_joined(line: CommandLine, placement: Placement) -> None:
    """Refuse the flags that another launcher, such as torchrun or srun, has decided."""
    for name in ("node_rank", "rendezvous", "max_restarts"):
        if name in line.explicit:
            raise NetError(
                f"--{name}: another launcher started this process as rank {placement.rank} of"
                f" {placement.world_size}; leave it to that"
            )
    workers, nodes = line.integer("workers"), line.integer("nodes")
    if "workers" in line.explicit and workers != placement.local_world_size:
        raise NetError(
            f"--workers {workers}: another launcher started {placement.local_world_size} processes"
            " on this machine; leave --workers out"
        )
    if "nodes" in line.explicit and nodes * placement.local_world_size != placement.world_size:
        raise NetError(
            f"--nodes {nodes}: another launcher started {placement.world_size} processes,"
            f" {placement.local_world_size} of them here; leave --nodes out"
        )


def _count_workers(line: CommandLine) -> int:
    """Return the ranks of this machine."""
    workers = line.integer("workers")
    if "workers" in line.explicit and not 0 < workers <= MAXIMUM_WORKERS:
        raise NetError(f"--workers {workers}: give 1 to {MAXIMUM_WORKERS} processes")
    gpu = line.text("gpu")
    if not gpu or line.on("cpu"):
        return workers or 1
    gpus = _count_gpus(gpu)
    if workers and workers != gpus:
        raise NetError(
            f"--workers {workers} and --gpu {printable(gpu)}: each GPU has one process; leave"
            " --workers out, or give --cpu"
        )
    return gpus


def _count_gpus(gpu: str) -> int:
    """Return the GPUs of `--gpu`, of which several are there."""
    if gpu != "all" and "," not in gpu:
        return 1
    present = _present_gpus()
    if gpu == "all":
        if not present:
            raise NetError(
                "--gpu all: this machine has no GPU that its driver lists; --cpu runs it on the CPU"
            )
        return present
    words = gpu.split(",")
    if not all(re.fullmatch("[0-9]{1,4}", word) for word in words):
        raise NetError(f"--gpu {printable(gpu)}: write 0, 0,1 or all; or give --cpu")
    numbers = list(map(int, words))
    if len(set(numbers)) < len(numbers):
        raise NetError(f"--gpu {printable(gpu)}: names a GPU twice; give each once, or --cpu")
    if max(numbers) >= present:
        has = f"{present}" if present else "none that PyTorch sees"
        raise NetError(
            f"Cannot use GPU: --gpu {printable(gpu)} asks for GPU {max(numbers)}, and this machine"
            f" has {has}; --cpu runs it on the CPU"
        )
    return len(numbers)


def _present_gpus() -> int:
    """Return the number of GPUs, as the driver lists them, or else as PyTorch does."""
    found = len(visible_gpus(list_gpus()))
    if found:
        return found
    try:
        import torch  # where the driver has no folder in /proc, as under WSL
    except ImportError:
        return 0
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _read_nodes(line: CommandLine, workers: int) -> Nodes:
    """Return the machines of the flags."""
    count, number = line.integer("nodes"), line.integer("node_rank")
    rendezvous, timeout = line.text("rendezvous"), line.integer("stall_timeout")
    if count < 1:
        raise NetError("--nodes 0: give the number of machines")
    if number >= count:
        raise NetError(
            f"--node_rank {number}: the nodes are 0 to {count - 1} (--nodes {count} says how many)"
        )
    if count == 1:
        if rendezvous:
            raise NetError("--rendezvous is for several machines; give --nodes, too")
        return Nodes(1, 0, LOOPBACK, 0, workers, timeout)
    match = re.fullmatch(r"\[?([^\[\]]+?)\]?:([0-9]{1,5})", rendezvous)
    if match is None or not 0 < int(match[2]) < 1 << 16:
        raise NetError(
            f"--nodes {count} needs --rendezvous=HOST:PORT, an address of node 0 and a free port"
            + (f"; '{printable(rendezvous)}' is none" if rendezvous else "")
        )
    return Nodes(count, number, match[1], int(match[2]), workers, timeout)
