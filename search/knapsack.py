"""Choose by a table of scores, as if they added up: a multiple-choice knapsack.

The loss of a choice is taken for the sum of those of its decisions, each alone at some levels, as
tried or as known. What ModelOpt and HAWQ-V3 (arXiv:2011.10680) solve by linear and integer
programs is solved here by dynamic programming over the choices that no other beats in cost and
loss.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .problem import Choice, LossTable, Problem, Proposals, fill, replace, scale

_MAX_STATES = 1 << 13  # of a dynamic program; more are thinned out
_MAX_LEVELS = 48  # of a decision that the program chooses from
_ROUNDS = 12
_REACH = 0.1  # of a decision's levels, that the first refinement may change it by
POWERS = (1.0, 0.5, 0.75, 1.5, 2.0)  # of losses: errors of several decisions do not just add up


def knapsack(problem: Problem, random: np.random.Generator, trials: int) -> Proposals:
    """Try the choices of the least sum of losses, and refine the best with the trials left.

    Unless the problem knows what each decision loses, levels of each alone are tried first.
    """
    each = max(1, (trials - 1 - len(POWERS)) // len(problem.most))
    alone = yield from problem.losses_alone(each)
    tried = 0 if problem.expects_losses else 1 + sum(len(own) - 1 for own in alone.levels)
    table = _finer(problem, alone)
    found: list[tuple[float, Choice]] = []
    for power in POWERS:
        powers = LossTable(table.levels, [loss**power for loss in table.losses])
        choice = choose_levels(problem, powers)
        found.append(((yield choice), choice))
    yield from _refine(problem, min(found), trials - tried - len(POWERS))


def fisher(problem: Problem, random: np.random.Generator, trials: int) -> Proposals:
    """Propose the choice of the least sum of the losses that the problem knows."""
    alone = yield from problem.losses_alone(1)
    yield choose_levels(problem, _finer(problem, alone))


def _refine(problem: Problem, best: tuple[float, Choice], trials: int) -> Proposals:
    """Measure what each decision loses beside the best choice so far, and choose again, nearby.

    A round takes a trial a decision and one more. After one that does not improve, the next goes
    half as far.
    """
    reach = _REACH
    for _ in range(trials // (len(problem.most) + 1)):
        score, choice = best
        slopes = []
        for place, level in enumerate(choice):
            far, least = _far(problem, place, reach), problem.least[place]
            other = max(least, level - far) if level > least else level + 1
            tried = replace(choice, place, other)
            found = (yield tried), tried
            error = problem.error(place, other) - problem.error(place, level)
            slopes.append(max((found[0] - score) / error, 0.0) if error else 0.0)
            if problem.fits(tried):
                best = min(best, found)
        nearby = choose_levels(problem, _around(problem, choice, slopes, reach))
        found = (yield nearby), nearby
        reach = reach if found < best else reach / 2
        best = min(best, found)


def _far(problem: Problem, place: int, reach: float) -> int:
    """Return how many levels a part of a decision's are, one at least."""
    return max(1, round(reach * (problem.most[place] - problem.least[place])))


def _around(problem: Problem, choice: Choice, slopes: Sequence[float], reach: float) -> LossTable:
    """Return a table of levels near a choice, whose losses are slopes times errors."""
    levels, losses = [], []
    for place, (level, slope) in enumerate(zip(choice, slopes, strict=True)):
        far = _far(problem, place, reach)
        lowest, highest = (
            max(problem.least[place], level - far),
            min(problem.most[place], level + far),
        )
        own = np.arange(lowest, highest + 1)
        levels.append(own)
        losses.append(slope * _errors(problem, place, own))
    return LossTable(levels, losses)


def _finer(problem: Problem, table: LossTable) -> LossTable:
    """Return a table with more levels, whose losses follow the errors between those tried.

    Below them, losses are in proportion to errors. Where what was tried has none, as of a layer of
    few values, the ratio is that of the other decisions.
    """
    rows = list(zip(table.levels, table.losses, strict=True))
    tried_errors = [_errors(problem, place, tried) for place, (tried, _) in enumerate(rows)]
    ratios = [
        known[0] / at[0] for (_, known), at in zip(rows, tried_errors, strict=True) if at[0] > 0
    ]
    usual = sum(ratios) / len(ratios) if ratios else 1.0
    levels, losses = [], []
    for place, ((_, known), at) in enumerate(zip(rows, tried_errors, strict=True)):
        spaced = np.linspace(problem.least[place], problem.most[place], _MAX_LEVELS)
        own = np.unique(spaced.round().astype(int))
        errors = _errors(problem, place, own)
        loss = np.interp(-errors, -at, known)
        beyond = errors > at[0]  # less than was tried
        loss[beyond] = errors[beyond] * (known[0] / at[0] if at[0] > 0 else usual)
        levels.append(own)
        losses.append(loss)
    return LossTable(levels, losses)


def _errors(problem: Problem, place: int, levels: np.ndarray) -> np.ndarray:
    return np.array([problem.error(place, level) for level in levels.tolist()])


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
