"""What each layer alone is expected to lose at some numbers of bits, by Fisher information.

To second order, the divergence of a changed net's probabilities from the whole one's is half the
mean square of (gradient x change), where the gradient is that of the cross entropy to labels drawn
from the whole net's probabilities. Other than in the usual sum over weights of (gradient^2 x
change^2), the changes of all weights of a layer are taken together: errors that cancel, cancel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..engine.loss_changes import Quantize, loss_changes
from ..formats.schema import NetParameter
from ..nets.definition import NetDefinition
from ..search.problem import LossTable
from .layer_table import LayerTable
from .problem import BitsProblem, Decision

if TYPE_CHECKING:
    from ..engine.input_images import InputImages

_MOST_NUMBERS = 1 << 28  # of changes at once: 1 GiB


def expected_losses(
    net: NetDefinition,
    model: NetParameter,
    images: InputImages,
    table: LayerTable,
    problem: BitsProblem,
    quantizer: Callable[[str, int], Quantize],
) -> LossTable:
    """Return what each decision loses at its `levels_alone`; nothing at its most.

    Args:
        net: a deploy net.
        model: its weights.
        images: to compute gradients of.
        table: the layers.
        problem: the decisions.
        quantizer: of what a layer reads, at a number of bits.

    Raises:
        NetError: the net can't run on the images.
    """
    bottoms = {
        decision.layer: [quantizer(decision.layer, bits) for bits in problem.levels_alone(place)]
        for place, decision in _decisions(problem)
        if not decision.of_weights
    }
    of_weights: dict[str, np.ndarray] = {}
    of_bottoms: dict[str, np.ndarray] = {}
    for changes in _weight_changes(table, problem):
        found = loss_changes(net, model, changes, bottoms, images.batches)
        of_weights |= {name: _losses(each) for name, each in found.weights.items()}
        of_bottoms |= {name: _losses(each) for name, each in found.bottoms.items()}
        bottoms = {}
    levels, losses = [], []
    for place, decision in _decisions(problem):
        at = (of_weights if decision.of_weights else of_bottoms)[decision.layer]
        levels.append(np.array([*problem.levels_alone(place), problem.most[place]]))
        losses.append(np.append(at, 0))
    return LossTable(levels, losses)


def _losses(changes: np.ndarray) -> np.ndarray:
    """Return the losses to expect of (images, changes)."""
    losses: np.ndarray = np.square(changes).mean(0) / 2
    return losses


def _decisions(problem: BitsProblem) -> Iterator[tuple[int, Decision]]:
    return ((place, problem.decision(place)) for place in range(len(problem.most)))


def _weight_changes(table: LayerTable, problem: BitsProblem) -> Iterator[dict[str, np.ndarray]]:
    """Yield layer -> changes of its weights, (levels, *shape), so many layers as memory allows."""
    changes: dict[str, np.ndarray] = {}
    for place, decision in _decisions(problem):
        if not decision.of_weights:
            continue
        levels = problem.levels_alone(place)
        own = np.stack([table.change(decision.place, level) for level in levels])
        if changes and sum(each.size for each in changes.values()) + own.size > _MOST_NUMBERS:
            yield changes
            changes = {}
        changes[decision.layer] = own
    yield changes
