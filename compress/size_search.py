"""Which price of a bit makes a file as small as asked: one price for all layers of a net."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import huffman
from .sharing import cheapest, points_of

DEAREST = 1e2  # all weights of a layer are one value then
_CHEAPEST = 1e-10
_HALVINGS = 13  # of the logarithm: to within a third of a percent of the price


class PricedLayer:
    """The weights of a layer, and the values they share at a price.

    A layer's squared error counts in units of the mean square of its weights times the root of
    their number. With their number itself each layer would get the same relative error, which is
    too rough for the large ones; without it each weight, which is too rough for the small ones.

    Args:
        weights: those that are not zero; one at least.
        finest: the same weights shared by as many values as a layer may have.
    """

    def __init__(self, weights: np.ndarray, finest: np.ndarray) -> None:
        exact = weights.astype(np.float64)
        self._points = points_of(exact)
        self._scale = float(np.mean(exact * exact)) * exact.size**0.5
        self._finest = np.unique(finest, return_counts=True)

    def at(self, price: float) -> tuple[np.ndarray, np.ndarray]:
        """The values, and how many weights each stands for."""
        found = cheapest(self._points, price * self._scale)
        return found if len(found[0]) < len(self._finest[0]) else self._finest


def price_for(layers: Sequence[PricedLayer], size: float, coded: bool) -> float | None:
    """The lowest price at which values and codes of all layers take at most `size` bytes.

    None where they take more at any price.
    """
    if _size_at(layers, DEAREST, coded) > size:
        return None
    low, high = _CHEAPEST, DEAREST
    for _ in range(_HALVINGS):
        price = (low * high) ** 0.5
        low, high = (low, price) if _size_at(layers, price, coded) <= size else (price, high)
    return high


def _size_at(layers: Sequence[PricedLayer], price: float, coded: bool) -> float:
    return sum(size_of(layer.at(price)[1], coded) for layer in layers)


def size_of(counts: np.ndarray, coded: bool) -> float:
    """Bytes of shared values and of the codes, each of which occurs so often."""
    counts = counts.astype(np.int64)
    width = (len(counts) - 1).bit_length()
    if not coded or len(counts) < 2:
        return 4 * len(counts) + int(counts.sum()) * width / 8
    return 4.5 * len(counts) + int((huffman.code_lengths(counts) * counts).sum()) / 8
