"""An order of classes in which those that are taken for each other stand together.

Hierarchical clustering with average linkage (Sokal and Michener 1958, "A statistical method for
evaluating systematic relationships"), by chains of nearest neighbours, which need O(n^2) steps
(Murtagh 1983, "A survey of recent advances in hierarchical clustering algorithms"). Where two
clusters join, each may be turned round, so that the most similar of their ends meet (Gruvaeus and
Wainer 1972, "Two additions to hierarchical cluster analysis").
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def order_classes(matrix: NDArray[Any]) -> list[int]:
    """Return the rows of a confusion matrix (M, M) in their order.

    Two classes are as similar as the parts of their images that are taken for each other, added.
    Clusters of classes that are never confused stand in the order of their lowest row.
    """
    return _Clusters(_similarity(matrix)).join()


def _similarity(matrix: NDArray[Any]) -> NDArray[np.float64]:
    images = matrix.sum(1, keepdims=True, dtype=np.float64)
    parts = matrix / np.maximum(images, 1)
    similarity: NDArray[np.float64] = parts + parts.T
    np.fill_diagonal(similarity, -1)  # below all others
    return similarity


class _Clusters:
    """Clusters of rows, each with the rows in their order; a joined one takes its first's place."""

    def __init__(self, similarity: NDArray[np.float64]) -> None:
        self._between_rows = similarity
        self._between = similarity.copy()
        self._rows = [[row] for row in range(len(similarity))]
        self._left = set(range(len(similarity)))

    def join(self) -> list[int]:
        """Join all clusters that are similar at all; return the rows."""
        finished, chain = [], list[int]()
        while self._left:
            chain = chain or [min(self._left)]
            nearest = self._nearest(chain)
            if self._between[chain[-1], nearest] <= 0:
                self._left.remove(chain[-1])
                finished.append(self._rows[chain.pop()])
            elif len(chain) > 1 and nearest == chain[-2]:
                self._merge(chain.pop(), chain.pop())
            else:
                chain.append(nearest)
        return [row for rows in sorted(finished, key=min) for row in rows]

    def _nearest(self, chain: list[int]) -> int:
        """Return the cluster nearest to the chain's last; of equals, the one before it."""
        near = self._between[chain[-1]]
        best = int(near.argmax())
        return chain[-2] if len(chain) > 1 and near[chain[-2]] >= near[best] else best

    def _merge(self, one: int, other: int) -> None:
        first, second = sorted((one, other))
        sizes = len(self._rows[first]), len(self._rows[second])
        joined = sizes[0] * self._between[first] + sizes[1] * self._between[second]
        joined /= sum(sizes)
        joined[[first, second]] = -1
        # What was joined before stays below all others.
        joined[(self._between[first] < 0) | (self._between[second] < 0)] = -1
        self._between[first] = self._between[:, first] = joined
        self._between[second] = self._between[:, second] = -1
        self._rows[first] = self._turned(self._rows[first], self._rows[second])
        self._left.remove(second)

    def _turned(self, first: list[int], second: list[int]) -> list[int]:
        """Return two rows of rows as one, turned so that similar ends meet."""
        ways = [(a, b) for a in (first, first[::-1]) for b in (second, second[::-1])]
        left, right = max(ways, key=lambda way: self._between_rows[way[0][-1], way[1][0]])
        return [*left, *right]
