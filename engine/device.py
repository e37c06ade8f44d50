"""The device that a command runs on."""

from __future__ import annotations

import torch

from ..errors import NetError
from ..formats.schema import SolverParameter
from ..text import printable
from .distributed.environment import find_placement
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
        NetError: several GPUs where one is used, or one that this machine lacks.
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
    gpu = _gpu_of_rank(gpu, origin)
    if not (gpu.isascii() and gpu.isdigit()):
        raise NetError(f"{origin} {printable(gpu)}: not a GPU number; give one, or --cpu")
    _check_present(gpu, origin)
    # As Caffe computes: float32 throughout, and deterministic.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    return f"cuda:{gpu}", gpu


def _gpu_of_rank(gpu: str, origin: str) -> str:
    """Return the GPU of this process among those of a training on several."""
    placement = find_placement()
    if gpu != "all" and "," not in gpu:
        present = torch.cuda.device_count() if torch.cuda.is_available() else 0
        # A launcher may show each of its processes a GPU of its own, which is then number 0.
        if placement is not None and placement.local_world_size > 1 and present > 1:
            raise NetError(
                f"{origin} {printable(gpu)}: one GPU for {placement.local_world_size} processes on"
                " this machine; give --gpu all, or a list such as 0,1, or --cpu"
            )
        return gpu
    number = placement.local_rank if placement is not None else 0
    several = NetError(
        f"{origin} {printable(gpu)}: only train and test run on several GPUs; give one, or --cpu"
    )
    if gpu == "all":
        if placement is None and not (torch.cuda.is_available() and torch.cuda.device_count() == 1):
            raise several
        return str(number)
    words = gpu.split(",")
    if placement is None:
        raise several
    if number >= len(words):
        raise NetError(
            f"{origin} {printable(gpu)}: names {len(words)} GPUs for {placement.local_world_size}"
            " processes on this machine; give one for each, or --cpu"
        )
    return words[number]


def _check_present(gpu: str, origin: str) -> None:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(gpu) < count:
        return
    present = f"this machine has {count}" if count else "this machine has none that PyTorch sees"
    request = f"{origin} asks for GPU {gpu}" if origin == "--gpu" else f"{origin} asks for a GPU"
    raise NetError(f"Cannot use GPU: {request}, and {present}; --cpu runs it on the CPU")
