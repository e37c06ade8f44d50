"""Budgets: what a pruned net may cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..errors import DesignError
from .costs import Resource


class Budget(NamedTuple):
    """How much of a resource a net may cost.

    Attributes:
        resource: such as MACs.
        given: a share of the whole net's, up to 1; above, an amount.
    """

    resource: Resource
    given: float

    @property
    def text(self) -> str:
        """The budget as it is typed."""
        is_share = not self.given > 1
        shown = f"{self.given:g}" if is_share else self.resource.text(self.given)
        return f"{self.resource.flag} {shown}"

    def amount(self, whole: float) -> float:
        """Return the amount.

        Raises:
            DesignError: it is none, or above what the whole net costs.
        """
        name = self.resource.name
        if not self.given > 0:
            raise DesignError(f"{self.text}: give a share of the net's {name}, such as 0.7")
        amount = self.given * whole if self.given <= 1 else self.given
        if amount > whole:
            raise DesignError(f"{self.text}: the whole net has {self.resource.text(whole)} {name}")
        return amount


class Limits:
    """Budgets as amounts of a net.

    Args:
        budgets: one or more, of resources of the net.

    Raises:
        DesignError: a budget is out of range.
    """

    def __init__(self, budgets: Sequence[Budget]) -> None:
        self._limits = {budget: budget.amount(budget.resource.cost(())) for budget in budgets}

    def use(self, removed: Sequence[int]) -> float:
        """Return the largest share of a budget that a net takes; above 1 it exceeds one."""
        return max(budget.resource.cost(removed) / limit for budget, limit in self._limits.items())

    def check_least(self, removed: Sequence[int]) -> None:
        """Check that the least that may be left of the net is within all budgets.

        Raises:
            DesignError: it is not; names the nearest budget that can be met.
        """
        for budget, limit in self._limits.items():
            resource = budget.resource
            left = resource.cost(removed)
            if left > limit:
                share = left / resource.cost(())
                raise DesignError(
                    f"{budget.text}: can't be met; {resource.text(left)} {resource.name}"
                    f" ({share:.4f}) are left at least"
                )
