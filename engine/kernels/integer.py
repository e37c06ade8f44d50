"""Convolution in 8-bit integers, by oneDNN: exact sums of products of codes, as int32.

A sum becomes a float, gets its bias and its ReLU, and is rounded to a code of what reads it, in one
pass. Without AVX-VNNI or AVX-512 VNNI, oneDNN adds pairs of products in 16 bits, with saturation
(its developer guide, "Nuances of int8 Computations"): codes of two weights whose products are added
first then stay within 128 together, since 255 * 128 fits (`weight_quantizers.py`).
"""

from __future__ import annotations

from functools import cache
from math import prod
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812

from ..quantizers import Uniform
from .base import BlobValue, PaddedPlane, PassContext, Tensor, Tensors
from .codes import HIGHEST, CodeFormat, Codes, Encoder
from .convolution import Convolution

_OPERATORS = ("qconv_pointwise", "qconv_prepack")
_LARGEST_WEIGHT = 127
_TOO_LARGE_SUM = 1 << 31


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


class IntegerConvolution(Convolution):
    """A Convolution of codes.

    Args:
        plain: the layer's kernel, which may compute a ReLU.
        bottom: the quantizer of what it reads.
        weights: the quantizer of its weights, which has quantized them.
        top: the format of what it writes; None: floats.

    Attributes:
        top: likewise.
    """

    accepts_lazy_concat = False
    accepts_codes = True

    def __init__(
        self, plain: Convolution, bottom: Uniform, weights: Uniform, top: CodeFormat | None
    ) -> None:
        super().__init__(plain.layer, plain.index, plain.phase)
        self.relu = plain.relu
        self.encoder = Encoder(bottom)
        self._weights, self.top = weights, top

    def forward(self, context: PassContext, bottoms: list[Any], blobs: Tensors) -> list[BlobValue]:
        """Convolve each bottom, which is `Codes`."""
        bias = blobs[1] if len(blobs) > 1 else None
        return [self._convolve_codes(context, bottom, blobs[0], bias) for bottom in bottoms]

    def _convolve_codes(
        self, context: PassContext, x: Codes, weight: Tensor, bias: Tensor | None
    ) -> BlobValue:
        if self.top is None and self.pointwise and self.group == 1 and any(self.pad):
            y = self._call(context, x, weight, bias, [0, 0])
            border = bias if bias is not None else y.new_zeros(y.shape[1])
            return PaddedPlane(y, F.relu(border) if self.relu else border, self.pad)
        y = self._call(context, x, weight, bias, self.pad)
        return y if self.top is None else Codes(self.top.clamp(y), self.top)

    def _call(
        self, context: PassContext, x: Codes, weight: Tensor, bias: Tensor | None, pad: list[int]
    ) -> Tensor:
        packed, steps, zeros = self._packed_codes(context, x, weight, pad)
        result: Tensor = _CONVOLVE(
            x.codes.contiguous(memory_format=torch.channels_last),
            x.format.step,
            x.format.zero,
            packed,
            steps,
            zeros,
            bias,
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
        self, context: PassContext, x: Codes, weight: Tensor, pad: list[int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weights' codes in oneDNN's order, and step and zero of each channel."""
        key = (self.index, "codes", x.codes.shape[1:])
        found: tuple[Tensor, Tensor, Tensor] | None = context.weights.derived.get(key)
        if found is None:
            codes = self._weights.codes(weight).to(torch.int8)
            steps = self._weights.step.float().flatten().expand(len(weight)).contiguous()
            packed = _PACK(
                codes,
                steps,
                x.format.step,
                x.format.zero,
                self.stride,
                pad,
                self.dilation,
                self.group,
                list(x.codes.shape),
            )
            found = packed, steps, torch.zeros(len(weight), dtype=torch.int64)
            context.weights.derived[key] = found
        return found
