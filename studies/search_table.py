"""What searches found at equal budgets, as a table: means over seeds, with standard errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..report.table import table
from .experiment import mean


class Row(NamedTuple):
    """What a method found.

    Attributes:
        method, seed: of the search.
        cost: that is left, of what the budget limits.
        top1: on the images; None without labels.
        divergence, error: from the whole net, and the standard error over images.
        minutes: that the trials took.
    """

    method: str
    seed: int
    cost: float
    top1: float | None
    divergence: float
    error: float
    minutes: float


def summary_lines(rows: Sequence[Row], cost: str) -> list[str]:
    """Return the table; of one seed, standard errors are those over images.

    Args:
        rows: in order.
        cost: its name.
    """
    lines = []
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method]
        top1 = [100 * row.top1 for row in own if row.top1 is not None]
        lines.append(
            [
                *(method, f"{len(own)}", f"{max(row.cost for row in own):,g}"),
                _mean_text(top1, 1),
                _mean_text([row.divergence for row in own], 3, own[0].error),
                f"{sum(row.minutes for row in own) / len(own):.1f}",
            ]
        )
    heads = ["by", "seeds", f"{cost} at most", "top-1 %", "KL from the whole net", "minutes"]
    return table(heads, lines, right=(1, 2, 3, 4, 5))


def _mean_text(values: Sequence[float], digits: int, error: float | None = None) -> str:
    """Return a mean with its standard error; of one value, with the error given."""
    if not values:
        return ""
    if len(values) == 1:
        plus = "" if error is None else f" +- {error:.{digits}f}"
        return f"{values[0]:.{digits}f}{plus}"
    found = mean(values)
    return f"{found.value:.{digits}f} +- {found.error:.{digits}f}"
