"""Which device a command runs on, and one line where it can't."""

from __future__ import annotations

from typing import Any

import torch

from ..errors import NetError
from ..text import printable
from .flags import CommandLine

GPU = 1  # SolverParameter.SolverMode


def device_of(line: CommandLine, solver: Any = None, source: str = "") -> tuple[str, str]:
    """PyTorch's name of the device and Caffe's number of the GPU, empty for the CPU.

    Args:
        line: the flags; `--cpu` is above `--gpu`, and that above the solver.
        solver: a SolverParameter, whose solver_mode counts where no flag says anything.
        source: its file.

    Raises:
        NetError: a GPU that is not there, or several.
    """
    if line.on("cpu"):
        return "cpu", ""
    asked, by = line.text("gpu"), "--gpu"
    if not asked and solver is not None and solver.HasField("solver_mode"):
        if solver.solver_mode != GPU:
            return "cpu", ""
        asked, by = str(solver.device_id), f"solver_mode: GPU in {source}"
    if not asked:
        return "cpu", ""
    if asked == "all" or "," in asked:
        raise NetError(
            f"{by} {printable(asked)}: several GPUs are not supported yet; give one, or --cpu"
        )
    if not (asked.isascii() and asked.isdigit()):
        raise NetError(f"{by} {printable(asked)}: is no number of a GPU; give one, or --cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(asked) >= count:
        there = f"this machine has {count}" if count else "this machine has none that PyTorch sees"
        what = f"{by} asks for GPU {asked}" if by == "--gpu" else f"{by} asks for a GPU"
        raise NetError(f"Cannot use GPU: {what}, and {there}; --cpu runs it on the CPU")
    # As Caffe computes: float32 all the way, and the same twice.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    return f"cuda:{asked}", asked
