"""Prune a net by ratios, or of what can't matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import SqgenError
from ..nets.definition import NetDefinition
from ..nets.deploy import deploy_net
from ..nets.layer_types import Shape
from ..nets.shapes import require_shapes
from ..weights.net_arrays import Arrays, Model, net_arrays
from .budgets import Budget, keep_within
from .channel_groups import ChannelGroups
from .costs import NetCosts
from .criteria import score_groups
from .decisions import Decision, RatioRules, find_decisions, keep_best
from .lossless import find_lossless
from .pruned_net import PrunedNet, make_pruned_net
from .shrink import Shrinking

EXACT_TOLERANCE = 1e-9  # of outputs in float64, relative: sums of other lengths round otherwise
FOLDED_TOLERANCE = 1e-5  # of outputs, relative: a folded constant is rounded to float32


@dataclass(frozen=True)
class Pruning:
    """What a pruning did.

    Attributes:
        pruned: the net and weights that are left.
        equal: weights of the whole net with which it computes what the pruned one does.
        tolerance: within which it does.
        decisions: the layers that could lose channels.
        counts: how many channels each of them keeps.
        folded: number of constant channels that went into biases.
        is_lossless: whether the outputs are those of the whole net as it was.
        stay: layers all or some of whose filters have to stay, and why.
    """

    pruned: PrunedNet
    equal: Arrays
    tolerance: float
    decisions: list[Decision]
    counts: list[int]
    folded: int
    is_lossless: bool
    stay: dict[str, str]

    def deploy_nets(self) -> tuple[NetDefinition, NetDefinition] | None:
        """Return the deploy nets of the whole and of what is left; None of a net without one."""
        nets, image = (self.pruned.whole, self.pruned.definition), self.pruned.image
        try:
            whole, left = (deploy_net(net, image=image).definition for net in nets)
        except SqgenError:
            return None
        return whole, left


class Pruner:
    """A net with its weights, of which channels may go.

    Args:
        net: the net.
        models: its weights: (name of the file, contents).
        image: (channels, height, width) of the records of data layers that don't say.

    Raises:
        NetError: Caffe would refuse the net, the weights are of another, or no channel may go.
    """

    def __init__(self, net: NetDefinition, models: list[Model], image: Shape | None = None) -> None:
        self._net, self._image = net, image
        self.groups = ChannelGroups(net, image)
        self.decisions = find_decisions(self.groups)
        self.arrays = net_arrays(require_shapes(net, "TEST", image), models)

    def by_ratios(self, rules: RatioRules, criterion: str, seed: int = 0) -> Pruning:
        """Keep a share of each layer's channels, those of the highest scores.

        Raises:
            DesignError: a rule fits no layer, or there is no such criterion.
            NetError: a layer would be left without filters.
        """
        counts = rules.counts(self.decisions, self._stay)
        scores = score_groups(criterion, self.groups, self.arrays, seed)
        shrinking = Shrinking(self.groups, keep_best(self.decisions, counts, scores))
        return self._finish(shrinking, self.arrays, shrinking.mask_arrays(self.arrays))

    def within(
        self, budgets: Sequence[Budget], rules: RatioRules, criterion: str, seed: int = 0
    ) -> Pruning:
        """Keep the same share of each layer's channels, the largest within all budgets.

        Raises:
            DesignError: a budget can't be met, a rule fits no layer, or there is no such criterion.
        """
        rules.check_patterns(self.decisions, self._stay)
        scores = score_groups(criterion, self.groups, self.arrays, seed)
        costs = NetCosts(self.groups)
        removed = keep_within(budgets, self.decisions, rules, scores, costs)
        shrinking = Shrinking(self.groups, removed)
        return self._finish(shrinking, self.arrays, shrinking.mask_arrays(self.arrays))

    def lossless(self) -> Pruning:
        """Take only the channels that can't matter."""
        found = find_lossless(self.groups, self.arrays)
        shrinking = Shrinking(self.groups, found.removed)
        folded = len(found.constant)
        return self._finish(shrinking, found.arrays, self.arrays, folded, is_lossless=True)

    @property
    def _stay(self) -> dict[str, str]:
        return {
            name: group.reason
            for group in self.groups.groups.values()
            for name in group.layers
            if group.reason is not None
        }

    def _finish(
        self,
        shrinking: Shrinking,
        arrays: Arrays,
        equal: Arrays,
        folded: int = 0,
        is_lossless: bool = False,
    ) -> Pruning:
        param = shrinking.shrink_net(self._net.param)
        left = make_pruned_net(self._net, param, shrinking.shrink_arrays(arrays), self._image)
        counts = [
            sum(root not in shrinking.removed for root in decision.roots)
            for decision in self.decisions
        ]
        tolerance = FOLDED_TOLERANCE if folded else EXACT_TOLERANCE
        return Pruning(
            left, equal, tolerance, self.decisions, counts, folded, is_lossless, self._stay
        )
