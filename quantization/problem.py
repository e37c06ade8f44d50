"""Bits as a search problem: how many each layer gets, within the bytes of the very .sqz file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..compress.bits_file import MAXIMUM_BITS, MINIMUM_BITS
from ..errors import DesignError, NetError
from ..search.budget import budget_amount
from ..search.problem import Choice
from .layer_features import Features
from .layer_table import LayerTable

Score = Callable[[Choice], float]


class BitsProblem:
    """Which bits the layers of a net may have.

    Args:
        table: the layers.
        budget: of the file: a share of that with 8 bits everywhere, up to 1; above, bytes.
        features: of the layers.

    Attributes:
        limit: bytes of the file at most.
        score_bits: how bad a choice is; the less, the better. None until a search needs it.

    Raises:
        DesignError: no bits meet the budget, or all do.
    """

    def __init__(self, table: LayerTable, budget: float, features: Sequence[Features] = ()) -> None:
        self._table, self.features = table, features
        self.most, self.least = table.most, table.least
        self.score_bits: Score | None = None
        most, least = table.file_bytes(self.most), table.file_bytes(self.least)
        self.limit = int(budget_amount(budget, most))
        if self.limit >= most:
            raise DesignError(
                f"--bytes {budget:.15g}: with {MAXIMUM_BITS} bits everywhere the file has"
                f" {most:,} bytes, so there is nothing to choose; give less, or run"
                " sqgen compress encode"
            )
        if self.limit < least:
            raise DesignError(
                f"--bytes {budget:.15g}: can't be met; with {MINIMUM_BITS} bits everywhere the file"
                f" has {least:,} bytes ({least / most:.4f})"
            )

    def use(self, choice: Sequence[int]) -> float:
        """Return which part of the budget the file with these bits takes."""
        return self._table.file_bytes(choice) / self.limit

    def fits(self, choice: Sequence[int]) -> bool:
        """Whether the file with these bits is within the budget."""
        return self._table.file_bytes(choice) <= self.limit

    def score(self, choice: Sequence[int]) -> float:
        """Return how bad the net with these bits is.

        Raises:
            NetError: there are no images to tell.
        """
        if self.score_bits is None:
            raise NetError("a search needs images: give --data")
        return self.score_bits(tuple(choice))

    def uniform(self) -> Choice:
        """Return the most bits within the budget that all layers can have."""
        fitting = ((bits,) * len(self.most) for bits in range(MAXIMUM_BITS, MINIMUM_BITS - 1, -1))
        return next(choice for choice in fitting if self.fits(choice))
