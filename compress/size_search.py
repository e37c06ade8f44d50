"""Find the price of a bit, the same for all layers, at which a file has the requested size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from . import huffman
from .sharing import Sharing, SortedWeights, entropy_constrained

MAXIMUM_PRICE = 1e2  # all weights of a layer share one value
_MINIMUM_PRICE = 1e-10
_HALVINGS = 13  # of the logarithm: to within a third of a percent of the price


class PricedLayer:
    """The weights of a layer, and the values they share at a price.

    The unit of a layer's squared error is the mean square of its weights times the root of their
    number. With their number instead, all layers would get the same relative error, which is too
    much for large ones; without it, all weights would, which is too much for small layers.

    Args:
        weights: at least one of them is not 0.
        finest: the same weights rounded to as many values as the layer may have.

    Attributes:
        finest: how these are shared.
    """

    def __init__(self, weights: np.ndarray, finest: np.ndarray) -> None:
        self._sorted = SortedWeights(weights)
        self._scale = self._sorted.mean_square * self._sorted.count**0.5
        values, counts = np.unique(finest[finest != 0], return_counts=True)
        self.finest = Sharing(values, counts)

    def at(self, price: float) -> Sharing:
        """Return how weights are shared at a price."""
        sharing = entropy_constrained(self._sorted, price * self._scale)
        return sharing if len(sharing.values) < len(self.finest.values) else self.finest

    def at_bits(self, bits: float) -> Sharing:
        """Return how weights are shared at the price that so many bits a weight have.

        It is the slope of the rate-distortion function of Gaussian weights, D = s^2 4^-R (Shannon
        1959), there: what an error of 4^-bits of the mean square is worth.
        """
        slope = 2 * math.log(2) * 4.0**-bits
        return self.at(slope / self._sorted.count**0.5)

    def size_at(self, price: float, coded: bool) -> float:
        """Return about how many bytes values, codes and positions have at a price."""
        return self.estimate(self.at(price), coded)

    def estimate(self, sharing: Sharing, coded: bool) -> float:
        """Return about how many bytes values, codes and positions have.

        Args:
            sharing: of these weights.
            coded: whether the codes are Huffman coded.
        """
        counts = sharing.counts.astype(np.int64)
        if not len(counts):
            return 0.0
        kept, total = int(counts.sum()), self._sorted.total
        positions = _entropy(kept / total) * total / 8
        width = (len(counts) - 1).bit_length()
        if not coded or len(counts) < 2:
            return 4 * len(counts) + kept * width / 8 + positions
        codes = int((huffman.code_lengths(counts) * counts).sum())
        return 4.5 * len(counts) + codes / 8 + positions


def _entropy(share: float) -> float:
    """Return the bits that say whether one of things, of which a share is kept, is kept."""
    return -sum(part * math.log2(part) for part in (share, 1 - share) if part > 0)


def find_price(layers: Sequence[PricedLayer], size: float, coded: bool) -> float | None:
    """Return the lowest price at which all values, codes and positions fit into `size` bytes.

    Returns:
        The price; None if they are larger at any price.
    """

    def size_at(price: float) -> float:
        return sum(layer.size_at(price, coded) for layer in layers)

    if size_at(MAXIMUM_PRICE) > size:
        return None
    low, high = _MINIMUM_PRICE, MAXIMUM_PRICE
    for _ in range(_HALVINGS):
        price = (low * high) ** 0.5
        low, high = (low, price) if size_at(price) <= size else (price, high)
    return high
