"""A sequence of numbers as a line of block characters."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

BARS = "▁▂▃▄▅▆▇█"
NOT_FINITE = "\N{MULTIPLICATION SIGN}"


def sparkline(values: Sequence[float]) -> str:
    """Return a character for each number, between the lowest and the highest of them."""
    finite = [value for value in values if isfinite(value)]
    lowest, highest = min(finite, default=0.0), max(finite, default=0.0)
    step = (highest - lowest) / (len(BARS) - 1) or 1.0

    def character(value: float) -> str:
        return BARS[round((value - lowest) / step)] if isfinite(value) else NOT_FINITE

    return "".join(map(character, values))
