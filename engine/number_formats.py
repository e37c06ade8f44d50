"""Ristretto's number formats: fixed point, minifloat and powers of two.

Each follows the GPU code of Ristretto (src/caffe/ristretto/layers/base_ristretto_layer.cu): NEAREST
rounds halves to even, as its documentation says, where the CPU code rounds them away from 0. All
but nan, which is kept here, is as there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

import torch

from .quantizers import Quantizer

Tensor = torch.Tensor
_BIAS, _MANTISSA = 127, 23  # of single precision
_TINIEST = float(torch.finfo(torch.float32).tiny)


@dataclass(frozen=True, eq=False)
class Rounding(Quantizer):
    """A quantizer that rounds.

    Attributes:
        noise: uniform numbers in [0, 1), in the shape of what is quantized, for stochastic
            rounding; None rounds to the nearest, halves to even.
    """

    noise: Tensor | None = field(default=None, kw_only=True)

    def round(self, x: Tensor) -> Tensor:
        """Round; stochastically, a number goes up as often as its fraction says."""
        if self.noise is None:
            return x.round()
        down = x.floor()
        return down + (self.noise >= 1 - (x - down))


@dataclass(frozen=True, eq=False)
class FixedPoint(Rounding):
    """clamp(round(x * 2^f), -2^(b-1), 2^(b-1) - 1) * 2^-f: Trim2FixedPoint.

    Attributes:
        bits: the width b, sign included.
        fraction: the fractional length f, which may be negative or above the width.
    """

    bits: int
    fraction: int

    def quantize(self, x: Tensor) -> Tensor:
        """Round to the nearest multiple of 2^-f within the range."""
        scale, limit = 2.0**self.fraction, 2 ** (self.bits - 1)
        codes = self.round(_widened(x) * scale).clamp_(-limit, limit - 1)
        return codes.div_(scale).to(x.dtype)


@dataclass(frozen=True, eq=False)
class Minifloat(Rounding):
    """A float of few bits, without infinities and denormalized numbers: Trim2MiniFloat.

    What lies above its largest exponent becomes its largest number, what lies below its smallest
    one 0. A mantissa that is rounded up to 2 goes to the next exponent, even above the largest.

    Attributes:
        mantissa_bits, exponent_bits: without the sign's bit.
    """

    mantissa_bits: int
    exponent_bits: int

    def quantize(self, x: Tensor) -> Tensor:
        """Round the mantissa of each number, taken in single precision."""
        single = x.float()
        fraction, exponent = torch.frexp(single.abs())  # in [0.5, 1)
        exponent = (exponent - 1).masked_fill(single.isinf(), _BIAS + 1)  # as it is stored
        unit, bias = 2.0**self.mantissa_bits, 2 ** (self.exponent_bits - 1) - 1
        highest = 2**self.exponent_bits - 1 - bias
        largest = inf if highest > _BIAS else (2 - 1 / unit) * 2.0**highest
        mantissa = 1 + self.round((2 * fraction - 1) * unit) / unit
        value = (mantissa * _power_of_2(exponent)).to(x.dtype)
        value = value.masked_fill(exponent > highest, largest)
        value = value.masked_fill((exponent < -bias) | (single.abs() < _TINIEST), 0)
        return torch.where(x.isnan(), x, torch.where(single < 0, -value, value))


@dataclass(frozen=True, eq=False)
class PowersOfTwo(Rounding):
    """sign(x) * 2^clamp(round(log2|x|), least, most), and 2^least of 0: Trim2IntegerPowerOf2.

    Attributes:
        least, most: the exponents.
    """

    least: int
    most: int

    def quantize(self, x: Tensor) -> Tensor:
        """Round the logarithm of each number, taken in single precision."""
        fraction, exponent = torch.frexp(x.float().abs())  # in [0.5, 1)
        logarithm = (exponent - 1) + torch.log2(2 * fraction)  # exact for powers of two
        power = _power_of_2(self.round(logarithm).clamp_(self.least, self.most)).to(x.dtype)
        return torch.where(x.isnan(), x, torch.where(x >= 0, power, -power))


def _widened(x: Tensor) -> Tensor:
    return x.float() if x.dtype == torch.bfloat16 else x


def _power_of_2(exponent: Tensor) -> Tensor:
    """Return 2^exponent in single precision, exactly; PyTorch's exp2 may be off by a bit."""
    stored = exponent.nan_to_num().clamp(-_BIAS, _BIAS + 1).to(torch.int32) + _BIAS
    return (stored << _MANTISSA).view(torch.float32)
