"""How a search goes on: a method proposes a choice, gets its score, and proposes the next.

A method draws all its random numbers from one generator, so that the same seed and scores give the
same choices, and a search that is resumed goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np

from .problem import Choice, Problem, fill, scale

# Yields choices, and is sent the score of each.
Method = Generator[Choice, float, None]


def uniform(problem: Problem, random: np.random.Generator, trials: int) -> Method:
    """Propose the same share of each decision."""
    choice = scale(problem, [1.0] * len(problem.most))
    yield fill(problem, choice, range(len(choice)))


def random_choices(problem: Problem, random: np.random.Generator, trials: int) -> Method:
    """Propose shares that are drawn uniformly, scaled to the budget."""
    for _ in range(trials):
        choice = scale(problem, random.uniform(0.05, 1, len(problem.most)).tolist())
        yield fill(problem, choice, random.permutation(len(choice)).tolist())


def greedy(problem: Problem, random: np.random.Generator, trials: int) -> Method:
    """Take away step by step, each time where it costs the score least (NetAdapt).

    As in Yang et al., arXiv:1804.03230: a step is an equal part of what the budget asks for, and
    tries each decision alone. The number of steps is what `trials` allow.
    """
    choice, count = problem.most, len(problem.most)
    start = problem.use(choice)
    steps = max(1, (trials - 1) // count)
    for step in range(1, steps + 1):
        goal = start + (1 - start) * step / steps
        if problem.use(choice) <= goal:  # the step before took more than its part
            continue
        tried: list[tuple[float, Choice]] = []
        for place in range(count):
            less = _reduce(problem, choice, place, goal)
            if less is not None:
                tried.append(((yield less), less))
        if not tried:
            break
        choice = min(tried)[1]
    if not problem.fits(choice):
        shares = [value / most for value, most in zip(choice, problem.most, strict=True)]
        choice = scale(problem, shares)
    yield fill(problem, choice, range(count))  # what the last step took too much


def _reduce(problem: Problem, choice: Choice, place: int, goal: float) -> Choice | None:
    """Return the choice with the most of a decision at which the use is at most `goal`, or None."""
    low, high = problem.least[place], choice[place]

    def at(value: int) -> Choice:
        return (*choice[:place], value, *choice[place + 1 :])

    if low == high or problem.use(at(low)) > goal:
        return None
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if problem.use(at(middle)) <= goal else (low, middle - 1)
    return at(low) if low < choice[place] else None


def evolution(problem: Problem, random: np.random.Generator, trials: int) -> Method:
    """Let the shares of each decision follow a normal distribution that moves to good scores.

    A (mu, lambda) evolution strategy with weighted recombination and a width for each decision.
    """
    count = len(problem.most)
    population = max(4, 4 + int(3 * np.log(count)))
    parents = population // 2
    weights = np.log(parents + 0.5) - np.log(np.arange(1, parents + 1))
    weights /= weights.sum()
    centre, width = np.full(count, 0.7), np.full(count, 0.2)
    left = trials
    while left > 0:
        drawn = []
        for _ in range(min(population, left)):
            shares = np.clip(centre + width * random.normal(size=count), 0.02, 1)
            choice = scale(problem, shares.tolist())
            choice = fill(problem, choice, random.permutation(count).tolist())
            drawn.append(((yield choice), shares))
            left -= 1
        drawn.sort(key=lambda pair: pair[0])
        best = np.array([shares for _, shares in drawn[:parents]])
        used = weights[: len(best)] / weights[: len(best)].sum()
        moved = used @ best
        width = np.maximum(0.02, 0.7 * width + 0.3 * np.sqrt(used @ (best - centre) ** 2))
        centre = moved


METHODS: dict[str, Callable[[Problem, np.random.Generator, int], Method]] = {
    "uniform": uniform,
    "random": random_choices,
    "greedy": greedy,
    "evolution": evolution,
}
