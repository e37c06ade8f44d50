"""`caffe time`: every layer by itself, forward and backward, on the whole batch."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import torch

from . import glog
from .executor import Net
from .kernels.base import LazyConcat, PassContext
from .schedule import make_plan

MILLI = 1e3


class _Clocks:
    """Seconds of each layer, forward and backward."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.steps = {
            id(step.kernel.layer): step
            for step in make_plan(net.wiring, net.parameters, net.phase, fused=False)
        }
        self.forward = [0.0] * len(net.wiring.layers)
        self.backward = [0.0] * len(net.wiring.layers)

    def clear(self) -> None:
        """Start again."""
        self.forward = [0.0] * len(self.forward)
        self.backward = [0.0] * len(self.backward)

    def pass_forward(self) -> tuple[float, list[Any]]:
        """One batch through every layer: the loss, and what the way back needs."""
        net = self.net
        run = PassContext(net.leaves(), True, net.key(0))
        blobs: dict[str, Any] = {}
        loss, tape = 0.0, []
        feeds: dict[str, Any] | None = None
        for index, layer in enumerate(net.wiring.layers):
            start = perf_counter()
            step = self.steps.get(id(layer))
            if step is None:
                feeds = feeds or net.feeds()
                for name in layer.tops:
                    feed = feeds[name]
                    blobs[name] = feed.part(0, feed.records, net.fed, net.device)
            else:
                bottoms = [
                    _leaf(blobs[name], needed)
                    for name, needed in zip(layer.bottoms, layer.bottom_needs, strict=True)
                ]
                weights = [run.weights.tensors[number] for number in step.blobs]
                tops = step.kernel.forward(run, bottoms, weights)
                loss += _weighted(step, tops)
                if step.kernel.reduces and any(step.weights):
                    tops = [step.kernel.objective(run, bottoms), *tops[1:]]
                tape.append((index, layer, bottoms, weights, tops))
                blobs.update(zip(layer.tops, tops, strict=True))
            self._wait()
            self.forward[index] += perf_counter() - start
        net.passes += 1
        return loss, tape

    def pass_backward(self, tape: list[Any]) -> None:
        """The way back, layer by layer, from the gradients of the tops."""
        above: dict[int, torch.Tensor] = {}
        for index, layer, bottoms, weights, tops in reversed(tape):
            start = perf_counter()
            # Caffe's `time` asks every layer, whether a loss needs it or not.
            self._one_backward(layer, bottoms, weights, tops, above)
            self._wait()
            self.backward[index] += perf_counter() - start

    def _one_backward(
        self, layer: Any, bottoms: list[Any], weights: list[Any], tops: list[Any], above: Any
    ) -> None:
        wanted = [x for x in (*bottoms, *weights) if x.requires_grad]
        made = [top for top in tops if top.requires_grad]
        if not wanted or not made:
            return
        gradients = []
        for top in made:
            gradient = above.get(top.data_ptr())
            fits = gradient is not None and gradient.shape == top.shape
            gradients.append(gradient if fits else torch.ones_like(top))
        found = torch.autograd.grad(made, wanted, gradients, allow_unused=True)
        for tensor, gradient in zip(wanted, found, strict=True):
            if gradient is not None:
                above[tensor.data_ptr()] = gradient

    def _wait(self) -> None:
        if self.net.device.type == "cuda":
            torch.cuda.synchronize(self.net.device)


def _leaf(value: Any, needed: bool) -> torch.Tensor:
    whole: torch.Tensor = value.whole() if isinstance(value, LazyConcat) else value
    return whole.detach().requires_grad_(needed and whole.is_floating_point())


def _weighted(step: Any, tops: list[torch.Tensor]) -> float:
    pairs = zip(step.weights, tops, strict=True)
    return float(sum(weight * float(top.detach().sum()) for weight, top in pairs if weight))


def time_layers(net: Net, iterations: int) -> None:
    """Time `iterations` passes and log the table that `caffe time` prints."""
    net.check_whole_batch()
    clocks = _Clocks(net)
    glog.info("Performing Forward", "caffe.cpp:351")
    loss, tape = clocks.pass_forward()
    glog.info(f"Initial loss: {glog.format_number(loss)}", "caffe.cpp:356")
    glog.info("Performing Backward", "caffe.cpp:357")
    clocks.pass_backward(tape)
    del tape  # else it is there beside the next one
    clocks.clear()
    glog.info("*** Benchmark begins ***", "caffe.cpp:365")
    glog.info(f"Testing for {iterations} iterations.", "caffe.cpp:366")
    began = perf_counter()
    forward = backward = 0.0
    for index in range(iterations):
        start = perf_counter()
        _, tape = clocks.pass_forward()
        middle = perf_counter()
        clocks.pass_backward(tape)
        end = perf_counter()
        del tape
        forward += middle - start
        backward += end - middle
        spent = glog.format_number((end - start) * MILLI)
        glog.info(f"Iteration: {index + 1} forward-backward time: {spent} ms.", "caffe.cpp:394")
    total = perf_counter() - began
    _log_table(net, clocks, iterations)
    each = MILLI / max(1, iterations)
    for name, value, line in (
        ("Average Forward pass", forward * each, 408),
        ("Average Backward pass", backward * each, 410),
        ("Average Forward-Backward", total * each, 412),
        ("Total Time", total * MILLI, 414),
    ):
        glog.info(f"{name}: {glog.format_number(value)} ms.", f"caffe.cpp:{line}")
    glog.info("*** Benchmark ends ***", "caffe.cpp:415")


def _log_table(net: Net, clocks: _Clocks, iterations: int) -> None:
    glog.info("Average time per layer: ", "caffe.cpp:397")
    each = MILLI / max(1, iterations)
    rows = zip(net.wiring.layers, clocks.forward, clocks.backward, strict=True)
    for layer, forward, backward in rows:
        name = f"{layer.name:>10}"
        glog.info(f"{name}\tforward: {glog.format_number(forward * each)} ms.", "caffe.cpp:400")
        glog.info(f"{name}\tbackward: {glog.format_number(backward * each)} ms.", "caffe.cpp:403")
