"""Memory: estimate what a net needs, compare it with what is available, keep freed blocks."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from math import prod
from pathlib import Path

from ..errors import NetError
from ..nets.layer_types import Shape
from .wiring import WiredLayer

GIB = 1 << 30
# glibc's mallopt: options from malloc.h, and the largest mmap threshold that it accepts.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MAXIMUM_MMAP_THRESHOLD = 32 << 20


def keep_freed_memory() -> None:
    """Let the allocator keep the memory of freed blobs for the next batch.

    By default it returns each large block to the system and gets it back page by page, zeroed: a
    fifth of the time of a bf16 test.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in every C library
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAXIMUM_MMAP_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def available_bytes() -> int | None:
    """Return the memory free without swapping, on the machine and in the container, if known."""
    limits = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(int(line.split()[1]) << 10)
    except (OSError, ValueError):
        pass
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        if limit != "max":
            limits.append(max(0, int(limit) - used))
    except (OSError, ValueError):
        pass
    if not limits and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits, default=None)


def parameter_bytes(layers: Sequence[WiredLayer], training: bool, itemsize: int) -> int:
    """Return the bytes of all parameter blobs and their copies to compute with.

    Training adds gradients and history.
    """
    elements = sum(prod(blob.shape) for layer in layers for blob in layer.blobs)
    return elements * itemsize * (4 if training else 2)


def blob_bytes(
    layers: Sequence[WiredLayer], training: bool, records: int, at_once: int, itemsize: int
) -> int:
    """Return the bytes of the blobs between layers for the records computed at the same time.

    Args:
        layers: the net's.
        training: whether every blob is kept for the backward pass.
        records: number of records in the batch that the shapes describe.
        at_once: number of records computed at the same time.
        itemsize: bytes of an element.
    """
    if training:
        elements = sum(_count_elements(_allocated_tops(layer)) for layer in layers)
        elements += 2 * max((_count_elements(layer.top_shapes) for layer in layers), default=0)
    else:
        elements = max(
            (
                _count_elements(layer.bottom_shapes) + _count_elements(layer.top_shapes)
                for layer in layers
            ),
            default=0,
        )
    return elements * itemsize * at_once // max(1, records)


def quantized_bytes(layers: Sequence[WiredLayer], records: int, at_once: int, itemsize: int) -> int:
    """Return the bytes that the backward pass keeps of quantized bottoms, beside the bottoms.

    They are the values, and where gradients pass; the arguments are those of `blob_bytes`.
    """
    elements = sum(_count_elements(layer.bottom_shapes) for layer in layers)
    return elements * (itemsize + 1) * at_once // max(1, records)


def _allocated_tops(layer: WiredLayer) -> list[Shape]:
    """Return the shapes of tops with memory of their own: not in-place, not a Split's."""
    if layer.type == "Split":
        return []
    return [
        shape
        for name, shape in zip(layer.tops, layer.top_shapes, strict=True)
        if name not in layer.bottoms
    ]


def _count_elements(shapes: Sequence[Shape]) -> int:
    return sum(map(prod, shapes))


def require(needed: int, what: str, remedy: str) -> None:
    """Check that `needed` bytes of memory are available, before they are allocated.

    Args:
        needed: bytes.
        what: what needs them, in the plural, for the message.
        remedy: what the user can do.

    Raises:
        NetError: not enough memory; names the bytes needed and available.
    """
    available = available_bytes()
    if available is not None and needed > available:
        raise NetError(
            f"{what} need about {needed / GIB:.1f} GiB, and {available / GIB:.1f} GiB of memory"
            f" are free; {remedy}"
        )
