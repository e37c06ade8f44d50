"""Fillers: the initial values of weights (include/caffe/filler.hpp).

The distributions are Caffe's; the generator is NumPy's, so that the same seed draws other numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, prod, sqrt

import numpy as np

from ..errors import NetError
from ..formats.schema import FillerParameter
from ..text import did_you_mean

Shape = tuple[int, ...]


def fill(filler: FillerParameter, shape: Shape, key: tuple[int, ...], where: str) -> np.ndarray:
    """Return a float32 array of `shape`.

    Args:
        filler: the FillerParameter.
        shape: of the blob.
        key: of the random numbers: a seed, then the numbers of net, layer and blob.
        where: the layer, for messages.

    Raises:
        NetError: an unknown filler, or one that does not fit the blob.
    """
    method = METHODS.get(filler.type)
    if method is None:
        hint = did_you_mean(filler.type, METHODS) or f"; one of {', '.join(METHODS)}"
        raise NetError(f"{where}: no filler '{filler.type}'{hint}")
    if filler.sparse != -1 and filler.type != "gaussian":
        raise NetError(f"{where}: filler {filler.type} takes no sparse; use gaussian")
    try:
        array = method(filler, shape, np.random.Generator(np.random.SFC64(list(key))))
    except _FillerError as error:
        raise NetError(f"{where}: {error}") from None
    return np.ascontiguousarray(array, dtype=np.float32).reshape(shape)


class _FillerError(ValueError):
    pass


def _constant(filler: FillerParameter, shape: Shape, random: np.random.Generator) -> np.ndarray:
    return np.full(shape, filler.value, dtype=np.float32)


def _uniform(filler: FillerParameter, shape: Shape, random: np.random.Generator) -> np.ndarray:
    low, high = filler.min, filler.max
    if not low <= high:
        raise _FillerError(f"filler uniform: min {low:g} is above max {high:g}")
    return low + (high - low) * random.random(shape, dtype=np.float32)


def _gaussian(filler: FillerParameter, shape: Shape, random: np.random.Generator) -> np.ndarray:
    mean, deviation = filler.mean, filler.std
    if not deviation > 0:
        raise _FillerError(f"filler gaussian: std {deviation:g} must be positive")
    values = mean + deviation * random.standard_normal(shape, dtype=np.float32)
    if filler.sparse >= 0:
        # `sparse` is the mean number of nonzero inputs of an output.
        outputs = shape[0] if shape else 1
        values *= random.random(shape, dtype=np.float32) < filler.sparse / outputs
    return values


def _positive_unitball(
    filler: FillerParameter, shape: Shape, random: np.random.Generator
) -> np.ndarray:
    rows = random.random((shape[0] if shape else 1, prod(shape[1:])), dtype=np.float32)
    unit: np.ndarray = rows / rows.sum(1, keepdims=True)
    return unit


def _fan(filler: FillerParameter, shape: Shape) -> float:
    count = prod(shape)
    fan_in = count // (shape[0] if shape else 1)
    fan_out = count // shape[1] if len(shape) > 1 else count
    fans = {
        FillerParameter.FAN_IN: fan_in,
        FillerParameter.FAN_OUT: fan_out,
        FillerParameter.AVERAGE: (fan_in + fan_out) / 2,
    }
    return float(fans[filler.variance_norm])


def _xavier(filler: FillerParameter, shape: Shape, random: np.random.Generator) -> np.ndarray:
    """Glorot and Bengio 2010."""
    scale = sqrt(3 / _fan(filler, shape))
    return scale * (2 * random.random(shape, dtype=np.float32) - 1)


def _msra(filler: FillerParameter, shape: Shape, random: np.random.Generator) -> np.ndarray:
    """He et al. 2015."""
    return sqrt(2 / _fan(filler, shape)) * random.standard_normal(shape, dtype=np.float32)


def _bilinear(filler: FillerParameter, shape: Shape, random: np.random.Generator) -> np.ndarray:
    if len(shape) != 4 or shape[2] != shape[3]:
        raise _FillerError(f"filler bilinear needs a square kernel, not {shape}")
    side = shape[3]
    factor = ceil(side / 2)
    center = (side - 1) / (2 * factor)
    line = 1 - np.abs(np.arange(side) / factor - center)
    return np.broadcast_to(line[:, None] * line[None, :], shape)


# Of the types in nets/lint.py.
METHODS: dict[str, Callable[[FillerParameter, Shape, np.random.Generator], np.ndarray]] = {
    "constant": _constant,
    "gaussian": _gaussian,
    "positive_unitball": _positive_unitball,
    "uniform": _uniform,
    "xavier": _xavier,
    "msra": _msra,
    "bilinear": _bilinear,
}
