"""Time layers as a forward pass runs them: fused, in micro-batches, on all threads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from statistics import fmean, median
from threading import get_ident
from time import perf_counter

import numpy as np
import torch

from ..formats.schema import LayerParameter, NetParameter
from ..nets.definition import NetDefinition
from ..nets.latency_net import Branch, Point, latency_net
from ..nets.timed_layers import INPUT
from . import memory
from .executor import Executor
from .forward import ForwardPass
from .kernels.base import BlobValue, Kernel, PassContext, Tensors
from .microbatch import largest_blob
from .schedule import Step
from .wiring import WiredLayer, wire_net
from .workers import RecordRange, Workers

_WARM_UP = 3  # passes: the first make oneDNN's kernels
MILLI = 1e3


def block_of_filters() -> int:
    """Return how many filters oneDNN computes together: the float32 of a vector, 8 or 16."""
    return 16 if torch.backends.cpu.get_cpu_capability().startswith("AVX512") else 8


class LatencyMeter:
    """Times layers of a net, each in a branch of its own.

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
        """Return the milliseconds of each point."""
        inner = [point for point in points if point.layer.kind.type != INPUT]
        times = iter(self._branch_times(inner)) if inner else iter(())
        return [
            next(times) if point.layer.kind.type != INPUT else self._pass_time for point in points
        ]

    def _executor(self, param: NetParameter) -> Executor:
        return Executor(
            NetDefinition(param, "latency"),
            "TEST",
            workers=self._workers,
            precision=self._precision,
        )

    @cached_property
    def _pass_time(self) -> float:
        """The milliseconds of a pass of the whole net besides its steps."""
        executor = self._executor(self._net.param)
        first, last = _Stamp(), _Stamp()
        executor.steps = [first.step, *executor.steps, last.step]
        arrays = {
            name: np.zeros(shape, np.float32)
            for layer in executor.inputs.layers
            for name, shape in zip(layer.tops, layer.top_shapes, strict=True)
        }
        rest = []
        for _ in range(_WARM_UP + self._iterations):
            first.stamps, last.stamps = {}, {}
            start = perf_counter()
            executor.forward(arrays)
            seconds = perf_counter() - start
            inside = [sum(last.stamps[key]) - sum(first.stamps[key]) for key in first.stamps]
            rest.append(seconds - fmean(inside))
        return median(rest[_WARM_UP:]) * MILLI

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


class _Stamp(Kernel):
    """A step that notes when it runs.

    Attributes:
        stamps: seconds, by thread.
    """

    def __init__(self) -> None:
        layer = WiredLayer(LayerParameter(name="stamp"), [], [], [], [], [], [])
        super().__init__(layer, -1, "TEST")
        self.stamps: dict[int, list[float]] = {}
        self.step = Step(self, [], [], [], [], [])

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Compute nothing."""
        self.stamps.setdefault(get_ident(), []).append(perf_counter())
        return []


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
