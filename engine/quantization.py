"""Simulated quantization: a net's layers as a file of bits has them.

Weights, and what layers read, are rounded to few values; sums, biases and other layers stay float.
The parameters keep their floats, which a training learns with straight-through gradients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from ..compress.bits_file import QUANTIZED_TYPES, QUANTIZER, SHARED, VALUES, BitsFile, Range
from ..errors import DesignError, NetError
from ..formats.schema import PHASES, NetParameter
from ..text import printable
from .calibration import activation_quantizer, activation_range, observe_data
from .executor import Executor
from .histograms import Histogram
from .parameters import to_caffemodel
from .quantizers import LayerQuantizers, Quantizer, Shared
from .weight_quantizers import Encoded, fit_uniform, follow


class Quantization:
    """How the layers of a net are quantized.

    Ranges of activations are found once, on images. Ranges of weights are always those of the
    weights as they are. So are the values that weights share, but in a training: it moves them with
    the weights, step by step.

    Args:
        file: the bits.
        net: its weights are fitted, and its data calibrates.
        trains: whether the weights are to change.

    Attributes:
        quantizers: the current ones, for `Executor.quantize` of this and of other nets with its
            weights; complete after `start`.

    Raises:
        DesignError: the file has a rule of no layer, or values that can't be.
        NetError: no layer has bits, or two with the same weights have different ones.
    """

    def __init__(self, file: BitsFile, net: Executor, trains: bool = False) -> None:
        self._file, self._net, self._trains = file, net, trains
        file.check_layers(net.definition.param.layer)
        wired = net.wiring.layers
        self._layers = {each.name: each.param for each in wired if each.type in QUANTIZED_TYPES}
        self._entropy_bits = file.entropy_bits(self._layers)
        others = (name for name in self._layers if name not in self._entropy_bits)
        self._weight_bits = file.weight_bits(others)
        self._activation_bits = file.activation_bits(self._layers)
        if not (self._entropy_bits or self._weight_bits or self._activation_bits):
            where = printable(file.source or net.definition.source)
            raise NetError(f"{where}: no {' or '.join(QUANTIZED_TYPES)} has bits; give some")
        self._check_values()
        self._check_common_weights()
        known = file.ranges
        self._ranges = {name: known[name] for name in self._activation_bits if name in known}
        self.quantizers = LayerQuantizers()

    @property
    def layers(self) -> list[str]:
        """Names of the layers whose weights, or what they read, have bits."""
        have_bits = self._weight_bits.keys() | self._activation_bits.keys()
        return [name for name in self._layers if name in have_bits]

    @property
    def uncalibrated(self) -> list[str]:
        """Names of the layers whose ranges of what they read are not known yet."""
        return [name for name in self._activation_bits if name not in self._ranges]

    def _check_values(self) -> None:
        for name, bits in self._weight_bits.items():
            values = self._file.values.get(name, ())
            where = f"{printable(self._file.source)}: [{VALUES}] '{printable(name)}'"
            if values and self._file.weight_kind != SHARED:
                raise DesignError(
                    f"{where}: its weights are {self._file.weight_kind}, and share none; write"
                    f' weights = "{SHARED}" in [{QUANTIZER}], or remove them'
                )
            if len(values) > 1 << bits:
                raise DesignError(f"{where}: has {len(values)}, and {bits} bits number {1 << bits}")

    def _check_common_weights(self) -> None:
        """Refuse layers that share weights, unless these have the same bits."""
        owners: dict[int, str] = {}
        bits = {**self._weight_bits, **self._entropy_bits}
        for name in self._layers:
            owner = owners.setdefault(id(self._net.parameter(name)), name)
            if bits.get(owner) != bits.get(name):
                raise NetError(
                    f"{printable(self._net.definition.source)}: layers '{printable(owner)}' and"
                    f" '{printable(name)}' have the same weights, so their bits can't differ"
                )

    def _check_weights(self) -> None:
        for name in (*self._weight_bits, *self._entropy_bits):
            if not self._net.parameter(name).data.isfinite().all():
                raise NetError(
                    f"{printable(self._net.definition.source)}: layer '{printable(name)}' has"
                    " weights that are nan or infinite, which no bits stand for; inspect them with"
                    " sqgen weights show"
                )

    def start(self) -> None:
        """Find the ranges that the file lacks on the net's data, and fit the weights.

        Raises:
            NetError: the net reads no data, or numbers that have no range; or weights are none.
        """
        self._check_weights()
        missing = self.uncalibrated
        if missing:
            self.calibrate(observe_data(self._net, missing, self._file.quantizer.images))
        self._quantize_bottoms()
        self._fit_weights()

    def calibrate(self, histograms: Mapping[str, Histogram]) -> None:
        """Find the ranges of layers from the histograms of what they read."""
        for name, histogram in histograms.items():
            bits = self._activation_bits[name]
            self._ranges[name] = activation_range(histogram, bits, self._file.quantizer)

    def _quantize_bottoms(self) -> None:
        # Two layers that read a blob alike have one quantizer, so that it is quantized once.
        made: dict[tuple[Range, int], Quantizer] = {}
        for name, bits in self._activation_bits.items():
            key = (self._ranges[name], bits)
            if key not in made:
                made[key] = activation_quantizer(*key, self._file.quantizer)
            self.quantizers.bottoms[name] = made[key]

    def _fit_weights(self) -> None:
        fitted = {name: self._fit(name) for name in (*self._weight_bits, *self._entropy_bits)}
        self.quantizers.weights.update({k: v for k, v in fitted.items() if v is not None})
        self._net.clear_weight_cache()

    def _fit(self, name: str) -> Quantizer | None:
        file, layer, weights = self._file, self._layers[name], self._net.parameter(name).data
        if name in self._weight_bits and file.weight_kind != SHARED:
            bits = self._weight_bits[name]
            return fit_uniform(layer, weights, file.weight_kind, bits, file.quantizer)
        if name in file.values:
            return Shared(torch.tensor(file.values[name], dtype=torch.float64))
        encoded = Encoded(layer, weights.shape, file)
        return encoded.values(weights) if self._trains else encoded

    def follow(self) -> None:
        """Fit the quantizers to weights that an update has changed."""
        for name, quantizer in self.quantizers.weights.items():
            if isinstance(quantizer, Shared):
                values = follow(quantizer.values, self._net.parameter(name).data)
                self.quantizers.weights[name] = Shared(values)
            else:
                fitted = self._fit(name)
                assert fitted is not None
                self.quantizers.weights[name] = fitted

    def calibrated(self) -> BitsFile:
        """Return the file with all that was found: a net needs no images with it."""
        values = {
            name: tuple(quantizer.values.tolist())
            for name, quantizer in self.quantizers.weights.items()
            if isinstance(quantizer, Shared)
        }
        return replace(self._file.resolved(), ranges=dict(self._ranges), values=values)

    def describe(self, integers: bool = False) -> str:
        """Return a line for the log; `integers` says that kernels of integers follow."""
        weights = [*self._weight_bits.values(), *self._entropy_bits.values()]
        activations = [*self._activation_bits.values()]
        parts = []
        if weights:
            kind = self._file.weight_kind if self._weight_bits else SHARED
            parts.append(f"weights of {len(weights)} layers to {_span(weights)} ({kind})")
        if activations:
            kind = self._file.quantizer.activations
            parts.append(f"what {len(activations)} layers read to {_span(activations)} ({kind})")
        how = "" if integers else " in simulation"
        return f"Quantized{how}: {', '.join(parts)}"


def _span(bits: Sequence[float]) -> str:
    least, most = min(bits), max(bits)
    return f"{least:g} bits" if least == most else f"{least:g} to {most:g} bits"


def quantized_model(net: Executor) -> NetParameter:
    """Return a net's parameters with weights as they are quantized, for any Caffe."""
    quantized = [
        parameter
        if quantizer is None
        else replace(parameter, data=quantizer.quantize(parameter.data))
        for parameter, quantizer in zip(net.parameters.unique, net.weight_quantizers(), strict=True)
    ]
    parameters = replace(net.parameters, unique=quantized)
    return to_caffemodel(net.name, parameters, PHASES[net.phase], diffs=False)
