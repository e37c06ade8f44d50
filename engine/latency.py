"""Time layers as a forward pass runs them: fused, in micro-batches, on all threads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import nan
from statistics import fmean, median
from time import perf_counter

import numpy as np
import torch

from ..formats.schema import NetParameter
from ..nets.definition import NetDefinition
from ..nets.latency_net import Branch, Point, latency_net
from ..nets.timed_layers import INPUT
from . import memory
from .executor import Executor
from .forward import ForwardPass
from .kernels.base import BlobValue, PassContext
from .microbatch import largest_blob
from .schedule import Step
from .wiring import wire_net
from .workers import RecordRange, Workers

_WARM_UP = 3  # passes: the first make oneDNN's kernels
_REFERENCE_PASSES = 60  # of the whole net, in the beginning
_CHECK_PASSES = 8  # of the whole net, before layers are timed and after
MILLI = 1e3


def block_of_filters() -> int:
    """Return how many filters oneDNN computes together: the float32 of a vector, 8 or 16."""
    return 16 if torch.backends.cpu.get_cpu_capability().startswith("AVX512") else 8


class LatencyMeter:
    """Times layers of a net, each in a branch of its own.

    A machine is slower at times, by other processes or other guests of its host. So the whole net
    runs before and after, and times are scaled by what it took in the beginning.

    Args:
        net: the whole net, whose largest blob decides how a batch is split.
        batch: images.
        iterations: passes of which each time is the median.
        workers: the threads.
        precision: of the executor.
    """

    def __init__(
        self, net: NetDefinition, batch: int, iterations: int, workers: Workers, precision: str
    ) -> None:
        memory.keep_freed_memory()
        self._net, self._batch, self._iterations = net, batch, iterations
        self._workers, self._precision = workers, precision
        self._largest = largest_blob(wire_net(net, "TEST", {}).layers)

    def __call__(self, points: Sequence[Point]) -> list[float]:
        """Return the milliseconds of each point; nan of `Input` (`whole_time` tells it)."""
        inner = [point for point in points if point.layer.kind.type != INPUT]
        reference = self._reference
        before = self._whole_time(_CHECK_PASSES)
        raw = self._branch_times(inner) if inner else []
        now = (before + self._whole_time(_CHECK_PASSES)) / 2
        times = iter(value * reference / now for value in raw)
        return [next(times) if point.layer.kind.type != INPUT else nan for point in points]

    def whole_time(self) -> float:
        """Return the milliseconds of a pass of the whole net, on the machine of the times."""
        return self._reference

    @cached_property
    def _reference(self) -> float:
        """The milliseconds of a pass of the whole net in the beginning."""
        self._whole_time(_WARM_UP)
        return self._whole_time(_REFERENCE_PASSES)

    @cached_property
    def _whole(self) -> tuple[Executor, dict[str, np.ndarray]]:
        """The whole net, and an input of zeros."""
        executor = self._executor(self._net.param)
        layers = executor.inputs.layers
        shapes = {
            n: s for layer in layers for n, s in zip(layer.tops, layer.top_shapes, strict=True)
        }
        return executor, {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}

    def _whole_time(self, passes: int) -> float:
        executor, arrays = self._whole
        seconds = []
        for _ in range(passes):
            start = perf_counter()
            executor.forward(arrays)
            seconds.append(perf_counter() - start)
        return median(seconds) * MILLI

    def _executor(self, param: NetParameter) -> Executor:
        return Executor(
            NetDefinition(param, "latency"),
            "TEST",
            workers=self._workers,
            precision=self._precision,
        )

    def _branch_times(self, points: Sequence[Point]) -> list[float]:
        param, branches = latency_net(points, self._batch)
        executor = self._executor(param)
        record_bytes = self._largest * executor.dtype.itemsize
        shares = [[(0, self._batch)]]
        if executor.splits_batches:
            shares = self._workers.split_batch(self._batch, record_bytes)

        def work(ranges: list[RecordRange]) -> list[float]:
            clock = _BranchClock(executor, branches, [end - start for start, end in ranges])
            return clock.medians(self._iterations)

        by_worker = self._workers.run(work, shares)
        return [fmean(times) for times in zip(*by_worker, strict=True)]


class _BranchClock:
    """The branches of a net, run by one worker on its micro-batches.

    Args:
        executor: of the net.
        branches: of the net.
        sizes: records of each micro-batch.
    """

    def __init__(
        self, executor: Executor, branches: Sequence[Branch], sizes: Sequence[int]
    ) -> None:
        self._sizes = sizes
        self._context = PassContext(executor.fixed_weights(), False, executor.random_key(0))
        steps = {step.layer.name: step for step in executor.steps}
        self._branches = [
            tuple([steps[n] for n in names if n in steps] for names in branch)
            for branch in branches
        ]
        inputs = {
            name: shape
            for layer in executor.wiring.layers
            if layer.type == INPUT
            for name, shape in zip(layer.tops, layer.top_shapes, strict=True)
        }
        self._inputs = [
            [_random_blobs(branch, inputs, size, executor.dtype) for size in sizes]
            for branch in self._branches
        ]

    def medians(self, iterations: int) -> list[float]:
        """Return the milliseconds of each branch: the median of passes."""
        with torch.inference_mode():
            passes = [self._time_pass() for _ in range(_WARM_UP + iterations)][_WARM_UP:]
        return [median(seconds) * MILLI for seconds in zip(*passes, strict=True)]

    def _time_pass(self) -> list[float]:
        """Run all branches on each micro-batch; return the seconds of each branch."""
        seconds = [0.0] * len(self._branches)
        for number in range(len(self._sizes)):
            for place, (context, timed) in enumerate(self._branches):
                # A copy is in the cache, as what the layer before has just written.
                blobs: dict[str, BlobValue] = {
                    name: blob.clone() for name, blob in self._inputs[place][number].items()
                }
                run = ForwardPass(self._context, blobs)
                run.run(context)
                start = perf_counter()
                run.run(timed)
                seconds[place] += perf_counter() - start
        return seconds


def _random_blobs(
    branch: Sequence[Sequence[Step]],
    inputs: dict[str, tuple[int, ...]],
    records: int,
    dtype: torch.dtype,
) -> dict[str, torch.Tensor]:
    """Return what a branch reads, in the memory order of blobs between layers."""
    names = {name for steps in branch for step in steps for name in step.bottoms}
    blobs = {}
    for name in sorted(names & inputs.keys()):
        blob = torch.rand(records, *inputs[name][1:]).to(dtype)
        is_image = blob.dim() == 4
        blobs[name] = blob.contiguous(memory_format=torch.channels_last) if is_image else blob
    return blobs
