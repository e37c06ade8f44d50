"""Encode the positions of a sparse layer's weights: the number of zeros before each, in few bits.

Fillers bridge a gap that is too long; each advances by `step` positions.
"""

from __future__ import annotations

import numpy as np


def split(positions: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Split gaps that are too long by fillers.

    Args:
        positions: of the weights, increasing.
        step: positions that a filler advances by; every gap in the result is shorter.

    Returns:
        For every entry its gap (0 for a filler), and whether it is a weight.
    """
    gaps = np.diff(positions, prepend=-1) - 1
    fillers = gaps // step
    weights = np.cumsum(fillers + 1) - 1
    entries = len(positions) + int(fillers.sum())
    remainders = np.zeros(entries, np.int64)
    remainders[weights] = gaps - fillers * step
    is_weight = np.zeros(entries, bool)
    is_weight[weights] = True
    return remainders, is_weight


def join(steps: np.ndarray, size: int) -> np.ndarray:
    """Return the position that each entry reaches, from the number of positions it advances by.

    Raises:
        ValueError: a position is beyond `size`.
    """
    positions: np.ndarray = np.cumsum(steps, dtype=np.int64) - 1
    if len(positions) and positions[-1] >= size:
        raise ValueError(f"a position is past its {size:,} weights")
    return positions
