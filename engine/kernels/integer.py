"""Convolution in 8-bit integers, by oneDNN: exact sums of products of codes, as int32.

A sum becomes a float, gets its bias and its ReLU, and is rounded to a code of what reads it, in one
pass. Without AVX-VNNI or AVX-512 VNNI, oneDNN adds pairs of products in 16 bits, with saturation
(its developer guide, "Nuances of int8 Computations"): codes of two weights whose products are added
first then stay within 128 together, since 255 * 128 fits (`weight_quantizers.py`).
"""

from __future__ import annotations

from functools import cache
from math import prod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812

from ..quantizers import Uniform
from .base import BlobValue, PaddedPlane, PassContext, Tensor, Tensors
from .codes import HIGHEST, CodeFormat, Codes, Encoder
from .convolution import Convolution
from .normalization import AffineKernel

_OPERATORS = ("qconv_pointwise", "qconv_prepack")
_LARGEST_WEIGHT = 127
_TOO_LARGE_SUM = 1 << 31
_TINIEST = float(torch.finfo(torch.float32).tiny)


def has_integer_convolution() -> bool:
    """Return whether this PyTorch has oneDNN's convolution in integers."""
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and all(hasattr(torch.ops.onednn, name) for name in _OPERATORS)


@cache
def saturates() -> bool:
    """Return whether sums of products of 8 bits saturate on this processor: try the largest."""
    size, largest = 64, [HIGHEST, _LARGEST_WEIGHT]
    x, weight = (torch.full((size, size, 1, 1), value) for value in largest)
    steps, zeros = torch.ones(size), torch.zeros(size, dtype=torch.int64)
    window = ([1, 1], [0, 0], [1, 1], 1)
    x = x.to(torch.uint8).contiguous(memory_format=torch.channels_last)
    packed = _PACK(weight.to(torch.int8), steps, 1.0, 0, *window, list(x.shape))
    sums = _CONVOLVE(
        *(x, 1.0, 0, packed, steps, zeros, None), *window, *(1.0, 0, torch.float32, "none", [], "")
    )
    return bool((sums != size * prod(largest)).any())


if has_integer_convolution():
    _CONVOLVE = torch.ops.onednn.qconv_pointwise.default
    _PACK = torch.ops.onednn.qconv_prepack.default


def has_integer_kernel(
    plain: Convolution, weight: Tensor, bottom: Uniform, weights: Uniform
) -> bool:
    """Return whether `IntegerConvolution` computes a layer whose quantizers these are."""
    largest_sum = weight[0].numel() * HIGHEST * _LARGEST_WEIGHT
    return (
        len(plain.kernel) == 2
        and plain.axis == 1
        and not plain.end_pad()
        and largest_sum < _TOO_LARGE_SUM
        and bottom.step.numel() == 1
        and weights.step.numel() in (1, len(weight))
        and not weights.zero.any()
        and -weights.lowest <= _LARGEST_WEIGHT >= weights.highest
    )


class _Packed(NamedTuple):
    """The parameters of a convolution as its kernel takes them.

    Attributes:
        codes: of the weights, int8 in oneDNN's order.
        steps, zeros: of each output channel.
        bias: of each output channel, float32; or None.
    """

    codes: Tensor
    steps: Tensor
    zeros: Tensor
    bias: Tensor | None


class IntegerConvolution(Convolution):
    """A Convolution of codes.

    Args:
        plain: the layer's kernel, which may compute a ReLU.
        bottom: the quantizer of what it reads.
        weights: the quantizer of its weights, which has quantized them.

    Attributes:
        top: the format of what it writes; None: floats.
        affine: the layer behind it that it computes, too, whose blobs follow its own; or None.
    """

    accepts_lazy_concat = False
    accepts_codes = True

    def __init__(self, plain: Convolution, bottom: Uniform, weights: Uniform) -> None:
        super().__init__(plain.layer, plain.index, plain.phase)
        self.relu = plain.relu
        self.encoder = Encoder(bottom)
        self._weights = weights
        self.top: CodeFormat | None = None
        self.affine: AffineKernel | None = None

    def compute_affine(self, affine: AffineKernel) -> None:
        """Compute the layer behind it, too: its factors multiply the steps of the weights."""
        self.affine, self.relu = affine, affine.relu

    def forward(self, context: PassContext, bottoms: list[Any], blobs: Tensors) -> list[BlobValue]:
        """Convolve each bottom, which is `Codes`."""
        return [self._convolve_codes(context, bottom, blobs) for bottom in bottoms]

    def _convolve_codes(self, context: PassContext, x: Codes, blobs: Tensors) -> BlobValue:
        if self.top is None and self.pointwise and self.group == 1 and any(self.pad):
            packed = self._packed_codes(context, x, blobs, [0, 0])
            y = self._call(x, packed, [0, 0])
            border = packed.bias if packed.bias is not None else y.new_zeros(y.shape[1])
            return PaddedPlane(y, F.relu(border) if self.relu else border, self.pad)
        y = self._call(x, self._packed_codes(context, x, blobs, self.pad), self.pad)
        return y if self.top is None else Codes(self.top.clamp(y), self.top)

    def _call(self, x: Codes, packed: _Packed, pad: list[int]) -> Tensor:
        result: Tensor = _CONVOLVE(
            x.codes.contiguous(memory_format=torch.channels_last),
            x.format.step,
            x.format.zero,
            *packed,
            self.stride,
            pad,
            self.dilation,
            self.group,
            1.0 if self.top is None else self.top.step,
            0 if self.top is None else self.top.zero,
            torch.float32 if self.top is None else torch.uint8,
            "relu" if self.relu else "none",
            [],
            "",
        )
        return result

    def _packed_codes(
        self, context: PassContext, x: Codes, blobs: Tensors, pad: list[int]
    ) -> _Packed:
        """Return the weights and biases for a bottom; they don't depend on its batch."""
        key = (self.index, "codes", x.codes.shape[1:], self.affine is not None)
        found: _Packed | None = context.weights.derived.get(key)
        if found is None:
            weight, own = blobs[0], len(self.layer.blobs)
            codes = self._weights.codes(weight)
            steps = self._weights.step.flatten().expand(len(weight))
            bias = blobs[1] if own > 1 else None
            if self.affine is not None:
                codes, steps, bias = _fold(self.affine, blobs[own:], codes, steps, bias)
            steps = steps.float().contiguous()
            packed = _PACK(
                codes.to(torch.int8),
                steps,
                x.format.step,
                x.format.zero,
                self.stride,
                pad,
                self.dilation,
                self.group,
                list(x.codes.shape),
            )
            found = _Packed(packed, steps, torch.zeros(len(weight), dtype=torch.int64), bias)
            context.weights.derived[key] = found
        return found


def _fold(
    affine: AffineKernel, blobs: Tensors, codes: Tensor, steps: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return codes, steps and biases of a convolution that computes a layer behind it, too.

    A step is above 0: codes take the sign of the factor.
    """
    folded = affine.channel_affine(blobs)
    assert folded is not None
    factor, shift = folded
    sign = torch.where(factor < 0, -1.0, 1.0).to(codes.dtype)
    codes = codes * sign.reshape(-1, *[1] * (codes.dim() - 1))
    bias = shift if bias is None else shift + factor * bias
    return codes, (steps * factor.abs()).clamp(min=_TINIEST), bias.float()
