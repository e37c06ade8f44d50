"""`caffe time`: every layer by itself, forward and backward, on the whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import torch

from ..text import number_text
from . import glog
from .executor import Executor
from .hooks import Hook
from .wiring import WiredLayer

MILLI = 1e3


class LayerClock(Hook):
    """A hook that sums the seconds of each layer over batches, forward and backward.

    Attributes:
        forward, backward: seconds, by the layer's number in the net.
    """

    def __init__(self, executor: Executor) -> None:
        layers = executor.wiring.layers
        self.device = executor.device
        self.forward = [0.0] * len(layers)
        self.backward = [0.0] * len(layers)
        self._numbers = {id(layer): number for number, layer in enumerate(layers)}
        self._start = 0.0

    def before_forward(self, layer: WiredLayer, bottoms: Sequence[torch.Tensor]) -> None:
        """Start the clock."""
        self._start = perf_counter()

    def after_forward(self, layer: WiredLayer, tops: Sequence[torch.Tensor]) -> None:
        """Stop the clock."""
        self.forward[self._numbers[id(layer)]] += self._elapsed()

    def before_backward(self, layer: WiredLayer, tops: Sequence[torch.Tensor | None]) -> None:
        """Start the clock."""
        self._start = perf_counter()

    def after_backward(self, layer: WiredLayer, bottoms: Sequence[torch.Tensor | None]) -> None:
        """Stop the clock."""
        self.backward[self._numbers[id(layer)]] += self._elapsed()

    def _elapsed(self) -> float:
        if self.device.type == "cuda":  # kernels run asynchronously
            torch.cuda.synchronize(self.device)
        return perf_counter() - self._start


def time_layers(executor: Executor, iterations: int) -> None:
    """Time `iterations` batches and log the table that `caffe time` prints."""
    executor.check_whole_batch()
    executor.workers.log_busy_cores()
    glog.info("Performing Forward", "caffe.cpp:351")
    tape = executor.forward_on_tape()
    glog.info(f"Initial loss: {number_text(tape.loss)}", "caffe.cpp:356")
    glog.info("Performing Backward", "caffe.cpp:357")
    tape.backward_every_layer()
    del tape  # frees its blobs before the next batch
    glog.info("*** Benchmark begins ***", "caffe.cpp:365")
    glog.info(f"Testing for {iterations} iterations.", "caffe.cpp:366")
    clock = LayerClock(executor)
    start = perf_counter()
    forward = backward = 0.0
    for index in range(iterations):
        seconds = _time_batch(executor, clock)
        forward += seconds[0]
        backward += seconds[1]
        milliseconds = number_text(sum(seconds) * MILLI)
        glog.info(
            f"Iteration: {index + 1} forward-backward time: {milliseconds} ms.",
            "caffe.cpp:394",
        )
    total = perf_counter() - start
    _log_table(executor, clock, iterations)
    each = MILLI / max(1, iterations)
    for name, average, place in (
        ("Average Forward pass", forward * each, "caffe.cpp:408"),
        ("Average Backward pass", backward * each, "caffe.cpp:410"),
        ("Average Forward-Backward", total * each, "caffe.cpp:412"),
        ("Total Time", total * MILLI, "caffe.cpp:414"),
    ):
        glog.info(f"{name}: {number_text(average)} ms.", place)
    glog.info("*** Benchmark ends ***", "caffe.cpp:415")


def _time_batch(executor: Executor, clock: LayerClock) -> tuple[float, float]:
    """Run a batch forward and backward; return the seconds of each."""
    start = perf_counter()
    tape = executor.forward_on_tape(hooks=[clock])
    middle = perf_counter()
    tape.backward_every_layer([clock])
    return middle - start, perf_counter() - middle


def _log_table(executor: Executor, clock: LayerClock, iterations: int) -> None:
    glog.info("Average time per layer: ", "caffe.cpp:397")
    each = MILLI / max(1, iterations)
    rows = zip(executor.wiring.layers, clock.forward, clock.backward, strict=True)
    for layer, forward, backward in rows:
        name = f"{layer.name:>10}"
        glog.info(f"{name}\tforward: {number_text(forward * each)} ms.", "caffe.cpp:400")
        glog.info(f"{name}\tbackward: {number_text(backward * each)} ms.", "caffe.cpp:403")
