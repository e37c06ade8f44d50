"""Fit quantizers to the weights of a layer: a uniform one of the best range, or shared values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch

from ..compress.bits_file import KL, MAXIMUM_BITS, MSE, PAIR, BitsFile, QuantizerSettings
from ..compress.encoding import Settings, share
from ..compress.weighted_layers import WeightedLayer
from ..formats.schema import LayerParameter
from .histograms import Histogram, HistogramCounter
from .quantizers import Quantizer, Shared
from .ranges import Counted, Rows, find_range, uniform
from .tensors import to_array

Tensor = torch.Tensor

_BLOCKED_INPUTS = 4  # of oneDNN's layouts for 8-bit weights, such as OIhw4i16o4i


def fit_uniform(
    layer: LayerParameter, weights: Tensor, kind: str, bits: int, settings: QuantizerSettings
) -> Quantizer:
    """Return the uniform quantizer of a layer's weights.

    Args:
        layer: a Convolution, Deconvolution or InnerProduct.
        weights: its first blob.
        kind: symmetric or asymmetric.
        bits: of a weight.
        settings: whether channels have ranges of their own, and how they are found.
    """
    whole, rule = weights.detach().cpu(), settings.weight_range
    channels = _Channels.of(layer, whole.shape) if settings.channels else None
    rows = whole.reshape(1, -1) if channels is None else channels.rows(whole)
    if rule == PAIR and bits == MAXIMUM_BITS:
        sums = _largest_sums(layer, whole)
        largest = sums if channels is not None else sums.max()
        limits = -largest.reshape(-1, 1), largest.reshape(-1, 1)
    else:
        numbers = Counted(_histogram(rows)) if rule == KL else Rows(rows)
        limits = find_range(
            numbers, MSE if rule == PAIR else rule, kind, bits, True, settings.percentile
        )
    if channels is None:
        low, high = (limit.reshape(()) for limit in limits)
    else:
        low, high = (channels.spread(limit) for limit in limits)
    return uniform(kind, (low, high), bits, signed=True)


def _largest_sums(layer: LayerParameter, weights: Tensor) -> Tensor:
    """Return the largest sum of two weights whose products are added first: (outputs,).

    Those of different signs cancel. Without VNNI, vpmaddubsw adds two of 4 inputs in a row, as
    oneDNN blocks them. Where inputs are blocked in another way, it is twice the largest weight.
    """
    outputs, inputs = weights.shape[:2]
    plain = layer.type == "Convolution" and layer.convolution_param.group == 1
    rows = weights.double()
    if not plain or weights.dim() != 4 or inputs % _BLOCKED_INPUTS:
        return 2 * _Channels.of(layer, weights.shape).rows(rows).abs().amax(1)
    blocks = rows.reshape(outputs, -1, _BLOCKED_INPUTS, *weights.shape[2:])
    sums = [(sign * blocks).clamp(min=0).topk(2, dim=2).values.sum(2) for sign in (1, -1)]
    return torch.stack(sums).amax(0).flatten(1).amax(1)


def _histogram(weights: Tensor) -> Histogram:
    counter = HistogramCounter()
    counter.add(weights)
    return counter.histogram()


@dataclass(frozen=True)
class _Channels:
    """Where the weights of each output channel are in a blob.

    Attributes:
        shape: of the blob, with its channels as axes of their own.
        axes: those of the channels.
        blob: the blob's own shape.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    blob: tuple[int, ...]

    @classmethod
    def of(cls, layer: LayerParameter, blob: Sequence[int]) -> _Channels:
        """Return those of a layer's first blob."""
        blob = tuple(blob)
        if layer.type == "Deconvolution":  # (inputs, outputs of a group, kernel)
            groups = layer.convolution_param.group
            return cls((groups, blob[0] // groups, blob[1], prod(blob[2:])), (0, 2), blob)
        transposed = layer.type == "InnerProduct" and layer.inner_product_param.transpose
        return cls(blob, (1 if transposed else 0,), blob)

    def rows(self, weights: Tensor) -> Tensor:
        """Return the weights as (channels, weights of a channel)."""
        rest = [axis for axis in range(len(self.shape)) if axis not in self.axes]
        count = prod(self.shape[axis] for axis in self.axes)
        return weights.reshape(self.shape).permute(*self.axes, *rest).reshape(count, -1)

    def spread(self, limits: Tensor) -> Tensor:
        """Return a number a channel in a shape that broadcasts over the blob."""
        sizes = [size if axis in self.axes else 1 for axis, size in enumerate(self.shape)]
        if self.shape == self.blob:
            return limits.reshape(sizes)
        groups, inputs, outputs, _ = self.shape
        kernel = [1] * (len(self.blob) - 2)
        whole = limits.reshape(sizes).expand(groups, inputs, outputs, 1)
        return whole.reshape(groups * inputs, outputs, *kernel)


class Encoded(Quantizer):
    """Weights as `compress encode` shares them, rounded so that the errors of a filter cancel.

    A layer that it does not share, such as a Deconvolution, keeps its weights.

    Args:
        layer: the layer, which has bits.
        shape: of its weights.
        file: has the bits.
    """

    def __init__(self, layer: LayerParameter, shape: Sequence[int], file: BitsFile) -> None:
        transposed = layer.type == "InnerProduct" and layer.inner_product_param.transpose
        self._layer = WeightedLayer(layer.name, layer.type, (tuple(shape),), transposed)
        self._settings = Settings(
            bits_for=tuple(file.weights.items()), entropy_bits_for=tuple(file.entropy.items())
        )

    def quantize(self, x: Tensor) -> Tensor:
        """Share the weights."""
        shared = share(self._layer, to_array(x).astype(np.float32), self._settings)
        return torch.empty_like(x).copy_(torch.from_numpy(shared))

    def values(self, weights: Tensor) -> Shared | None:
        """Return the values that weights share; None where they share none."""
        if not self._layer.is_shared:
            return None
        return Shared(torch.unique(self.quantize(weights.detach().cpu().double())))


def follow(values: Tensor, weights: Tensor) -> Tensor:
    """Move shared values to the means of the weights nearest to them: a step of Lloyd's algorithm.

    So HAQ (arXiv:1811.08886) retrains centroids. A value without weights stays, and so does 0,
    which stands for what was pruned.

    Args:
        values: increasing, float64.
        weights: in any shape.
    """
    flat = weights.detach().cpu().double().flatten()
    nearest = torch.bucketize(flat, values[1:] / 2 + values[:-1] / 2)
    counts = torch.bincount(nearest, minlength=len(values))
    sums = torch.bincount(nearest, flat, minlength=len(values))
    moves = (counts > 0) & (values != 0)
    return torch.where(moves, sums / counts.clamp(min=1), values)
