"""Calibration: run a net on images, and count what some of its layers read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import isfinite

import torch

from ..compress.bits_file import QuantizerSettings, Range
from ..errors import NetError
from ..text import printable
from .executor import Executor
from .histograms import Histogram, HistogramCounter
from .quantizers import LayerQuantizers, Uniform
from .ranges import Counted, find_range, uniform

Tensor = torch.Tensor


@dataclass(frozen=True)
class Observer:
    """Counts what a layer reads, and leaves it as it is.

    Attributes:
        layer: its name.
        counter: of all numbers that it read.
    """

    layer: str
    counter: HistogramCounter = field(default_factory=HistogramCounter)

    def __call__(self, bottom: Tensor) -> Tensor:
        """Count a bottom of the layer, or a part of one."""
        self.counter.add(bottom)
        return bottom


def observe_bottoms(
    net: Executor, layers: Iterable[str], run: Callable[[], None]
) -> dict[str, Histogram]:
    """Count what layers read while `run` runs batches of a net, unquantized.

    Raises:
        NetError: a layer reads nan or infinite numbers, or none.
    """
    observers = {name: Observer(name) for name in layers}
    before = net.quantizers
    net.quantize(LayerQuantizers(bottoms=dict(observers)))
    try:
        run()
    finally:
        net.quantize(before)
    for observer in observers.values():
        _check(observer, net.definition.source)
    return {name: observer.counter.histogram() for name, observer in observers.items()}


def _check(observer: Observer, source: str) -> None:
    where = f"{printable(source)}: layer '{printable(observer.layer)}'"
    if not observer.counter.total:
        raise NetError(f"{where} read nothing to find its range on: calibrate on images")
    if not (isfinite(observer.counter.low) and isfinite(observer.counter.high)):
        raise NetError(
            f"{where} reads numbers that are nan or infinite, which have no range; check the"
            " weights and the images"
        )


def observe_data(net: Executor, layers: Iterable[str], images: int) -> dict[str, Histogram]:
    """Count what layers read of the first images of a net's own data, and rewind the data.

    Where several processes divide the data, these are the images that a single one would read.

    Args:
        net: the net, whose layers of data have loaders.
        layers: names of its layers.
        images: at least so many, in whole batches; or all that there are.

    Raises:
        NetError: as `observe_bottoms`; or the net reads no data.
    """
    if not net.loaders:
        raise NetError(
            f"{printable(net.definition.source)}: reads no images to find the ranges of activations"
            " on; give a train_val net, or a file of bits that has [ranges]"
        )
    batches = min(
        each.shards.batches(min(images, each.records), each.batch_size)
        for each in net.loaders.values()
    )
    passes = net.passes
    # BatchNorm in TRAIN changes its statistics in a forward pass, too.
    statistics = [(each, each.data.clone()) for each in net.parameters.unique if each.statistic]

    def run() -> None:
        for _ in range(batches):
            net.test_batch()

    with ExitStack() as stack:
        for loader in net.loaders.values():
            stack.enter_context(loader.undivided())
        try:
            return observe_bottoms(net, layers, run)
        finally:
            for parameter, values in statistics:
                parameter.data.copy_(values)
            net.passes = passes


def activation_range(histogram: Histogram, bits: int, settings: QuantizerSettings) -> Range:
    """Return the range in which what a layer reads is quantized, from its histogram."""
    low, high = find_range(
        Counted(histogram),
        settings.activation_range,
        settings.activations,
        bits,
        histogram.low < 0,
        settings.percentile,
    )
    return float(low), float(high)


def activation_quantizer(limits: Range, bits: int, settings: QuantizerSettings) -> Uniform:
    """Return the quantizer of what a layer reads; symmetric from 0 on if nothing is below."""
    low, high = (torch.tensor(limit, dtype=torch.float64) for limit in limits)
    return uniform(settings.activations, (low, high), bits, signed=limits[0] < 0)
