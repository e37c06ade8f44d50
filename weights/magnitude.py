"""Select a layer's weights by magnitude."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def largest_mask(weights: Array, count: int) -> Array:
    """Return which are the `count` weights of largest magnitude; of equal ones, the first are."""
    order = np.argsort(-np.abs(weights.reshape(-1)), kind="stable")
    mask = np.zeros(weights.size, dtype=bool)
    mask[order[:count]] = True
    return mask.reshape(weights.shape)
