"""Where the weights of a sparse layer are: the number of zeros before each, in few bits.

A gap that does not fit is bridged by fillers, each of which goes `step` positions on.
"""

from __future__ import annotations

import numpy as np


def split(positions: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaps with the fillers that they need.

    Args:
        positions: of the weights, rising.
        step: the positions that a filler takes: no gap is as long.

    Returns:
        For every entry its gap (0 for a filler), and whether it is a weight.
    """
    gaps = np.diff(positions, prepend=-1) - 1
    fillers = gaps // step
    weights = np.cumsum(fillers + 1) - 1
    entries = len(positions) + int(fillers.sum())
    rest = np.zeros(entries, np.int64)
    rest[weights] = gaps - fillers * step
    is_weight = np.zeros(entries, bool)
    is_weight[weights] = True
    return rest, is_weight


def join(taken: np.ndarray, size: int) -> np.ndarray:
    """The last position that each entry reaches, from the number that each takes.

    Raises:
        ValueError: that is past the end of `size` positions.
    """
    positions: np.ndarray = np.cumsum(taken, dtype=np.int64) - 1
    if len(positions) and positions[-1] >= size:
        raise ValueError(f"a position is past its {size:,} weights")
    return positions
