"""Round each weight to a shared value so that the errors of a filter cancel.

The input of a layer behind a ReLU is positive, and neighbouring pixels are alike. So an output
changes mainly with the sum of its filter's errors, and with their sum over the kernel of each
channel. With errors e, this reduces

    sum of e^2 + a (sum over a kernel of e)^2 + b (sum over the filter of e)^2

one weight at a time. It needs no data; SQuant (Guo et al. 2022) motivates the same three terms. On
the published weights at 6 bits it halves the divergence of the scores from the exact weights'.
"""

from __future__ import annotations

import numpy as np

KERNEL, FILTER = 0.3, 0.3  # a and b; 0.1 to 1 work about equally well
_SWEEPS = 2
_BLOCK = 1 << 20  # weights rounded at a time


def round_filters(
    filters: np.ndarray, values: np.ndarray, kept: np.ndarray | None = None
) -> np.ndarray:
    """Return the filters with every weight that is kept replaced by one of `values`.

    Args:
        filters: (filters, channels, weights of a kernel), float32.
        values: shared values, increasing, float32.
        kept: which weights get a value; the others become 0. None keeps all that are not 0.
    """
    rounded = np.zeros_like(filters)
    if not len(values):
        return rounded
    kept = filters != 0 if kept is None else kept
    rows = max(1, _BLOCK // max(1, filters[0].size)) if len(filters) else 1
    for at in range(0, len(filters), rows):
        block = np.s_[at : at + rows]
        rounded[block] = _round_block(filters[block], kept[block], values)
    return rounded


def _round_block(filters: np.ndarray, kept: np.ndarray, values: np.ndarray) -> np.ndarray:
    # Filters as the last axis: their weights at one position are rounded together.
    exact = np.ascontiguousarray(filters.transpose(1, 2, 0))
    is_kept = np.ascontiguousarray(kept.transpose(1, 2, 0))
    middles = values[1:] / 2 + values[:-1] / 2  # halved first: large ones must not overflow
    shared = np.where(is_kept, values[middles.searchsorted(exact)], np.float32(0))
    errors = shared - exact
    of_filters = errors.sum((0, 1))
    for _ in range(_SWEEPS):
        for channel in range(exact.shape[0]):
            of_kernels = errors[channel].sum(0)
            for position in range(exact.shape[1]):
                (rows,) = is_kept[channel, position].nonzero()
                if not len(rows):
                    continue
                at = (channel, position, rows)
                target, error = exact[at], errors[at]
                kernels, whole = of_kernels[rows] - error, of_filters[rows] - error
                pull = (KERNEL * kernels + FILTER * whole) / (1 + KERNEL + FILTER)
                new = values[middles.searchsorted(target - pull)]
                error = new - target
                shared[at], errors[at] = new, error
                of_kernels[rows], of_filters[rows] = kernels + error, whole + error
    return shared.transpose(2, 0, 1)
