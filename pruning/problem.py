"""Pruning as a search problem: how many channels each decision keeps, within budgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..errors import NetError
from ..search.problem import Choice, EvenLevels
from .budgets import Limits
from .decision_features import Features
from .decisions import Decision, RatioRules, rank

Score = Callable[[list[int]], float]  # of the roots that go


class PruningProblem(EvenLevels):
    """Which numbers of channels the decisions of a net may keep.

    Args:
        decisions: of the net.
        rules: what layers keep at least, multiples, and layers that keep all.
        scores: of groups: those of the highest stay.
        limits: budgets.
        features: of the decisions.

    Attributes:
        limits: as given.
        features: of the decisions.
        score_removed: how bad a net is without some groups; the less, the better. None until a
            search needs it.

    Raises:
        DesignError: a budget can't be met.
    """

    def __init__(
        self,
        decisions: Sequence[Decision],
        rules: RatioRules,
        scores: Mapping[int, float],
        limits: Limits,
        features: Sequence[Features] = (),
    ) -> None:
        self._decisions, self._rules, self.limits = decisions, rules, limits
        self.features = features
        self._ranked = [rank(decision, scores) for decision in decisions]
        self.score_removed: Score | None = None
        self.most: Choice = tuple(len(decision.roots) for decision in decisions)
        self.least: Choice = tuple(rules.uniform_counts(decisions, 0.0))
        limits.check_least(self.removed(self.least))

    def removed(self, choice: Sequence[int]) -> list[int]:
        """Return the roots that go with a choice; its numbers are rounded as the rules say."""
        rows = zip(self._decisions, self._ranked, choice, strict=True)
        return sorted(
            root
            for decision, ranked, count in rows
            for root in ranked[self._rules.rounded(decision, count) :]
        )

    def use(self, choice: Sequence[int]) -> float:
        """Return how much of the tightest budget a choice takes."""
        return self.limits.use(self.removed(choice))

    def fits(self, choice: Sequence[int]) -> bool:
        """Whether a choice is within all budgets."""
        return self.use(choice) <= 1

    def score(self, choice: Sequence[int]) -> float:
        """Return how bad the net of a choice is.

        Raises:
            NetError: there are no images to tell.
        """
        if self.score_removed is None:
            raise NetError("a search needs images: give --data")
        return self.score_removed(self.removed(choice))
