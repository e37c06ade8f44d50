"""How an agent's shares become a choice within a budget: AMC's way, and HAQ's.

A share, 0 to 1, is what the agent says of a decision. A level is how much of it there will be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from .problem import Choice, Problem, fill, replace


class Episodes(Protocol):
    """A way from shares to a choice.

    Attributes:
        WARM_UP: episodes of uniform shares; at most a quarter of all.
        NOISE_DECAY: what the noise of shares falls by, an episode.
        LOWEST: share of the warm-up.
        start: the levels of decisions that are still to come.
    """

    WARM_UP: int
    NOISE_DECAY: float
    LOWEST: float
    start: Choice

    def __init__(self, problem: Problem) -> None: ...

    def level(self, choice: Choice, place: int, share: float) -> int:
        """Return the level of a decision, all before it being as in `choice`."""
        ...

    def share(self, place: int, level: int) -> float:
        """Return the share that leads to a level."""
        ...

    def end(self, choice: Choice, random: np.random.Generator) -> Choice:
        """Return a choice within the budget when all is decided."""
        ...

    def progress(self, choice: Choice, place: int) -> tuple[float, ...]:
        """Return what the agent sees of an episode before a decision, as numbers from 0 to 1."""
        ...


class States:
    """What the agent sees before each decision, every number scaled to 0..1.

    The problem's features of the decision, then how far the episode is.
    """

    def __init__(self, problem: Problem, episodes: Episodes) -> None:
        self._episodes = episodes
        count = len(problem.most)
        features = np.array([[place, *problem.features[place]] for place in range(count)], float)
        low, high = features.min(0), features.max(0)
        varies = high > low
        self._scaled = (features[:, varies] - low[varies]) / (high - low)[varies]
        self.size = len(self.before(0, episodes.start))

    def before(self, place: int, choice: Choice) -> np.ndarray:
        """Return the state before a decision, all before it being as in `choice`."""
        progress = self._episodes.progress(choice, place)
        return np.concatenate([self._scaled[place], progress]).astype(np.float32)


class ActionWall:
    """AMC's: no decision may take so much that the least of those to come no longer fits.

    He et al., arXiv:1802.03494, algorithm 1. What is left of the budget goes to decisions in random
    order. The agent sees how much of the cost is gone, how much the decisions to come can still
    take, and the share decided last.
    """

    WARM_UP, NOISE_DECAY, LOWEST = 100, 0.95, 0.2

    def __init__(self, problem: Problem) -> None:
        self._problem, self._whole = problem, problem.use(problem.most)
        rows = zip(problem.least, problem.most, strict=True)
        floor = tuple(min(most, max(least, round(self.LOWEST * most))) for least, most in rows)
        self.start = floor if problem.fits(floor) else problem.least

    def level(self, choice: Choice, place: int, share: float) -> int:
        """Return the level of a decision: at least its floor, and at most what the budget allows.

        What is decided stays, and decisions to come are at their floor. The most that fits is found
        by bisection on the exact cost.
        """
        problem, floor = self._problem, self.start

        def at(level: int) -> Choice:
            return (*choice[:place], level, *floor[place + 1 :])

        wanted = min(problem.most[place], max(floor[place], round(share * problem.most[place])))
        if problem.fits(at(wanted)):
            return wanted
        low, high = floor[place], wanted
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if problem.fits(at(middle)) else (low, middle - 1)
        return low

    def share(self, place: int, level: int) -> float:
        """Return the share that leads to a level."""
        return level / self._problem.most[place]

    def end(self, choice: Choice, random: np.random.Generator) -> Choice:
        """Fill what is left of the budget."""
        return fill(self._problem, choice, random.permutation(len(choice)).tolist())

    def progress(self, choice: Choice, place: int) -> tuple[float, ...]:
        """Return what is gone, what can still go, and the last share."""
        problem = self._problem
        most = problem.use((*choice[:place], *problem.most[place:]))
        least = problem.use((*choice[:place], *problem.least[place:]))
        last = choice[place - 1] / problem.most[place - 1] if place else 1.0
        return 1 - most / self._whole, (most - least) / self._whole, last


class TakeBack:
    """HAQ's: all is decided freely, and then taken back until it fits.

    Wang et al., arXiv:1811.08886, with the walk of its released code (mit-han-lab/haq,
    lib/env/quantize_env.py): a bit off each decision, from the last to the first, again and again.
    Bits are whole, unless the least whole ones don't fit. The agent sees the share decided last.
    """

    WARM_UP, NOISE_DECAY, LOWEST = 20, 0.99, 0.0

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        places = range(len(problem.most))
        self._levels = [problem.units(place) for place in places]
        if not problem.fits(tuple(levels[0] for levels in self._levels)):
            self._levels = [range(problem.least[k], problem.most[k] + 1) for k in places]
        self.start = tuple(levels[0] for levels in self._levels)

    def level(self, choice: Choice, place: int, share: float) -> int:
        """Return the level of a decision; all have an equal part of the shares (section 3.2)."""
        levels = self._levels[place]
        return levels[min(len(levels) - 1, max(0, round(share * len(levels) - 0.5)))]

    def share(self, place: int, level: int) -> float:
        """Return the share in the middle of those that lead to a level."""
        levels = self._levels[place]
        return (levels.index(level) + 0.5) / len(levels)

    def end(self, choice: Choice, random: np.random.Generator) -> Choice:
        """Take back what does not fit."""
        return take_back(self._problem, choice, self._levels)

    def progress(self, choice: Choice, place: int) -> tuple[float, ...]:
        """Return the last share."""
        return (self.share(place - 1, choice[place - 1]) if place else 1.0,)


def take_back(problem: Problem, choice: Sequence[int], levels: Sequence[range]) -> Choice:
    """Return a choice that fits: a level less of the last decision, the one before, and so on.

    Args:
        problem: whose budget it is.
        choice: has levels of these.
        levels: of each decision, the first of which fit.
    """
    now = tuple(choice)
    while not problem.fits(now):
        for place in reversed(range(len(now))):
            if now[place] > levels[place][0]:
                now = replace(now, place, now[place] - levels[place].step)
                if problem.fits(now):
                    break
    return now
