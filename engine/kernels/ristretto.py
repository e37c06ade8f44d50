"""Ristretto's layers: Caffe's with weights, and in TEST activations, in formats of few bits.

They follow the GPU code of pmgysel/caffe 614963c (src/caffe/ristretto/layers/*.cu), in which powers
of two have fixed-point activations, too; the CPU code leaves these as they are. In TRAIN only the
weights are quantized, always stochastically. Gradients pass quantization unchanged, to weights of
full precision. In TEST a layer quantizes its bottoms where they are, so that layers that read
them later get them quantized (`ForwardPass`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812

from ...formats.schema import LRNParameter, QuantizationParameter
from ..number_formats import FixedPoint, Minifloat, PowersOfTwo, Rounding
from .base import (
    BlobValue,
    Kernel,
    LazyConcat,
    PassContext,
    Tensor,
    Tensors,
    Value,
    map_lazy,
    materialize,
    widen,
)
from .convolution import Convolution, InnerProduct
from .deconvolution import Deconvolution

_STOCHASTIC = QuantizationParameter.STOCHASTIC
# Streams of random numbers: of two blobs, then of each bottom and each top in turn.
_BLOBS, _BOTTOMS, _TOPS = 1, 3, 4


class _Formats(NamedTuple):
    """The number formats of a layer, rounding to the nearest; None is full precision."""

    weights: Rounding
    biases: Rounding | None
    bottoms: Rounding
    tops: Rounding


def _formats(param: QuantizationParameter) -> _Formats:
    """Return what quantization_param says (BaseRistrettoLayer::QuantizeWeights_gpu and others)."""
    if param.precision == QuantizationParameter.MINIFLOAT:
        minifloat = Minifloat(param.mant_bits, param.exp_bits)
        return _Formats(minifloat, minifloat, minifloat, minifloat)
    bottoms = FixedPoint(param.bw_layer_in, param.fl_layer_in)
    tops = FixedPoint(param.bw_layer_out, param.fl_layer_out)
    if param.precision == QuantizationParameter.INTEGER_POWER_OF_2_WEIGHTS:
        return _Formats(PowersOfTwo(param.exp_min, param.exp_max), None, bottoms, tops)
    weights = FixedPoint(param.bw_params, param.fl_params)
    return _Formats(weights, weights, bottoms, tops)


class _Quantized(Kernel):
    """A layer with weights: what the three of Ristretto share.

    Attributes:
        quantizes_bottoms: whether activations are quantized, as in TEST.
    """

    def set_up(self) -> None:
        """Read the number formats, and decide which values are rounded stochastically."""
        super().set_up()
        self._formats = _formats(self.param.quantization_param)
        self.quantizes_bottoms = self.phase == "TEST"
        is_stochastic = self.param.quantization_param.rounding_scheme == _STOCHASTIC
        self._stochastic_activations = is_stochastic
        self._stochastic_weights = is_stochastic or self.phase == "TRAIN"

    def quantize_bottom(self, context: PassContext, index: int, bottom: BlobValue) -> Value:
        """Return a bottom in its format."""
        value = bottom if isinstance(bottom, LazyConcat) else materialize(bottom)
        if self._stochastic_activations:
            value = materialize(value)
        stream, quantizer = _BOTTOMS + 2 * index, self._formats.bottoms
        return map_lazy(lambda part: self._activations(context, quantizer, stream, part), value)

    def forward(self, context: PassContext, bottoms: list[Any], blobs: Tensors) -> Tensors:
        """Compute the tops with quantized blobs; in TEST, quantize them."""
        made = super().forward(context, bottoms, self._quantized_blobs(context, blobs))
        tops = [materialize(top) for top in made]
        if self.phase == "TRAIN":
            return tops
        quantizer = self._formats.tops
        return [
            self._activations(context, quantizer, _TOPS + 2 * index, top)
            for index, top in enumerate(tops)
        ]

    def _quantized_blobs(self, context: PassContext, blobs: Tensors) -> Tensors:
        """Return weights and biases in their formats, the same for all of a batch."""
        formats = (self._formats.weights, self._formats.biases)
        result = []
        for number, (blob, quantizer) in enumerate(zip(blobs, formats, strict=False)):
            if quantizer is not None and self._stochastic_weights:
                noise = context.uniform(self._stream(_BLOBS + number), blob, per_batch=True)
                quantizer = replace(quantizer, noise=noise)
            result.append(blob if quantizer is None else quantizer(blob))
        return result

    def _activations(
        self, context: PassContext, quantizer: Rounding, stream: int, x: Tensor
    ) -> Tensor:
        if self._stochastic_activations:
            quantizer = replace(quantizer, noise=context.uniform(self._stream(stream), x))
        return quantizer(x)

    def _stream(self, number: int) -> int:
        return self.index + (number << 32)


class ConvolutionRistretto(_Quantized, Convolution):
    """conv_ristretto_layer.cu."""

    def set_up(self) -> None:
        """Leave the ReLU that follows to its layer in TEST: it gets quantized values."""
        super().set_up()
        self.fuses_relu = self.phase == "TRAIN"

    def _packed(
        self, context: PassContext, shape: tuple[int, ...], weight: Tensor, start: int
    ) -> Tensor:
        """Return the weights as they are where they differ in each pass, and else a cached form."""
        if not self._stochastic_weights:
            return super()._packed(context, shape, weight, start)
        return weight[:, start : start + shape[1]] if self.group == 1 else weight


class DeconvolutionRistretto(_Quantized, Deconvolution):
    """deconv_ristretto_layer.cu."""


class FcRistretto(_Quantized, InnerProduct):
    """fc_ristretto_layer.cu."""


class LRNRistretto(Kernel):
    """lrn_ristretto_layer.cu: LRN across channels, each intermediate result in minifloat.

    In both phases, and to the nearest. The gradient is that of LRN at the quantized scale and top.
    """

    def set_up(self) -> None:
        """Read the number format."""
        self._format = _formats(self.param.quantization_param).tops

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Normalize."""
        top: Tensor = _QuantizedLRN.apply(  # type: ignore[no-untyped-call]
            bottoms[0], self._format, self.param.lrn_param
        )
        return [top]


class _QuantizedLRN(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, to_format: Rounding, param: LRNParameter) -> Tensor:
        values = to_format(widen(x))
        scale = _lrn_scale(to_format(values * values), to_format, param)
        top = to_format(values * to_format(scale**-param.beta))
        ctx.save_for_backward(x, scale, top)
        ctx.param = param
        return top.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (x, scale, top), g, param = ctx.saved_tensors, gradients[0], ctx.param
        ratio = 2 * param.alpha * param.beta / param.local_size
        reach = param.local_size // 2
        ratios = F.pad(g * top / scale, [0, 0, 0, 0, reach, reach])
        sums = ratios.unfold(1, param.local_size, 1).sum(-1)
        return g * scale**-param.beta - ratio * x * sums, None, None


def _lrn_scale(squares: Tensor, to_format: Rounding, param: LRNParameter) -> Tensor:
    """Return k + alpha/n * sum of n squares, summed channel by channel as LRNFillScaleQ does.

    The running sum is rounded after each square that comes into the window, or leaves it.
    """
    channels, size = squares.shape[1], param.local_size
    ahead = size // 2
    total = torch.zeros_like(squares[:, 0])
    scales = []
    for head in range(channels + ahead):
        if head < channels:
            total = to_format(total + squares[:, head])
        if head >= size:
            total = to_format(total - squares[:, head - size])
        if head >= ahead:
            scales.append(to_format(param.k + to_format(total * (param.alpha / size))))
    return torch.stack(scales, 1)
