"""Facts about this machine: processor, available cores, memory, GPUs."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any


def available_cores() -> int:
    """Return the number of cores that this process may run on."""
    if sys.platform.startswith("linux"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_machine() -> dict[str, Any]:
    """Return the processor, available cores, memory in bytes, system and GPUs."""
    return {
        "processor": _processor(),
        "cores": available_cores(),
        "memory_bytes": _memory(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "gpus": list_gpus(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def list_gpus() -> list[str]:
    """Return the models of the GPUs that the NVIDIA driver lists in /proc."""
    models = []
    for folder in sorted(Path("/proc/driver/nvidia/gpus").glob("*")):
        try:
            lines = (folder / "information").read_text().splitlines()
        except OSError:
            continue
        model = next((line.partition(":")[2].strip() for line in lines if "Model" in line), "GPU")
        models.append(model)
    return models
