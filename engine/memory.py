"""Memory: what a net will need, what there is, and keeping what was used once."""

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
# For the glibc: from malloc.h, and the largest threshold that it takes.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_THRESHOLD = 32 << 20


def keep_freed_memory() -> None:
    """Let the allocator keep the memory of freed blobs for the next batch.

    By default it gives each large block back and gets it again, page by page, zeroed: a fifth of
    the time of a bf16 test.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in every C library
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def available_bytes() -> int | None:
    """Memory that can be had without swapping, of the machine and of the container; None if
    nothing tells."""
    found = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) << 10)
    except (OSError, ValueError):
        pass
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        if limit != "max":
            found.append(max(0, int(limit) - used))
    except (OSError, ValueError):
        pass
    if not found and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(found, default=None)


def parameter_bytes(layers: Sequence[WiredLayer], training: bool, element: int) -> int:
    """Bytes of all parameter blobs; in training with gradient, history and a copy to compute."""
    blobs = sum(prod(blob.shape) for layer in layers for blob in layer.blobs)
    return blobs * element * (4 if training else 2)


def blob_bytes(
    layers: Sequence[WiredLayer], training: bool, records: int, at_once: int, element: int
) -> int:
    """Bytes of the blobs between layers for the records that are computed at once.

    Args:
        layers: the net's.
        training: whether all are kept for the backward pass.
        records: of the batch that the shapes are for.
        at_once: of it, those in work at the same time.
        element: bytes of a number.
    """
    if training:
        elements = sum(_elements(_made(layer)) for layer in layers)
        elements += 2 * max((_elements(layer.top_shapes) for layer in layers), default=0)
    else:
        elements = max(
            (_elements(layer.bottom_shapes) + _elements(layer.top_shapes) for layer in layers),
            default=0,
        )
    return elements * element * at_once // max(1, records)


def _made(layer: WiredLayer) -> list[Shape]:
    """Tops that are blobs of their own: not in place, and not a split's."""
    if layer.type == "Split":
        return []
    return [
        shape
        for name, shape in zip(layer.tops, layer.top_shapes, strict=True)
        if name not in layer.bottoms
    ]


def _elements(shapes: Sequence[Shape]) -> int:
    return sum(map(prod, shapes))


def check(needed: int, what: str, remedy: str) -> None:
    """Refuse what does not fit, before it is allocated.

    Raises:
        NetError: with how much is needed, and how much there is.
    """
    available = available_bytes()
    if available is not None and needed > available:
        raise NetError(
            f"{what} need about {needed / GIB:.1f} GiB, and {available / GIB:.1f} GiB of memory"
            f" are free; {remedy}"
        )
