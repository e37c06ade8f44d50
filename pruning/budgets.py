"""Budgets: what a pruned net may cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..errors import DesignError
from .costs import NetCosts

NAMES = {"macs": "MACs", "parameters": "parameters"}


class Budget(NamedTuple):
    """How much of a resource a net may cost.

    Attributes:
        resource: `macs` or `parameters`.
        given: a share of the whole net's, up to 1; above, an amount.
    """

    resource: str
    given: float

    def amount(self, whole: int) -> float:
        """Return the amount.

        Raises:
            DesignError: it is none, or above what the whole net costs.
        """
        flag, name = f"--{self.resource}", NAMES[self.resource]
        if not self.given > 0:
            raise DesignError(
                f"{flag} {self.given:g}: give a share of the net's {name}, such as 0.7"
            )
        amount = self.given * whole if self.given <= 1 else self.given
        if amount > whole:
            raise DesignError(f"{flag} {self.given:,.0f}: the whole net has {whole:,} {name}")
        return amount


class Limits:
    """Budgets as amounts of a net.

    Args:
        budgets: one or more.
        costs: of the net.

    Raises:
        DesignError: a budget is out of range.
    """

    def __init__(self, budgets: Sequence[Budget], costs: NetCosts) -> None:
        self._costs = costs
        self._limits = {
            budget: budget.amount(costs.cost(budget.resource, ())) for budget in budgets
        }

    def use(self, removed: Sequence[int]) -> float:
        """Return the largest share of a budget that a net takes; above 1 it exceeds one."""
        return max(
            self._costs.cost(budget.resource, removed) / limit
            for budget, limit in self._limits.items()
        )

    def check_least(self, removed: Sequence[int]) -> None:
        """Check that the least that may be left of the net is within all budgets.

        Raises:
            DesignError: it is not; names the nearest budget that can be met.
        """
        for budget, limit in self._limits.items():
            left = self._costs.cost(budget.resource, removed)
            if left > limit:
                whole = self._costs.cost(budget.resource, ())
                raise DesignError(
                    f"--{budget.resource} {budget.given:g}: can't be met; {left:,}"
                    f" {NAMES[budget.resource]} ({left / whole:.4f}) are left at least"
                )
