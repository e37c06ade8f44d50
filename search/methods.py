"""How a search goes on: a method proposes a choice, gets its score, and proposes the next.

A method draws all its random numbers from one generator, so that the same seed and scores give the
same choices, and a search that is resumed goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import NamedTuple

import numpy as np

from ..extras import required
from .episodes import ActionWall, TakeBack
from .knapsack import fisher, knapsack
from .problem import Choice, Problem, Proposals, fill, replace, scale

Method = Callable[[Problem, np.random.Generator, int], Proposals]

_MEAN, _DEVIATION, _LOWEST = 0.7, 0.2, 0.05  # of the shares that evolution begins with


def uniform(problem: Problem, random: np.random.Generator, trials: int) -> Proposals:
    """Propose the same share of each decision."""
    choice = scale(problem, [1.0] * len(problem.most))
    yield fill(problem, choice, range(len(choice)))


def random_choices(problem: Problem, random: np.random.Generator, trials: int) -> Proposals:
    """Propose shares that are drawn uniformly, scaled to the budget."""
    for _ in range(trials):
        choice = scale(problem, random.uniform(0.05, 1, len(problem.most)).tolist())
        yield fill(problem, choice, random.permutation(len(choice)).tolist())


def greedy(problem: Problem, random: np.random.Generator, trials: int) -> Proposals:
    """Take away step by step, each time where it costs the score least (NetAdapt).

    As in Yang et al., arXiv:1804.03230: a step is an equal part of what the budget asks for, and
    tries each decision alone. The number of steps is what `trials` allow. Where no decision alone
    saves so much, the one goes down by half that costs least for what it saves.
    """
    choice, count = problem.most, len(problem.most)
    start, score = problem.use(choice), 0.0
    steps = max(1, (trials - 1) // count)
    for step in range(1, steps + 1):
        goal = start + (1 - start) * step / steps
        if problem.use(choice) <= goal:  # the step before took more than its part
            continue
        tried: list[_Step] = []
        for place in range(count):
            less = _reduce(problem, choice, place, goal)
            reaches = less is not None
            less = less or _halve(problem, choice, place)
            if less is not None:
                saved = problem.use(choice) - problem.use(less)
                tried.append(_Step(reaches, (yield less), saved, less))
        if not tried:
            break
        score, choice = _best_step(tried, score)
    if not problem.fits(choice):
        shares = [value / most for value, most in zip(choice, problem.most, strict=True)]
        choice = scale(problem, shares)
    yield fill(problem, choice, range(count))  # what the last step took too much


class _Step(NamedTuple):
    """A choice with less of a decision: whether that is all a step asks for, and what it saves."""

    reaches: bool
    score: float
    saved: float
    choice: Choice


def _best_step(tried: Sequence[_Step], score: float) -> tuple[float, Choice]:
    """Return the score and the choice of the best step from a choice with a score."""
    reaching = [(step.score, step.choice) for step in tried if step.reaches]
    if reaching:
        return min(reaching)
    worth = [((step.score - score) / step.saved, step) for step in tried if step.saved > 0]
    best = min(worth, default=(0.0, tried[0]))[1]
    return best.score, best.choice


def _halve(problem: Problem, choice: Choice, place: int) -> Choice | None:
    """Return the choice with half of a decision, or None if there is no less of it."""
    value = max(problem.least[place], choice[place] // 2)
    return replace(choice, place, value) if value < choice[place] else None


def _reduce(problem: Problem, choice: Choice, place: int, goal: float) -> Choice | None:
    """Return the choice with the most of a decision at which the use is at most `goal`, or None."""
    low, high = problem.least[place], choice[place]

    def at(value: int) -> Choice:
        return replace(choice, place, value)

    if low == high or problem.use(at(low)) > goal:
        return None
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if problem.use(at(middle)) <= goal else (low, middle - 1)
    return at(low) if low < choice[place] else None


def evolution(problem: Problem, random: np.random.Generator, trials: int) -> Proposals:
    """Let shares follow a normal distribution that moves to good scores (CMA-ES).

    Hansen, arXiv:1604.00772, with a width for each decision and no correlations: so few trials
    can't learn more.
    """
    with required("cmaes", "--by evolution"):
        from cmaes import SepCMA
    count = len(problem.most)
    if count == 1:  # nothing to weigh up
        yield from uniform(problem, random, trials)
        return
    strategy = SepCMA(
        np.full(count, _MEAN),
        _DEVIATION,
        bounds=np.tile([_LOWEST, 1.0], (count, 1)),
        seed=int(random.integers(1 << 31)),
    )
    while True:
        drawn = [strategy.ask() for _ in range(strategy.population_size)]
        scores = []
        for shares in drawn:
            choice = scale(problem, shares.tolist())
            scores.append((yield fill(problem, choice, random.permutation(count).tolist())))
        worst = max((score for score in scores if score < inf), default=0.0)
        finite = [min(score, worst + 1) for score in scores]  # inf has no rank
        strategy.tell(list(zip(drawn, finite, strict=True)))


def ddpg(problem: Problem, random: np.random.Generator, trials: int) -> Proposals:
    """Let an agent learn to decide, behind a wall (AMC, arXiv:1802.03494)."""
    with required("torch", "--by ddpg"):
        from .ddpg import ddpg as propose
    return propose(ActionWall(problem), problem, random, trials)


def haq(problem: Problem, random: np.random.Generator, trials: int) -> Proposals:
    """Let an agent learn to decide, and take back what is too much (HAQ, arXiv:1811.08886)."""
    with required("torch", "--by haq"):
        from .ddpg import ddpg as propose
    return propose(TakeBack(problem), problem, random, trials)


METHODS: dict[str, Method] = {
    "uniform": uniform,
    "fisher": fisher,
    "random": random_choices,
    "greedy": greedy,
    "evolution": evolution,
    "knapsack": knapsack,
    "ddpg": ddpg,
    "haq": haq,
}


def least_trials(by: str, problem: Problem) -> int:
    """Return how many trials a method needs to find a choice within the budget."""
    decisions = len(problem.most)
    if by == "knapsack" and problem.expects_losses:
        return 1
    return {"greedy": decisions + 1, "knapsack": decisions + 2}.get(by, 1)
