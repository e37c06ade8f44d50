"""Ristretto's number formats, one number at a time, in exact arithmetic where there is one.

Written from base_ristretto_layer.cu and .cuh of pmgysel/caffe 614963c; shares no code with the
engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from sqgen.formats.schema import QuantizationParameter

from . import reference_layers
from .reference_layers import Array

Format = Callable[[float], float]


def fixed_point(x: float, bits: int, fraction: int, noise: float | None = None) -> float:
    """Saturate, then round to a multiple of 2^-fraction."""
    if math.isnan(x):
        return x
    step = Fraction(2) ** -fraction
    most = Fraction(2 ** (bits - 1) - 1) * step
    least = Fraction(-(2 ** (bits - 1))) * step
    inside = most if x == math.inf else least if x == -math.inf else Fraction(x)
    inside = max(min(inside, most), least)
    return float(_round(inside / step, noise) * step)


def minifloat(
    x: float, mantissa_bits: int, exponent_bits: int, noise: float | None = None
) -> float:
    """Keep sign and exponent, and the upper bits of the mantissa, rounded."""
    bits = int(np.float32(x).view(np.uint32))
    stored, sign = bits >> 23 & 255, -1 if bits >> 31 else 1
    bias = 2 ** (exponent_bits - 1) - 1
    exponent = stored - 127 + bias
    if math.isnan(x):
        return x
    if stored == 0 or exponent < 0:
        return 0.0
    unit = 2**mantissa_bits
    mantissa = _round(Fraction(bits & (1 << 23) - 1) * unit / (1 << 23), noise)
    if exponent > 2**exponent_bits - 1:
        exponent, mantissa = 2**exponent_bits - 1, unit - 1
    value = Fraction(mantissa + unit, unit) * Fraction(2) ** (exponent - bias)
    return sign * (float(value) if exponent - bias < 128 else math.inf)


def power_of_two(x: float, least: int, most: int, noise: float | None = None) -> float:
    """Round the logarithm; 0 has the least."""
    single = abs(float(np.float32(x)))
    exponent = -math.inf if not single else math.log2(single)
    if math.isfinite(exponent):
        exponent = _round(Fraction(exponent), noise)
    return math.copysign(2.0 ** max(min(exponent, most), least), x if x else 1)


def _round(x: Fraction, noise: float | None) -> int:
    return round(x) if noise is None else math.floor(x + Fraction(noise))


def each(function: Format, values: Any) -> Array:
    """Apply a function to every number of an array."""
    array = np.asarray(values, np.float64)
    return np.array([function(float(x)) for x in array.flat]).reshape(array.shape)


def formats(param: Any) -> dict[str, Format]:
    """The formats of a layer's weights, biases, bottoms and tops."""
    identity = float
    if param.precision == QuantizationParameter.MINIFLOAT:
        small: Format = lambda x: minifloat(x, param.mant_bits, param.exp_bits)  # noqa: E731
        return {"weights": small, "biases": small, "bottoms": small, "tops": small}
    activations: dict[str, Format] = {
        "bottoms": lambda x: fixed_point(x, param.bw_layer_in, param.fl_layer_in),
        "tops": lambda x: fixed_point(x, param.bw_layer_out, param.fl_layer_out),
    }
    if param.precision == QuantizationParameter.INTEGER_POWER_OF_2_WEIGHTS:
        power: Format = lambda x: power_of_two(x, param.exp_min, param.exp_max)  # noqa: E731
        return {"weights": power, "biases": identity, **activations}
    fixed: Format = lambda x: fixed_point(x, param.bw_params, param.fl_params)  # noqa: E731
    return {"weights": fixed, "biases": fixed, **activations}


def run_in_test(layer: Any, bottoms: list[Array], blobs: list[Array], plain: str) -> list[Array]:
    """The tops of a layer with weights in TEST; `plain` is the type that it quantizes."""
    found = formats(layer.quantization_param)
    bottoms = [each(found["bottoms"], bottom) for bottom in bottoms]
    pairs = zip(("weights", "biases"), blobs, strict=False)
    blobs = [each(found[what], blob) for what, blob in pairs]
    copy = type(layer)()
    copy.CopyFrom(layer)
    copy.type = plain
    result = reference_layers.run(copy, "TEST", bottoms, blobs)
    return [each(found["tops"], top) for top in result.tops]


def lrn(x: Array, param: Any, to_format: Format) -> tuple[Array, Array]:
    """The scale and the top of LRN across channels, (n, c, h, w) each, number by number."""
    scale, top = np.zeros_like(x), np.zeros_like(x)
    for n, h, w in np.ndindex(x.shape[0], *x.shape[2:]):
        pixel = [to_format(float(value)) for value in x[n, :, h, w]]
        for c, total in enumerate(_window_sums(pixel, param.local_size, to_format)):
            share = to_format(total * (param.alpha / param.local_size))
            scale[n, c, h, w] = to_format(param.k + share)
            power = to_format(scale[n, c, h, w] ** -param.beta)
            top[n, c, h, w] = to_format(pixel[c] * power)
    return scale, top


def _window_sums(pixel: list[float], size: int, to_format: Format) -> Iterator[float]:
    """A running sum of squares: first what comes into the window, then what leaves it."""
    behind = size - (size - 1) // 2 - 1
    total = 0.0
    for head in range(len(pixel) + behind):
        if head < len(pixel):
            total = to_format(total + to_format(pixel[head] ** 2))
        if head >= size:
            total = to_format(total - to_format(pixel[head - size] ** 2))
        if head >= behind:
            yield total
