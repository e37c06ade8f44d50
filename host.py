"""Facts about this machine: processor, available cores, memory, GPUs."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

PROC_STAT = Path("/proc/stat")
_METER_SECONDS = 0.3  # the least time that a CoreMeter measures: ticks are of 0.01 s


def python_words() -> tuple[str, ...]:
    """Return the words that start this Python, for `-m` and a module of sqgen behind them."""
    # -P: a random.py in the user's folder must not replace Python's own.
    here = {"", os.getcwd()} & set(sys.path)  # noqa: PTH109 - as sys.path has it
    safe = ("-P",) if sys.version_info >= (3, 11) and not here else ()
    return (sys.executable, *safe)


def available_cores() -> int:
    """Return the number of cores that this process may run on."""
    if sys.platform.startswith("linux"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class CoreMeter:
    """Measures from its creation on how many of the available cores other processes keep busy."""

    def __init__(self) -> None:
        self._start = _busy_seconds()

    def busy_cores(self) -> float:
        """Return the mean number of busy cores; 0 if it is unknown, or the time too short."""
        end = _busy_seconds()
        if self._start is None or end is None:
            return 0.0
        seconds, busy, own = (b - a for a, b in zip(self._start, end, strict=True))
        return max(0.0, (busy - own) / seconds) if seconds >= _METER_SECONDS else 0.0


def _busy_seconds() -> tuple[float, float, float] | None:
    """Return the time, the seconds that the available cores were busy, and this process's part.

    None where the system does not say (proc_stat(5)).
    """
    try:
        lines = PROC_STAT.read_text().splitlines()
        names = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        ticks = os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError):
        return None
    busy = 0
    for fields in map(str.split, lines):
        if fields and fields[0] in names:
            user, nice, system, _, _, irq, softirq, steal = map(int, fields[1:9])
            busy += user + nice + system + irq + softirq + steal
    return time.monotonic(), busy / ticks, time.process_time()


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


def cpu_flags() -> frozenset[str]:
    """Return the names of the processor's instruction sets, as Linux has them; none elsewhere."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    return frozenset()


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


def visible_gpus(gpus: list[str]) -> list[str]:
    """Return those of all GPUs that CUDA_VISIBLE_DEVICES leaves to this process, in its order."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return gpus
    visible = []
    for word in map(str.strip, chosen.split(",")):
        if word.startswith(("GPU-", "MIG-")):
            visible.append(word)
        elif word.isascii() and word.isdigit() and int(word) < len(gpus):
            visible.append(gpus[int(word)])
        else:
            break  # CUDA ignores what follows an invalid entry
    return visible
