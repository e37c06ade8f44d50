"""Quantizers: what holds for any input, PyTorch's fake quantization, straight-through gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs PyTorch, the extra sqgen[engine]")

from sqgen.engine.quantizers import (  # noqa: E402
    Quantizer,
    Shared,
    Uniform,
    asymmetric,
    symmetric,
    unsigned,
)

LIMITS = st.floats(1e-6, 1e6)
BITS = st.integers(2, 8)
SETTINGS = settings(max_examples=40, deadline=None, derandomize=True)


@st.composite
def quantizers(draw: st.DrawFn) -> tuple[Quantizer, int]:
    """A quantizer of any kind, and its bits."""
    bits, limit = draw(BITS), draw(LIMITS)
    kind = draw(st.sampled_from(["symmetric", "unsigned", "asymmetric", "shared"]))
    if kind == "shared":
        values = np.random.default_rng(draw(st.integers(0, 99))).normal(size=2**bits) * limit
        return Shared(torch.from_numpy(np.unique(values))), bits
    if kind == "asymmetric":
        return asymmetric(-limit * draw(st.floats(0, 2)), limit, bits), bits
    return (symmetric if kind == "symmetric" else unsigned)(limit, bits), bits


def numbers(quantizer: Quantizer, seed: int) -> Any:
    """Sorted numbers, most in the range of a quantizer, some beyond."""
    if isinstance(quantizer, Uniform):
        scale = float(quantizer.step) * quantizer.highest
    else:
        assert isinstance(quantizer, Shared)
        scale = float(quantizer.values.abs().max())
    values = torch.from_numpy(np.random.default_rng(seed).normal(size=800) * scale)
    return torch.cat([values, torch.zeros(1, dtype=values.dtype)]).sort().values


@SETTINGS
@given(quantizers(), st.integers(0, 99), st.sampled_from([torch.float64, torch.float32]))
def test_a_quantizer_is_monotone_idempotent_and_has_few_values(
    made: tuple[Quantizer, int], seed: int, dtype: Any
) -> None:
    quantizer, bits = made
    x = numbers(quantizer, seed).to(dtype)
    y = quantizer.quantize(x)
    assert y.dtype == dtype
    assert (y.diff() >= 0).all()
    assert torch.equal(quantizer.quantize(y), y)
    assert len(torch.unique(y)) <= 2**bits
    if isinstance(quantizer, Uniform):  # 0 is exact, so that padding and zeros of ReLU are
        assert not y[x == 0].any()


@SETTINGS
@given(quantizers(), st.integers(0, 99))
def test_the_error_in_the_range_is_at_most_half_a_step(
    made: tuple[Quantizer, int], seed: int
) -> None:
    quantizer, _ = made
    x = numbers(quantizer, seed)
    error = (quantizer.quantize(x) - x).abs()
    if isinstance(quantizer, Uniform):
        low, high = (
            (code - quantizer.zero) * quantizer.step
            for code in (quantizer.lowest, quantizer.highest)
        )
        inside = (x >= low) & (x <= high)
        assert (error[inside] <= quantizer.step / 2 * (1 + 1e-9)).all()
    else:
        assert isinstance(quantizer, Shared)
        nearest = (x[:, None] - quantizer.values).abs().min(1).values
        torch.testing.assert_close(error, nearest)


def test_ranges_are_those_of_the_definitions() -> None:
    def values(quantizer: Quantizer) -> list[float]:
        found: list[float] = torch.unique(
            quantizer.quantize(torch.linspace(-9, 9, 999).double())
        ).tolist()
        return found

    assert values(symmetric(3, 3)) == [-3, -2, -1, 0, 1, 2, 3]
    assert values(unsigned(3, 2)) == [0, 1, 2, 3]
    assert values(asymmetric(-1, 2, 2)) == [-1, 0, 1, 2]
    assert values(asymmetric(1, 3, 2)) == [0, 1, 2, 3]  # widened to 0
    assert values(Shared(torch.tensor([-1.0, 0.5, 4.0]))) == [-1, 0.5, 4]


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_uniform_agrees_with_fake_quantization_of_pytorch(bits: int) -> None:
    x = torch.randn(4000, dtype=torch.float32, generator=torch.Generator().manual_seed(bits)) * 2
    x.requires_grad_()
    step = 2.0**-bits  # exact, so that x / step and x * (1 / step) agree
    for quantizer in (
        symmetric(step * (2 ** (bits - 1) - 1), bits),
        asymmetric(-step, step * (2**bits - 2), bits),
    ):
        ours = quantizer(x)
        theirs = torch.fake_quantize_per_tensor_affine(
            x, step, int(quantizer.zero), quantizer.lowest, quantizer.highest
        )
        assert torch.equal(ours, theirs)
        weight = torch.linspace(-1, 1, len(x))
        assert torch.equal(*(torch.autograd.grad((y * weight).sum(), x)[0] for y in (ours, theirs)))


def test_each_channel_may_have_its_range() -> None:
    x = torch.randn(3, 4, 2, 2).double()
    limits = x.abs().amax((1, 2, 3), keepdim=True)
    whole = symmetric(limits, 3).quantize(x)
    for channel in range(3):
        torch.testing.assert_close(
            whole[channel], symmetric(float(limits[channel]), 3).quantize(x[channel])
        )


def test_the_gradient_of_shared_values_passes_everywhere() -> None:
    x = torch.linspace(-5, 5, 11).requires_grad_()
    y = Shared(torch.tensor([-1.0, 1.0]))(x)
    (gradient,) = torch.autograd.grad((y * torch.arange(11)).sum(), x)
    assert torch.equal(gradient, torch.arange(11.0))


def test_odd_numbers() -> None:
    x = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0])
    assert str(symmetric(1, 2).quantize(x).tolist()) == "[nan, 1.0, -1.0, 0.0]"
    assert str(Shared(torch.tensor([-1.0, 2.0])).quantize(x)[:3].tolist()) == "[nan, 2.0, -1.0]"
    assert unsigned(0, 8).quantize(torch.tensor([0.0, 1.0])).abs().max() < 1e-30
    half = torch.randn(99).bfloat16()
    assert torch.equal(
        symmetric(2, 8).quantize(half), symmetric(2, 8).quantize(half.float()).bfloat16()
    )
