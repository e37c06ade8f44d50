"""How much compression changed the weights of a layer, and what it left of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .sqz_file import MAXIMUM_VALUES
from .weighted_layers import WeightedLayer

FLOAT_BITS = 32


class LayerChange(NamedTuple):
    """A layer before and after compression.

    Attributes:
        layer, type: its name and type.
        weights: number of elements of its first blob.
        density: fraction of them that are not 0.
        values: number of different values among them, without 0.
        bits: to number those values; 32 for a layer whose weights are not shared.
        error: norm of the change of its weights, pruning included, relative to their norm.
    """

    layer: str
    type: str
    weights: int
    density: float
    values: int
    bits: int
    error: float


def layer_change(layer: WeightedLayer, old: np.ndarray, new: np.ndarray) -> LayerChange:
    """Compare the weights of a layer before and after."""
    nonzero = new[new != 0]
    values = len(np.unique(nonzero))
    is_shared = layer.is_shared and values <= MAXIMUM_VALUES
    norm = float(np.linalg.norm(old.astype(np.float64)))
    change = float(np.linalg.norm(new.astype(np.float64) - old))
    return LayerChange(
        layer=layer.name,
        type=layer.type,
        weights=new.size,
        density=nonzero.size / new.size if new.size else 0.0,
        values=values,
        bits=max(values - 1, 0).bit_length() if is_shared else FLOAT_BITS,
        error=change / norm if norm else 0.0,
    )


def squared_change(
    old: Sequence[Sequence[np.ndarray]], new: Sequence[Sequence[np.ndarray]]
) -> float:
    """Return the sum of the squared changes of all first blobs."""
    pairs = zip(old, new, strict=True)
    return sum(float(np.sum(np.square(b[0].astype(np.float64) - a[0]))) for a, b in pairs)


def layer_changes(
    layers: Sequence[WeightedLayer],
    old: Sequence[Sequence[np.ndarray]],
    new: Sequence[Sequence[np.ndarray]],
) -> list[LayerChange]:
    """Compare the first blobs of each layer before and after."""
    rows = zip(layers, old, new, strict=True)
    return [layer_change(layer, before[0], after[0]) for layer, before, after in rows]
