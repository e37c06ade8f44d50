"""Budgets: what a pruned net may cost, and the ratio that all layers keep within it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..errors import DesignError
from .costs import NetCosts
from .decisions import Decision, RatioRules, keep_best

NAMES = {"macs": "MACs", "parameters": "parameters"}
_STEPS = 40  # of the bisection: finer than any net has channels


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


def keep_within(
    budgets: Sequence[Budget],
    decisions: Sequence[Decision],
    rules: RatioRules,
    scores: Mapping[int, float],
    costs: NetCosts,
) -> list[int]:
    """Return the roots that go where all layers keep the largest ratio within all budgets.

    Args:
        budgets: one or more.
        decisions: of the net; those that `rules` leaves keep all.
        rules: what layers keep at least, and multiples.
        scores: of the groups.
        costs: of the net.

    Raises:
        DesignError: a budget is out of range, or can't be met; names the nearest that can.
    """
    limits = {budget: budget.amount(costs.cost(budget.resource, ())) for budget in budgets}

    def removed_by(counts: Sequence[int]) -> list[int]:
        return keep_best(decisions, counts, scores)

    def exceeded(counts: Sequence[int]) -> Budget | None:
        removed = removed_by(counts)
        over = (b for b, limit in limits.items() if costs.cost(b.resource, removed) > limit)
        return next(over, None)

    low, high = (rules.uniform_counts(decisions, ratio) for ratio in (0.0, 1.0))
    if (budget := exceeded(low)) is not None:
        left, whole = (costs.cost(budget.resource, gone) for gone in (removed_by(low), ()))
        raise DesignError(
            f"--{budget.resource} {budget.given:g}: can't be met; {left:,} {NAMES[budget.resource]}"
            f" ({left / whole:.4f}) are left at least"
        )
    if exceeded(high) is None:
        return removed_by(high)
    least, most = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (least + most) / 2
        counts = rules.uniform_counts(decisions, middle)
        if exceeded(counts):
            most, high = middle, counts
        else:
            least, low = middle, counts
    # Layers round to channels; those that can have one more within the budget do.
    for place, count in enumerate(high):
        more = [*low[:place], count, *low[place + 1 :]]
        low = low if exceeded(more) else more
    return removed_by(low)
