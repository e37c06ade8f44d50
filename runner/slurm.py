"""A batch script for Slurm that runs a command with a process for each device, by srun."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import SqgenError
from ..text import shell_join
from .options import RunOptions

# srun ends all processes when one dies; each joins as the rank that Slurm made it.
_ENGINE = "srun --kill-on-bad-exit=1 sqgen-caffe"
_SNAPSHOT_SECONDS = 120  # before the job's time is over


def slurm_script(options: RunOptions) -> str:
    """Return the script, for sbatch.

    Args:
        options: of the run; `typed` is its command.

    Raises:
        SqgenError: an option that Slurm has to decide.
    """
    for name, given in (
        ("--rendezvous", options.rendezvous is not None),
        ("--node-rank", options.node_rank),
        ("--max-restarts", options.max_restarts),
        ("--caffe", options.caffe is not None),
    ):
        if given:
            raise SqgenError(f"--print-slurm takes no {name}: Slurm starts the processes")
    each = options.local_count
    words = _with_engine(options.typed)
    if options.gpu == "all":
        raise SqgenError("--print-slurm: give the GPUs of a machine by numbers, such as --gpu 0,1")
    lines = [
        "#!/bin/bash",
        "#SBATCH --job-name=sqgen",
        "#SBATCH --output=%x-%j.out",
        f"#SBATCH --nodes={options.nodes}",
        f"#SBATCH --ntasks-per-node={each}",
        *([f"#SBATCH --gpus-per-node={each}"] if options.gpu is not None else []),
        "#SBATCH --cpus-per-task=4",
        f"#SBATCH --signal=INT@{_SNAPSHOT_SECONDS}  # a snapshot before the time is over",
        "##SBATCH --partition=NAME",
        "##SBATCH --time=24:00:00",
        "",
        "# sqgen runs on the first machine, a process of sqgen-caffe for each device.",
        "# The run folder, snapshots and data are at the same path on all.",
        "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK",
        f"exec {shell_join(words)}",
        "",
    ]
    return "\n".join(lines)


def _with_engine(typed: Sequence[str]) -> list[str]:
    """Return a command without what only prints it, and with the engine that srun starts."""
    own = list(typed)
    end = own.index("--") if "--" in own else len(own)
    words = [word for word in own[:end] if word != "--print-slurm"]
    return [*words, "--caffe", _ENGINE, *own[end:]]
