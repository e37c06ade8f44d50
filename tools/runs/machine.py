"""What a result is of besides its net and data: versions, and the machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ... import __version__
from .engines import TORCH, Engine

_PACKAGES = ("torch", "numpy", "opencv-python-headless", "lmdb", "protobuf")


def versions(engine: Engine) -> dict[str, str]:
    """Of the engine and of what it computes with."""
    found = {"sqgen": __version__, "python": platform.python_version(), "engine": engine.version}
    if engine.kind == TORCH:
        found |= {name: told for name in _PACKAGES if (told := _version(name))}
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def machine() -> dict[str, Any]:
    """The processor, the cores we may use, the memory, the system and its GPUs."""
    from ...engine.cores import available_cores

    return {
        "processor": _processor(),
        "cores": available_cores(),
        "memory_bytes": _memory(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "gpus": gpus(),
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


def gpus() -> list[str]:
    """The NVIDIA GPUs that the driver knows, by their model; empty where there is none."""
    found = []
    for folder in sorted(Path("/proc/driver/nvidia/gpus").glob("*")):
        try:
            lines = (folder / "information").read_text().splitlines()
        except OSError:
            continue
        model = next((line.partition(":")[2].strip() for line in lines if "Model" in line), "GPU")
        found.append(model)
    return found
