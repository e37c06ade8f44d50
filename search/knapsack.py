"""Choose by a table of scores, as if they added up: a multiple-choice knapsack.

Each decision alone is tried at some levels, and the loss of a choice is taken for the sum of those
of its decisions. What ModelOpt and HAWQ-V3 (arXiv:2011.10680) solve by linear and integer programs
is solved here by dynamic programming over the choices that no other beats in cost and loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .problem import Choice, Problem, Proposals, fill, replace, scale

_MAX_STATES = 1 << 13  # of a dynamic program; more are thinned out
_MAX_LEVELS = 48  # of a decision that the program chooses from
_ROUNDS = 12
POWERS = (1.0, 0.5, 0.75, 1.5, 2.0)  # of losses: errors of several decisions do not just add up


class LossTable(NamedTuple):
    """What each decision loses at some levels, all others being whole.

    Attributes:
        levels: of each decision, rising.
        losses: of each level; 0 of the whole.
    """

    levels: list[np.ndarray]
    losses: list[np.ndarray]


def knapsack(problem: Problem, random: np.random.Generator, trials: int) -> Proposals:
    """Try levels of each decision alone, then the choices of the least sum of losses."""
    count = len(problem.most)
    each = max(1, (trials - 1 - len(POWERS)) // count)
    whole = yield problem.most
    levels, losses = [], []
    for place, (least, most) in enumerate(zip(problem.least, problem.most, strict=True)):
        tried = np.unique(np.linspace(least, most, each + 1).round().astype(int))[:-1]
        scores = []
        for level in tried.tolist():
            scores.append((yield replace(problem.most, place, level)))
        levels.append(np.append(tried, most))
        losses.append(np.append(np.maximum(np.array(scores) - whole, 0), 0))
    table = _finer(LossTable(levels, losses))
    for power in POWERS:
        powers = LossTable(table.levels, [loss**power for loss in table.losses])
        yield choose_levels(problem, powers)


def _finer(table: LossTable) -> LossTable:
    """Return a table with more levels, their losses interpolated."""
    levels = [
        np.unique(np.linspace(own[0], own[-1], _MAX_LEVELS).round().astype(int))
        for own in table.levels
    ]
    rows = zip(levels, table.levels, table.losses, strict=True)
    return LossTable(levels, [np.interp(new, own, losses) for new, own, losses in rows])


def choose_levels(problem: Problem, table: LossTable) -> Choice:
    """Return the choice within the budget with the least sum of losses.

    It is exact where costs add up, too. Where the cost of a decision depends on others, the program
    is solved again around each solution, and what is left of the budget is filled.
    """
    around, goal = problem.most, 1.0
    best: tuple[float, Choice] | None = None
    for _ in range(_ROUNDS):
        choice = _solve(problem, table, around, goal)
        use = problem.use(choice)
        if use <= 1:
            filled = fill(problem, choice, _by_gain(table, choice))
            best = min(best or (np.inf, filled), (_loss(table, filled), filled))
        if choice == around and abs(use - goal) < 1e-9:
            break
        around, goal = choice, goal + (1 - use) / 2
    if best is None:
        shares = [value / most for value, most in zip(around, problem.most, strict=True)]
        return fill(problem, scale(problem, shares), _by_gain(table, around))
    return best[1]


def _loss(table: LossTable, choice: Choice) -> float:
    rows = zip(choice, table.levels, table.losses, strict=True)
    return float(sum(np.interp(value, levels, losses) for value, levels, losses in rows))


def _by_gain(table: LossTable, choice: Choice) -> list[int]:
    """Return the decisions, the one that loses most first."""
    rows = zip(choice, table.levels, table.losses, strict=True)
    now = [float(np.interp(value, levels, losses)) for value, levels, losses in rows]
    return sorted(range(len(now)), key=lambda place: (-now[place], place))


def _solve(problem: Problem, table: LossTable, around: Choice, goal: float) -> Choice:
    """Solve the program with the costs that decisions have beside those of `around`."""
    costs = [
        np.array([problem.use(replace(around, place, level)) for level in levels.tolist()])
        for place, levels in enumerate(table.levels)
    ]
    own = sum(problem.use(around) - cost[0] for cost in costs)
    budget = goal - (problem.use(around) - own)  # for what is above the lowest levels
    picked = solve_program([cost - cost[0] for cost in costs], table.losses, budget)
    return tuple(int(levels[index]) for levels, index in zip(table.levels, picked, strict=True))


def solve_program(
    costs: Sequence[np.ndarray], losses: Sequence[np.ndarray], budget: float
) -> list[int]:
    """Return which item of each group to take: the least sum of losses within a budget of costs.

    Exact as long as no more than some thousand sums of costs are worth keeping. If nothing fits,
    the cheapest of each group.

    Args:
        costs, losses: of the items of each group.
        budget: for the sum of costs.
    """
    spent, lost = np.zeros(1), np.zeros(1)
    origins: list[tuple[np.ndarray, np.ndarray]] = []
    for cost, loss in zip(costs, losses, strict=True):
        all_spent = (spent[:, None] + cost).ravel()
        all_lost = (lost[:, None] + loss).ravel()
        order = np.lexsort((all_lost, all_spent))
        order = order[all_spent[order] <= budget + 1e-12]
        if not len(order):
            return [int(np.argmin(cost)) for cost in costs]
        kept = order[_is_better(all_lost[order])]
        if len(kept) > _MAX_STATES:
            kept = kept[np.linspace(0, len(kept) - 1, _MAX_STATES).astype(int)]
        origins.append((kept // len(cost), kept % len(cost)))
        spent, lost = all_spent[kept], all_lost[kept]
    state, picked = len(lost) - 1, []  # the dearest that is kept loses least
    for before, item in reversed(origins):
        picked.append(int(item[state]))
        state = int(before[state])
    return picked[::-1]


def _is_better(losses: np.ndarray) -> np.ndarray:
    """Return where a loss is below all before it."""
    least = np.minimum.accumulate(losses)
    return np.append(True, losses[1:] < least[:-1])
