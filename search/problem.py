"""What a search decides: how much of each thing, within a budget, for the best score."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

Choice = tuple[int, ...]  # of each decision, how much
# A method at work: it yields choices, and is sent the score of each.
Proposals = Generator[Choice, float, None]


class LossTable(NamedTuple):
    """What each decision loses at some levels, all others being whole.

    Attributes:
        levels: of each decision, rising.
        losses: of each level; 0 of the whole.
    """

    levels: list[np.ndarray]
    losses: list[np.ndarray]


LossProposals = Generator[Choice, float, LossTable]


class Problem(Protocol):
    """Decisions, what is allowed, and how good a choice is."""

    @property
    def most(self) -> Choice:
        """Of each decision, as much as there is."""
        ...

    @property
    def least(self) -> Choice:
        """Of each decision, what a search goes down to; it fits."""
        ...

    @property
    def features(self) -> Sequence[Sequence[float]]:
        """Of each decision, numbers by which a method can tell it from others."""
        ...

    def fits(self, choice: Sequence[int]) -> bool:
        """Whether a choice is within the budget; less of any decision fits, too."""
        ...

    def use(self, choice: Sequence[int]) -> float:
        """Return how much of the budget a choice takes: 1 is all of it."""
        ...

    def score(self, choice: Sequence[int]) -> float:
        """Return how bad a choice is: the less, the better."""
        ...

    def units(self, place: int) -> range:
        """Return the levels of a decision that are a whole number of its units, such as bits."""
        ...

    def error(self, place: int, level: int) -> float:
        """Return what a decision loses at a level, in a unit of its own, as far as known untried.

        0 at most. Between two levels that were tried, the loss is taken to follow it.
        """
        ...

    @property
    def expects_losses(self) -> bool:
        """Whether it knows what decisions lose without a trial."""
        ...

    def losses_alone(self, count: int) -> LossProposals:
        """Return what each decision alone loses: as known, or tried at most `count` levels each."""
        ...


class EvenLevels:
    """A problem that knows no more of a decision than how much of it there is."""

    most: Choice
    least: Choice

    def units(self, place: int) -> range:
        """Return all levels."""
        return range(self.least[place], self.most[place] + 1)

    def error(self, place: int, level: int) -> float:
        """Return how much of the decision is missing."""
        return float(self.most[place] - level)

    @property
    def expects_losses(self) -> bool:
        """No."""
        return False

    def losses_alone(self, count: int) -> LossProposals:
        """Try the whole, then each decision at levels from the least on, evenly spaced."""
        whole = yield self.most
        levels, losses = [], []
        for place, (least, most) in enumerate(zip(self.least, self.most, strict=True)):
            spaced = np.unique(np.linspace(least, most, count + 1).round().astype(int))
            scores = []
            for level in spaced[:-1].tolist():
                scores.append((yield replace(self.most, place, level)))
            levels.append(spaced)
            losses.append(np.append(np.maximum(np.array(scores) - whole, 0), 0))
        return LossTable(levels, losses)


def replace(choice: Choice, place: int, value: int) -> Choice:
    """Return a choice with another value at a place."""
    return (*choice[:place], value, *choice[place + 1 :])


def fill(problem: Problem, choice: Sequence[int], order: Sequence[int]) -> Choice:
    """Return a choice that takes as much of each decision as still fits, decision by decision.

    Args:
        problem: whose budget it is.
        choice: fits.
        order: of the decisions.
    """
    filled = list(choice)
    for place in order:
        filled[place] = _largest(problem, filled, place)
    return tuple(filled)


def _largest(problem: Problem, choice: Sequence[int], place: int) -> int:
    """Return the most of a decision that fits with all others as they are."""
    low, high = choice[place], problem.most[place]
    while low < high:
        middle = (low + high + 1) // 2
        if problem.fits([*choice[:place], middle, *choice[place + 1 :]]):
            low = middle
        else:
            high = middle - 1
    return low


def scale(problem: Problem, shares: Sequence[float]) -> Choice:
    """Return the choice along `shares` that takes most of the budget.

    It is round(t * share * most) of each decision, at least `least`, for the largest t.

    Args:
        problem: whose `least` fits.
        shares: of each decision, above 0.
    """

    def at(factor: float) -> Choice:
        rows = zip(shares, problem.least, problem.most, strict=True)
        return tuple(min(most, max(least, round(factor * s * most))) for s, least, most in rows)

    low, high = 0.0, 1.0 / min(shares)
    if problem.fits(at(high)):
        return at(high)
    for _ in range(40):  # halvings: finer than any decision
        middle = (low + high) / 2
        low, high = (middle, high) if problem.fits(at(middle)) else (low, middle)
    return at(low)
