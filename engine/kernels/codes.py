"""Blobs in 8 bits: the codes of a uniform quantizer, as integer kernels read and write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812

from ..quantizers import Uniform

Tensor = torch.Tensor
_SIGNED_ZERO = 128  # the unsigned code of 0 where a quantizer has codes below 0
HIGHEST = 255


class CodeFormat(NamedTuple):
    """What unsigned codes mean: value = (code - zero) * step.

    Attributes:
        step, zero: of the quantizer, with `zero` an unsigned code.
        lowest, highest: codes that occur.
    """

    step: float
    zero: int
    lowest: int
    highest: int

    @classmethod
    def of(cls, quantizer: Uniform) -> CodeFormat:
        """Return the format of a quantizer of one range, of at most 8 bits."""
        shift = _SIGNED_ZERO if quantizer.lowest < 0 else 0
        return cls(
            float(quantizer.step.float()),  # as it is applied to float32
            int(quantizer.zero) + shift,
            quantizer.lowest + shift,
            quantizer.highest + shift,
        )

    def clamp(self, codes: Tensor) -> Tensor:
        """Limit codes of 8 bits to those that occur, in place."""
        if self.lowest == 0 and self.highest == HIGHEST:
            return codes
        return codes.clamp_(self.lowest, self.highest)


class Codes:
    """A blob in 8 bits.

    Attributes:
        codes: uint8, channels last.
        format: their meaning.
    """

    def __init__(self, codes: Tensor, meaning: CodeFormat) -> None:
        self.codes, self.format = codes, meaning

    def materialize(self) -> Tensor:
        """Return the numbers, float32."""
        return self.codes.float().sub_(self.format.zero).mul_(self.format.step)

    def relu(self) -> Codes:
        """Return max(x, 0): 0 has a code."""
        return Codes(self.codes.clamp(min=self.format.zero), self.format)

    def max_pool(
        self, kernel: Sequence[int], stride: Sequence[int], pad: Sequence[int], out: Sequence[int]
    ) -> Codes:
        """Return the maxima of windows, none of which is wholly in the padding.

        PyTorch pools no uint8. Axis by axis over slices, it takes a fifth of the time of float32.

        Args:
            kernel, stride, pad: along both axes.
            out: windows along both axes, the last of which may reach beyond the plane.
        """
        x, ends = self.codes, list[int]()
        for axis in (3, 2):  # F.pad's order; code 0 is no more than any other
            i = axis - 2
            reach = (out[i] - 1) * stride[i] + kernel[i]
            ends += [pad[i], max(0, reach - x.shape[axis] - pad[i])]
        x = F.pad(x, ends) if any(ends) else x
        for axis in (2, 3):
            x = _max_along(x, axis, kernel[axis - 2], stride[axis - 2], out[axis - 2])
        return Codes(x, self.format)


def _max_along(x: Tensor, axis: int, kernel: int, stride: int, out: int) -> Tensor:
    """Return the maxima of windows along one axis."""
    y: Tensor | None = None
    for offset in range(kernel):
        index = [slice(None)] * 4
        index[axis] = slice(offset, offset + (out - 1) * stride + 1, stride)
        part = x[tuple(index)]
        y = part if y is None else torch.maximum(y, part)
    assert y is not None
    return y


@dataclass(frozen=True)
class Encoder:
    """Makes codes of what a layer reads.

    Attributes:
        quantizer: of one range, of at most 8 bits.
    """

    quantizer: Uniform

    @cached_property
    def format(self) -> CodeFormat:
        """What its codes mean."""
        return CodeFormat.of(self.quantizer)

    def __call__(self, bottom: Tensor | Codes) -> Codes:
        """Encode a bottom, unless it has these codes already."""
        if isinstance(bottom, Codes):
            if bottom.format == self.format:
                return bottom
            bottom = bottom.materialize()
        shift = self.format.lowest - self.quantizer.lowest
        codes = self.quantizer.codes(bottom.float()).add_(shift).to(torch.uint8)
        return Codes(codes, self.format)
