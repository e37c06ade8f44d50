"""Run a search: propose, score, record; a search that was killed goes on from its journal."""

from __future__ import annotations

from math import inf, isnan
from time import perf_counter
from typing import NamedTuple

import numpy as np

from ..errors import DesignError, FormatError
from ..progress import Bar
from .journal import Journal, Trial
from .methods import METHODS, least_trials
from .problem import Choice, Problem, Proposals


class Search(NamedTuple):
    """How a search goes about.

    Attributes:
        by: one of `METHODS`.
        trials: how many choices are tried at most.
        seed: of the method's random numbers.
    """

    by: str
    trials: int
    seed: int

    def check(self, problem: Problem) -> None:
        """Check that the trials are enough for the method.

        Raises:
            DesignError: they are not.
        """
        least = least_trials(self.by, problem)
        if self.trials < least:
            raise DesignError(
                f"--trials {self.trials}: --by {self.by} tries each of {len(problem.most)} sets of"
                f" layers by itself; give {least} or more, or --by evolution"
            )

    def first(self, problem: Problem) -> Choice:
        """Return the first choice that the method proposes."""
        return next(self._propose(problem))

    def _propose(self, problem: Problem) -> Proposals:
        return METHODS[self.by](problem, np.random.default_rng(self.seed), self.trials)

    def run(self, problem: Problem, journal: Journal, bar: Bar) -> Choice:
        """Try choices, and return the best within the budget; of equal scores, the first.

        Args:
            problem: what is decided.
            journal: has the trials of a search that is resumed.
            bar: shows the trials.

        Raises:
            FormatError: the journal is of another search, or no choice was within the budget.
        """
        proposals = self._propose(problem)
        known = tuple(journal.trials)
        scores = dict(journal.known)
        best: Trial | None = None
        choice: Choice | None = next(proposals, None)
        for number in range(self.trials):
            if choice is None:
                break
            if number < len(known):
                trial = known[number]
                if trial.choice != choice:
                    raise FormatError("the journal has other trials than this search makes")
            else:
                start = perf_counter()
                score = scores[choice] if choice in scores else problem.score(choice)
                score = inf if isnan(score) else score  # nan is neither better nor worse
                trial = Trial(choice, score, perf_counter() - start, problem.use(choice))
                journal.add(trial)
            scores[choice] = trial.score
            if problem.fits(choice) and (best is None or trial.score < best.score):
                best = trial
            bar.update(number + 1, "" if best is None else f"best {best.score:.4g}")
            try:
                choice = proposals.send(trial.score)
            except StopIteration:
                break
        if best is None:
            raise FormatError(f"--trials {self.trials}: too few to meet the budget; give more")
        return best.choice
