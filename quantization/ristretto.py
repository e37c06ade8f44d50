"""Make a net of Ristretto: Caffe's layers in formats of few bits, chosen as Ristretto's tool does.

The widths are given; what remains is chosen from the largest absolute values of weights and
activations (quantization.cpp and Net::RangeInLayers of pmgysel/caffe 614963c). These are of the
TEST phase here, of which the formats are, where the tool runs ten batches of TRAIN.

    ranges = measure_ranges(deploy, model, images.batches)
    net = to_ristretto(train_val, ranges, {name: Widths(4, 8) for name in ranges})
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, frexp, isfinite, log2
from threading import Lock
from typing import NamedTuple

import numpy as np
import torch

from ..engine.executor import Executor
from ..engine.hooks import Hook
from ..engine.wiring import WiredLayer
from ..errors import DesignError, NetError
from ..formats.ristretto import RISTRETTO_TYPES
from ..formats.schema import LayerParameter, NetParameter, QuantizationParameter
from ..nets.definition import NetDefinition
from ..nets.graph import Top, build_graph
from ..text import printable

DYNAMIC_FIXED_POINT = "dynamic_fixed_point"
MINIFLOAT = "minifloat"
POWERS_OF_2 = "integer_power_of_2_weights"
TRIMMING_MODES = (DYNAMIC_FIXED_POINT, MINIFLOAT, POWERS_OF_2)  # the tool's --trimming_mode
# The types that the tool quantizes, and what they become.
_QUANTIZED = {"Convolution": "ConvolutionRistretto", "InnerProduct": "FcRistretto"}
_EXPONENTS = (-8, -1)  # of powers of two
_LEAST_EXPONENT_BITS = 4
_MOST_FRACTION = 126


class Ranges(NamedTuple):
    """The largest absolute values of a layer's bottom, top and weights, biases not counted.

    Those of blobs are of their last values, such as behind a ReLU in place.
    """

    bottom: float
    top: float
    weights: float


class Widths(NamedTuple):
    """Bits of a layer's weights and biases, and of what it reads."""

    weights: int
    activations: int


def measure_ranges(
    net: NetDefinition, model: NetParameter, batches: Iterable[np.ndarray]
) -> dict[str, Ranges]:
    """Run a net on images, and return the ranges of each layer that can be quantized, by name.

    Args:
        net: a deploy net with one input.
        model: its weights.
        batches: images, (batch, channels, height, width) each.

    Raises:
        NetError: no layer can be quantized, one is already, or its values are not finite.
    """
    layers = _layers_to_quantize(net)
    executor = Executor(net, "TEST")
    executor.load(model, net.source)
    top = executor.inputs.layers[0].tops[0]
    blobs = {name for layer in layers for name in (*layer.bottom, *layer.top)}
    largest = _LargestValues(net.layers("TEST"), blobs)
    for batch in batches:
        executor.forward({top: batch}, hooks=[largest])
    ranges = {}
    for layer in layers:
        weights = float(np.abs(executor.blobs(layer.name)[0]).max(initial=0.0))
        read, made = (
            float(np.max([largest.of_blob[name] for name in names]))  # keeps nan
            for names in (layer.bottom, layer.top)
        )
        found = Ranges(read, made, weights)
        if not all(map(isfinite, found)):
            raise NetError(
                f"{net.place(layer)}: layer '{printable(layer.name)}' has values that are nan or"
                " infinite on these images; check the weights and how images are preprocessed"
            )
        ranges[layer.name] = found
    return ranges


def _layers_to_quantize(net: NetDefinition) -> Sequence[LayerParameter]:
    layers = net.layers("TEST")
    done = next((layer for layer in layers if layer.type in RISTRETTO_TYPES), None)
    if done is not None:
        raise NetError(
            f"{net.place(done)}: layer '{printable(done.name)}' is quantized already; give the net"
            " that it was made of"
        )
    found = [layer for layer in layers if layer.type in _QUANTIZED]
    if not found:
        what = " or ".join(_QUANTIZED)
        raise NetError(f"{printable(net.source)}: has no {what} that could be quantized")
    return found


class _LargestValues(Hook):
    """Finds the largest absolute values that blobs end with.

    Args:
        layers: those of the net.
        blobs: names.

    Attributes:
        of_blob: by name, of all batches.
    """

    per_record = True

    def __init__(self, layers: Iterable[LayerParameter], blobs: Iterable[str]) -> None:
        self.of_blob = dict.fromkeys(blobs, 0.0)
        # Of the layers that work in place on a blob, the last.
        makers = {name: layer.name for layer in layers for name in layer.top}
        self.layers = frozenset(makers[name] for name in self.of_blob)
        self._lock = Lock()

    def after_forward(self, layer: WiredLayer, tops: Sequence[torch.Tensor]) -> None:
        """Note the values of its tops."""
        for name, top in zip(layer.tops, tops, strict=True):
            if name in self.of_blob:
                value = float(top.abs().max())
                with self._lock:  # threads run micro-batches
                    self.of_blob[name] = float(np.maximum(self.of_blob[name], value))  # keeps nan


def to_ristretto(
    net: NetDefinition,
    ranges: Mapping[str, Ranges],
    widths: Mapping[str, Widths],
    mode: str = DYNAMIC_FIXED_POINT,
) -> NetParameter:
    """Return a net whose layers of these names are Ristretto's; its weights are the net's own.

    Args:
        net: the net, in any of its forms: train_val or deploy.
        ranges: layer -> its ranges.
        widths: layer -> its bits. Layers that read the same blob read it in the most bits of these,
            since each quantizes it where it is; a layer makes a blob in the most bits of those that
            read it. With powers of two those of weights have no effect; minifloats have the bits of
            the weights everywhere.
        mode: one of `TRIMMING_MODES`.

    Raises:
        DesignError: a minifloat has too few bits for its exponent.
    """
    result = NetParameter()
    result.CopyFrom(net.param)
    exponent_bits = _exponent_bits(ranges.values()) if mode == MINIFLOAT else 0
    bits = {name: widths[name].activations for name in ranges}
    activations = _activation_widths(net.layers("TEST"), bits)
    for layer in result.layer:
        if layer.name in ranges and layer.type in _QUANTIZED:
            layer.type = _QUANTIZED[layer.type]
            param, found = layer.quantization_param, ranges[layer.name]
            if mode == MINIFLOAT:
                _set_minifloat(param, exponent_bits, widths[layer.name].weights)
                continue
            if mode == POWERS_OF_2:
                param.precision = QuantizationParameter.INTEGER_POWER_OF_2_WEIGHTS
                param.exp_min, param.exp_max = _EXPONENTS
            _set_activations(param, found, *activations[layer.name])
            if mode != POWERS_OF_2:
                _set_weights(param, found, widths[layer.name].weights)
    return result


def _activation_widths(
    layers: Iterable[LayerParameter], bits: Mapping[str, int]
) -> dict[str, tuple[int, int]]:
    """Return layer -> the bits of what it reads, and of what it makes.

    What no layer with bits reads, such as scores, has as many as any layer.
    """
    graph = build_graph(layers)
    quantized = [node for node in graph.nodes if node.layer.name in bits]
    read: dict[Top | None, int] = {}
    for node in quantized:
        for source in node.sources:
            read[source] = max(bits[node.layer.name], read.get(source, 0))
    wanted: dict[Top | None, int] = {}
    result: dict[str, tuple[int, int]] = {}
    for node in reversed(graph.nodes):
        tops = (wanted.get(Top(node.index, place), 0) for place in range(len(node.tops)))
        needed = max(tops, default=0)
        if node.layer.name in bits:
            made, needed = needed, max(read[source] for source in node.sources)
            result[node.layer.name] = needed, made or max(bits.values())
        for source in node.sources:
            wanted[source] = max(needed, wanted.get(source, 0))
    return result


def _set_activations(param: QuantizationParameter, ranges: Ranges, read: int, made: int) -> None:
    """Set formats of fixed point that have a bit less of integer length than the largest needs.

    So it saturates (Quantize2DynamicFixedPoint).
    """
    param.bw_layer_in, param.bw_layer_out = read, made
    param.fl_layer_in = _fraction(read - _ceil_log2(ranges.bottom))
    param.fl_layer_out = _fraction(made - _ceil_log2(ranges.top))


def _set_weights(param: QuantizationParameter, ranges: Ranges, bits: int) -> None:
    """Set a format of fixed point in which the largest weight does not saturate."""
    param.bw_params = bits
    param.fl_params = _fraction(bits - _ceil_log2(ranges.weights) - 1)


def _fraction(length: int) -> int:
    """Return a fractional length within what single precision has."""
    return max(-_MOST_FRACTION, min(length, _MOST_FRACTION))


def _ceil_log2(value: float) -> int:
    """Return ceil(log2(value)), exactly; 0 for zero, which any format holds."""
    mantissa, exponent = frexp(value)
    return exponent - (mantissa == 0.5)


def _exponent_bits(ranges: Iterable[Ranges]) -> int:
    """Return the exponent bits with which no activation saturates (Quantize2MiniFloat)."""
    largest = max(max(each.bottom, each.top) for each in ranges)
    needed = ceil(log2(log2(largest) - 1) + 1) if largest > 2 else 0
    return max(_LEAST_EXPONENT_BITS, needed)


def _set_minifloat(param: QuantizationParameter, exponent_bits: int, bits: int) -> None:
    if bits < exponent_bits + 2:
        raise DesignError(
            f"{bits} bits are too few for a minifloat of these activations: a sign, {exponent_bits}"
            f" of the exponent and 1 of the mantissa are {exponent_bits + 2}"
        )
    param.precision = QuantizationParameter.MINIFLOAT
    param.exp_bits, param.mant_bits = exponent_bits, min(bits - exponent_bits - 1, 23)
