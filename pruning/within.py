"""Prune to a choice within budgets, also of what was estimated: measure, and choose again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..search.problem import Choice, fill, scale
from .problem import PruningProblem
from .prune import Pruner, Pruning

if TYPE_CHECKING:
    from ..engine.input_sums import InputSums

_ROUNDS = 8
_ENOUGH = 0.98  # of a budget that a net takes


def prune_within(
    pruner: Pruner,
    problem: PruningProblem,
    choice: Choice,
    sums: Mapping[str, InputSums] | None,
) -> Pruning:
    """Prune to a choice, or to the nearest in its proportions that is really within the budgets.

    Args:
        pruner: the net.
        problem: the budgets.
        choice: within them, as far as they were estimated.
        sums: of what layers read, if they are to be reconstructed.

    Raises:
        DesignError: not even the least is within the budgets; names the nearest that can be met.
    """
    if not problem.limits.are_estimated:
        return pruner.prune(pruner.keep(problem, choice), sums)
    shares = [count / most for count, most in zip(choice, problem.most, strict=True)]
    tried: dict[Choice, float] = {}
    best: tuple[float, Pruning] | None = None
    for _ in range(_ROUNDS):
        done = pruner.prune(pruner.keep(problem, choice), sums)
        use = tried[choice] = problem.limits.measure(done.removed, done.pruned)
        if use <= 1 and (best is None or use > best[0]):
            best = use, done
        choice = fill(problem, scale(problem, shares), range(len(choice)))
        if _ENOUGH <= use <= 1 or choice in tried:
            break
    if best is not None:
        return best[1]
    least = pruner.prune(pruner.keep(problem, problem.least), sums)
    problem.limits.check_least(least.removed, least.pruned)
    return least
