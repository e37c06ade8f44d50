"""Ristretto's number formats: fixed point, minifloat and powers of two.

Each follows the GPU code of Ristretto (src/caffe/ristretto/layers/base_ristretto_layer.cu): NEAREST
rounds halves to even, as its documentation says, where the CPU code rounds them away from 0. All
but nan, which is kept here, is as there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from .quantizers import Quantizer

Tensor = torch.Tensor
_BIAS, _MANTISSA = 127, 23  # of single precision
_SIGN = -(1 << 31)


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
        """Round the mantissa of each number, taken in single precision.

        On its bits, of which those of the exponent follow on the mantissa's: what is rounded up to
        a mantissa of 2 carries.
        """
        bits = x.float().view(torch.int32)
        size = bits & ~_SIGN
        dropped, bias = _MANTISSA - self.mantissa_bits, 2 ** (self.exponent_bits - 1) - 1
        highest = 2**self.exponent_bits - 1 - bias
        made = self._carried(size, dropped) & -(1 << dropped)
        least = max(_BIAS - bias, 1) << _MANTISSA  # 0 is the exponent of denormalized numbers
        made.masked_fill_(size < least, 0)
        if highest <= _BIAS:
            largest = ((highest + _BIAS + 1) << _MANTISSA) - (1 << dropped)
            made.masked_fill_(size >= (highest + _BIAS + 1) << _MANTISSA, largest)
        value = (made | (bits & _SIGN)).view(torch.float32).to(x.dtype)
        return torch.where(x.isnan(), x, value)

    def _carried(self, size: Tensor, dropped: int) -> Tensor:
        """Add to the bits of numbers what carries into those that are not dropped."""
        if not dropped:
            return size
        if self.noise is not None:
            return size + (self.noise * (1 << dropped)).to(torch.int32)
        return size + (size >> dropped & 1) + ((1 << (dropped - 1)) - 1)


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
