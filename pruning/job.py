"""Prune a net by ratios or within budgets: what is chosen, and how a choice is searched for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..engine.agreement import DIVERGENCE, TOP1
from ..errors import NetError
from ..progress import StartBar, no_bar
from ..search.journal import Trials, identify
from ..search.run import Search
from .budgets import Budget, Spent
from .criteria import BY_GRADIENTS, INPUTS
from .decisions import RatioRules
from .problem import PruningProblem
from .prune import Pruner, Pruning
from .shrink import Shrinking
from .within import prune_within

if TYPE_CHECKING:
    from ..engine.input_images import InputImages

UNIFORM = "uniform"
_FIRST = Search(UNIFORM, 1, 0)


class Selection(NamedTuple):
    """Which channels go.

    Attributes:
        rules: how many channels layers keep.
        criterion: which of them, one of `criteria.CRITERIA`.
        seed: of random choices.
    """

    rules: RatioRules
    criterion: str
    seed: int = 0


class PruningJob:
    """A pruning that was checked, and can run.

    Args:
        pruner: the net.
        selection: which channels go.
        budgets: of the net that is left; none for the ratios of the rules.
        search: how a choice within the budgets is found.
        score: of its trials, one of `agreement.SCORES`.

    Raises:
        DesignError: a budget can't be met, a rule fits no layer, there is no such criterion, or
            the trials are too few for the search.
        NetError: a layer would be left without filters.
    """

    def __init__(
        self,
        pruner: Pruner,
        selection: Selection,
        budgets: Sequence[Budget] = (),
        search: Search = _FIRST,
        score: str = DIVERGENCE,
    ) -> None:
        self._pruner, self._selection, self._search = pruner, selection, search
        self._budgets, self._score = budgets, score
        # Gradients decide which channels go, not whether the budget can be met.
        self._by_gradients = selection.criterion in BY_GRADIENTS
        known = selection._replace(criterion=INPUTS) if self._by_gradients else selection
        self._checked = self._ask(known, None)
        if isinstance(self._checked, PruningProblem):
            search.check(self._checked)

    def _ask(self, selection: Selection, images: InputImages | None) -> Shrinking | PruningProblem:
        if self._budgets:
            return self._pruner.problem(self._budgets, *selection, images)
        return self._pruner.by_ratios(*selection, images)

    def run(
        self,
        images: InputImages | None = None,
        trials: Trials | None = None,
        start_bar: StartBar = no_bar,
    ) -> Pruning:
        """Choose the channels that go, and take them out.

        Args:
            images: to reconstruct the weights on, and to score the trials of a search.
            trials: of a search.
            start_bar: shows how far a search is.

        Raises:
            SqgenError: the net can't run on the images, or the journal can't be used.
        """
        if self._budgets and self._search.by != UNIFORM:
            if images is None or trials is None:
                raise NetError("a search needs images, and a folder for its trials")
            return self._run_search(images, trials, start_bar)
        asked = self._ask_with(images)
        sums = None if images is None else self._pruner.collect_sums(images)
        if isinstance(asked, PruningProblem):
            return prune_within(self._pruner, asked, self._search.first(asked), sums)
        return self._pruner.prune(asked, sums)

    def _ask_with(self, images: InputImages | None) -> Shrinking | PruningProblem:
        """Return what was checked, with the channels in the order of the criterion."""
        return self._ask(self._selection, images) if self._by_gradients else self._checked

    def _run_search(self, images: InputImages, trials: Trials, start_bar: StartBar) -> Pruning:
        if self._score == TOP1:
            self._pruner.check_labels(images, "--data")
        journal = trials.open(self._about(images))
        problem = self._ask_with(images)
        assert isinstance(problem, PruningProblem)  # there are budgets
        sums = self._pruner.collect_sums(images)
        problem.score_removed = self._pruner.scorer(images, sums, self._score)
        with start_bar(self._search.trials) as bar:
            choice = self._search.run(problem, journal, bar)
        return prune_within(self._pruner, problem, choice, sums)

    def spent(self, done: Pruning) -> list[Spent]:
        """Return what the whole net and the pruned one take of each resource with a budget."""
        resources = [budget.resource for budget in self._budgets]
        return [
            Spent(each, each.exact(()), each.measure(done.removed, done.pruned))
            for each in resources
        ]

    def _about(self, images: InputImages) -> dict[str, Any]:
        """Return what tells this search from others."""
        rules, criterion, _ = self._selection
        return {
            **self._search._asdict(),
            "score": self._score,
            "budgets": [budget.text for budget in self._budgets],
            **{
                f"basis of {budget.resource.flag}": budget.resource.basis
                for budget in self._budgets
                if budget.resource.basis
            },
            "at_least": [f"{pattern}={count:g}" for pattern, count in rules.at_least],
            "leave": list(rules.leave),
            "round": rules.multiple,
            "criterion": criterion,
            **identify(self._pruner.net_bytes, self._pruner.arrays.values(), images.batches),
            "decisions": [
                {"layers": list(each.layers), "channels": len(each.roots)}
                for each in self._pruner.decisions
            ],
        }
