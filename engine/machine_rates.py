"""How many MACs this machine computes a second, and how many bytes it copies."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
import torch

from ..errors import NetError
from ..nets.definition import NetDefinition
from ..nets.shapes import require_shapes
from .api import Net

_WARM_UP = 3  # passes: the first make oneDNN's kernels
_COPIED = 1 << 26  # numbers: 256 MiB of float32, which no cache holds


def mac_rate(
    net: NetDefinition, precision: str, threads: int | None, iterations: int
) -> float | None:
    """Return MACs a second of forward passes of a net, the median; None if it can't run so.

    Args:
        net: a deploy net; its weights are random.
        precision: fp32, or int8.
        threads: that compute; None: one a core.
        iterations: passes.
    """
    shapes = require_shapes(net, "TEST")
    random = np.random.default_rng(0)
    images = {
        name: random.normal(0, 64, shape).astype(np.float32)
        for item in shapes.layers
        if item.layer.type == "Input"
        for name, shape in zip(item.layer.top, item.tops, strict=True)
    }
    calibration = images if precision == "int8" else None
    try:
        run = Net(net, precision=precision, threads=threads, calibration=calibration)
    except NetError:
        if precision == "fp32":
            raise
        return None
    macs = sum(item.macs for item in shapes.layers)
    return macs / _median_seconds(lambda: run.forward(images), iterations)


def copy_rate(threads: int | None, iterations: int) -> float:
    """Return the bytes a second that are read and written in copies of a large array."""
    if threads is not None:
        torch.set_num_threads(threads)
    source = torch.ones(_COPIED)
    target = torch.empty_like(source)
    seconds = _median_seconds(lambda: target.copy_(source), iterations)
    return 2 * source.numel() * source.element_size() / seconds


def _median_seconds(run: Callable[[], object], iterations: int) -> float:
    for _ in range(_WARM_UP):
        run()
    seconds = []
    for _ in range(iterations):
        start = perf_counter()
        run()
        seconds.append(perf_counter() - start)
    return median(seconds)
