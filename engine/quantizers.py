"""Quantizers: functions that leave few different numbers of many, with straight-through gradients.

A quantizer simulates: it takes floats and returns floats, which a few bits could number. Its
gradient is that of the identity where `passes` says so, and 0 elsewhere: the straight-through
estimator (Bengio et al., arXiv:1308.3432), clipped as in PACT (Choi et al., arXiv:1805.06085).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

Tensor = torch.Tensor
Limit = float | Tensor  # of a range: one, or a tensor that broadcasts over what is quantized
_TINIEST = float(torch.finfo(torch.float32).tiny)  # step of a range of zeros only


class Quantizer(ABC):
    """A function from numbers to a few of them.

    It is monotone, idempotent, keeps nan, and returns the dtype that it gets.
    """

    @abstractmethod
    def quantize(self, x: Tensor) -> Tensor:
        """Return the numbers that stand for those of `x`, in its shape."""

    def passes(self, x: Tensor) -> Tensor | None:
        """Return where the gradient passes, as booleans in the shape of `x`; None: everywhere."""
        return None

    def __call__(self, x: Tensor) -> Tensor:
        """Quantize, with straight-through gradients where `x` has any."""
        if torch.is_grad_enabled() and x.requires_grad:
            result: Tensor = _StraightThrough.apply(x, self)  # type: ignore[no-untyped-call]
            return result
        return self.quantize(x)

    def of_array(self, array: np.ndarray) -> np.ndarray:
        """Quantize a NumPy array."""
        return np.asarray(self.quantize(torch.from_numpy(array)).numpy())


class _StraightThrough(torch.autograd.Function):
    """The quantizer forward; backward the identity where the gradient passes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, quantizer: Quantizer) -> Tensor:
        ctx.save_for_backward(quantizer.passes(x))
        return quantizer.quantize(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (passes,) = ctx.saved_tensors
        return gradients[0] if passes is None else gradients[0] * passes, None


@dataclass(frozen=True, eq=False)
class Uniform(Quantizer):
    """Multiples of a step: code = clamp(round(x / step) + zero), value = (code - zero) * step.

    Half a step rounds to the even multiple, as IEEE 754 and integer kernels do.

    Attributes:
        step: above 0; float64, of no axis or of a shape that broadcasts over what is quantized.
        zero: the code of 0, a whole number of the same shape.
        lowest, highest: codes.
    """

    step: Tensor
    zero: Tensor
    lowest: int
    highest: int

    def quantize(self, x: Tensor) -> Tensor:
        """Round to the nearest of the values."""
        step, zero = self._like(x)
        return self.codes(x).sub_(zero).mul_(step).to(x.dtype)

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """The lowest and the highest value."""
        low, high = ((code - self.zero) * self.step for code in (self.lowest, self.highest))
        return low, high

    def codes(self, x: Tensor) -> Tensor:
        """Return the codes of numbers, as floats."""
        return self._unbounded_codes(x).clamp_(self.lowest, self.highest)

    def passes(self, x: Tensor) -> Tensor:
        """Return what rounds to a code within the range, as PyTorch's fake quantization does."""
        codes = self._unbounded_codes(x)
        return (codes >= self.lowest) & (codes <= self.highest)

    def _unbounded_codes(self, x: Tensor) -> Tensor:
        step, zero = self._like(x)
        return (x.to(step.dtype) / step).round_().add_(zero)

    def _like(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return step and zero for `x`, in its precision, but at least float32."""
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        return self.step.to(x.device, dtype), self.zero.to(x.device, dtype)


@dataclass(frozen=True, eq=False)
class Shared(Quantizer):
    """The nearest of some values; its gradient passes everywhere.

    Attributes:
        values: increasing, of one axis.
    """

    values: Tensor

    def quantize(self, x: Tensor) -> Tensor:
        """Return the nearest value of each number; halfway between two, the lower one."""
        values = self.values.to(x.device, x.dtype)
        middles = values[1:] / 2 + values[:-1] / 2  # halved first: large ones must not overflow
        nearest = values[torch.bucketize(x.contiguous(), middles)]
        return torch.empty_like(x).copy_(torch.where(x.isnan(), x, nearest))


def symmetric(limit: Limit, bits: int) -> Uniform:
    """Return the quantizer of -limit to limit, with step limit / (2^(bits-1) - 1).

    HAQ's of weights (Wang et al., arXiv:1811.08886, section 3.4). It has 2^bits - 1 values.
    """
    most = 2 ** (bits - 1) - 1
    step = _step(limit, most)
    return Uniform(step, torch.zeros_like(step), -most, most)


def unsigned(limit: Limit, bits: int) -> Uniform:
    """Return the quantizer of 0 to limit, with step limit / (2^bits - 1).

    HAQ's of activations that are not negative (section 3.4).
    """
    most = 2**bits - 1
    step = _step(limit, most)
    return Uniform(step, torch.zeros_like(step), 0, most)


def asymmetric(low: Limit, high: Limit, bits: int) -> Uniform:
    """Return the quantizer of low to high, widened to include 0, which is one of its 2^bits values.

    That shifts the range by up to half a step (Jacob et al., arXiv:1712.05877, section 2.1).
    """
    most = 2**bits - 1
    low, high = (torch.as_tensor(limit, dtype=torch.float64) for limit in (low, high))
    low, high = low.clamp(max=0), high.clamp(min=0)
    step = _step(high - low, most)
    return Uniform(step, (-low / step).round_().clamp_(0, most), 0, most)


def _step(width: Limit, steps: int) -> Tensor:
    return (torch.as_tensor(width, dtype=torch.float64) / steps).clamp(min=_TINIEST)


@dataclass
class LayerQuantizers:
    """The quantizers of a net, by name of the layer.

    Attributes:
        weights: of its first blob.
        bottoms: of what it reads; or other functions of each number.
    """

    weights: dict[str, Quantizer] = field(default_factory=dict)
    bottoms: dict[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)
