"""Which shared value each weight takes: the nearest, but for what makes a filter's errors cancel.

What comes into a layer behind a ReLU is positive, and neighbouring pixels are alike: an output
moves mainly with the sum of its filter's errors, and with their sum over the kernel of each
channel. So with errors e the sum of e^2 + a (sum over a kernel of e)^2 + b (sum over the filter of
e)^2 is made small, one weight after the other with the others as they are. That needs no data;
SQuant (Guo et al. 2022) motivates the same three terms. On the published weights at 6 bits it
halves the divergence of the scores from those of the exact weights.
"""

from __future__ import annotations

import numpy as np

KERNEL, FILTER = 0.3, 0.3  # a and b; anything from 0.1 to 1 is about as good
_SWEEPS = 2
_BLOCK = 1 << 20  # weights worked on at a time


def nearest(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The number of the nearest of rising `values` for each weight.

    Of two values with no float32 between them it may be either, for a weight that is one of them
    too: exact codes are looked up, not rounded to.
    """
    numbers: np.ndarray = _middles(values).searchsorted(weights)
    return numbers


def _middles(values: np.ndarray) -> np.ndarray:
    """Between each two neighbours; halved first, so that large ones don't overflow."""
    middles: np.ndarray = values[1:] / 2 + values[:-1] / 2
    return middles


def share(filters: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The filters with every weight that is not zero replaced by one of `values`.

    Args:
        filters: (filters, channels, weights of a kernel), float32.
        values: shared values, rising, float32.
    """
    made = np.zeros_like(filters)
    rows = max(1, _BLOCK // max(1, filters[0].size)) if len(filters) else 1
    for at in range(0, len(filters), rows):
        _share_block(filters[at : at + rows], values, made[at : at + rows])
    return made


def _share_block(filters: np.ndarray, values: np.ndarray, made: np.ndarray) -> None:
    # Kernels first, filters last: what is worked on together lies together.
    exact = np.ascontiguousarray(filters.transpose(1, 2, 0))
    there = exact != 0
    middles = _middles(values)
    shared = np.where(there, values[middles.searchsorted(exact)], np.float32(0))
    errors = shared - exact
    of_filters = errors.sum((0, 1))
    for _ in range(_SWEEPS):
        for channel in range(exact.shape[0]):
            of_kernels = errors[channel].sum(0)
            for place in range(exact.shape[1]):
                (here,) = there[channel, place].nonzero()
                if not len(here):
                    continue
                wanted, error = exact[channel, place, here], errors[channel, place, here]
                kernels, whole = of_kernels[here] - error, of_filters[here] - error
                pull = (KERNEL * kernels + FILTER * whole) / (1 + KERNEL + FILTER)
                new = values[middles.searchsorted(wanted - pull)]
                error = new - wanted
                shared[channel, place, here], errors[channel, place, here] = new, error
                of_kernels[here], of_filters[here] = kernels + error, whole + error
    made[:] = shared.transpose(2, 0, 1)
