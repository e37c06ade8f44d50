"""Budgets as they are typed: a share of what the whole net costs, or an amount."""

from __future__ import annotations

import math

from ..errors import DesignError
from ..text import printable


def parse_budget(flag: str, name: str, text: str) -> float:
    """Parse a budget: a share up to 1, or an amount.

    Args:
        flag: for errors.
        name: of the resource.
        text: as typed.

    Raises:
        DesignError: it is no number, or not above 0.
    """
    number = text.removesuffix("%")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if number != text and 0 < value <= 100:
        raise DesignError(f"{flag} {printable(text)}: write {value / 100:g}")
    if number != text or not 0 < value < math.inf:
        raise DesignError(
            f"{flag} {printable(text)}: give a share of the net's {name}, such as 0.7"
        )
    return value


def budget_amount(given: float, whole: float) -> float:
    """Return a budget as an amount.

    Args:
        given: a share of `whole`, above 0, up to 1; above, an amount.
        whole: what the whole net costs.
    """
    return given * whole if given <= 1 else given
