"""The device that a command runs on."""

from __future__ import annotations

import torch

from ..errors import NetError
from ..formats.schema import SolverParameter
from ..text import printable
from .flags import CommandLine


def select_device(
    line: CommandLine, solver: SolverParameter | None = None, source: str = ""
) -> tuple[str, str]:
    """Return PyTorch's name of the device and Caffe's number of the GPU, empty for the CPU.

    Args:
        line: the flags; `--cpu` overrides `--gpu`, which overrides the solver.
        solver: a SolverParameter, whose solver_mode decides where no flag does.
        source: its file.

    Raises:
        NetError: several GPUs, or one that this machine lacks.
    """
    if line.on("cpu"):
        return "cpu", ""
    gpu, origin = line.text("gpu"), "--gpu"
    if not gpu and solver is not None and solver.HasField("solver_mode"):
        if solver.solver_mode != SolverParameter.GPU:
            return "cpu", ""
        gpu, origin = str(solver.device_id), f"solver_mode: GPU in {source}"
    if not gpu:
        return "cpu", ""
    if gpu == "all" or "," in gpu:
        raise NetError(
            f"{origin} {printable(gpu)}: several GPUs are not supported yet; give one, or --cpu"
        )
    if not (gpu.isascii() and gpu.isdigit()):
        raise NetError(f"{origin} {printable(gpu)}: not a GPU number; give one, or --cpu")
    _check_present(gpu, origin)
    # As Caffe computes: float32 throughout, and deterministic.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    return f"cuda:{gpu}", gpu


def _check_present(gpu: str, origin: str) -> None:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(gpu) < count:
        return
    present = f"this machine has {count}" if count else "this machine has none that PyTorch sees"
    request = f"{origin} asks for GPU {gpu}" if origin == "--gpu" else f"{origin} asks for a GPU"
    raise NetError(f"Cannot use GPU: {request}, and {present}; --cpu runs it on the CPU")
