"""Budgets: what a pruned net may cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..errors import DesignError
from ..search.budget import budget_amount
from .costs import Resource

if TYPE_CHECKING:
    from .pruned_net import PrunedNet


class Budget(NamedTuple):
    """How much of a resource a net may cost.

    Attributes:
        resource: such as MACs.
        given: a share of the whole net's, above 0, up to 1; above, an amount.
    """

    resource: Resource
    given: float

    @property
    def text(self) -> str:
        """The budget as it is typed."""
        is_share = not self.given > 1
        shown = f"{self.given:g}" if is_share else self.resource.text(self.given)
        details = f" {self.resource.details}" if self.resource.details else ""
        return f"{self.resource.flag} {shown}{details}"

    def amount(self, whole: float) -> float:
        """Return the amount.

        Raises:
            DesignError: it is above what the whole net costs.
        """
        name = self.resource.name
        amount = budget_amount(self.given, whole)
        if amount > whole:
            raise DesignError(f"{self.text}: the whole net has {self.resource.text(whole)} {name}")
        return amount


class Spent(NamedTuple):
    """What a net takes of a resource, before and after its pruning."""

    resource: Resource
    before: float
    after: float


class Limits:
    """Budgets as amounts of a net.

    Args:
        budgets: one or more, of resources of the net.

    Raises:
        DesignError: a budget is out of range.
    """

    def __init__(self, budgets: Sequence[Budget]) -> None:
        self._limits = {budget: budget.amount(budget.resource.exact(())) for budget in budgets}

    @property
    def are_estimated(self) -> bool:
        """Whether `use` estimates, so that a net within the budgets has to be measured."""
        return any(budget.resource.is_estimate for budget in self._limits)

    def use(self, removed: Sequence[int]) -> float:
        """Return the largest share of a budget that a net takes; above 1 it exceeds one."""
        return max(budget.resource.cost(removed) / limit for budget, limit in self._limits.items())

    def measure(self, removed: Sequence[int], pruned: PrunedNet) -> float:
        """Return the same of a pruned net, exactly; estimates learn from it."""
        return max(
            budget.resource.measure(removed, pruned) / limit
            for budget, limit in self._limits.items()
        )

    def check_least(self, removed: Sequence[int], pruned: PrunedNet | None = None) -> None:
        """Check that the least that may be left of the net is within all budgets.

        Args:
            removed: roots of the groups that go.
            pruned: what is left, with its weights as they were reconstructed, if they were.

        Raises:
            DesignError: it is not; names the nearest budget that can be met.
        """
        for budget, limit in self._limits.items():
            resource = budget.resource
            least = resource.exact(removed) if pruned is None else resource.measure(removed, pruned)
            if least > limit:
                share = least / resource.exact(())
                raise DesignError(
                    f"{budget.text}: can't be met; {resource.text(least)} {resource.name}"
                    f" ({share:.4f}) are left at least"
                )
