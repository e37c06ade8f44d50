"""Prune a net by ratios, or of what can't matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..compress.bits_file import MAXIMUM_BITS
from ..engine.agreement import Agreement, check_finite, check_labels, compare, probabilities
from ..errors import NetError, SqgenError
from ..formats.prototxt import to_text
from ..formats.ristretto import RISTRETTO_TYPES
from ..formats.schema import PHASES
from ..nets.definition import NetDefinition, layer_is_in, parse_net
from ..nets.deploy import deploy_net
from ..nets.layer_types import Shape
from ..nets.shapes import require_shapes
from ..text import first_few, printable
from ..weights.make_caffemodel import make_caffemodel
from ..weights.net_arrays import Arrays, Model, net_arrays
from .budgets import Budget, Limits
from .byte_costs import ByteCosts
from .channel_groups import ChannelGroups
from .criteria import BY_WEIGHTS, check_criterion, score_by_gradients, score_groups
from .decision_features import decision_features
from .decisions import Decision, RatioRules, find_decisions, keep_best
from .latency import LatencyCosts
from .lossless import find_lossless
from .problem import PruningProblem, Score
from .pruned_net import PrunedNet, make_pruned_net
from .reconstruction import reconstruct, reconstructible
from .shrink import Shrinking

if TYPE_CHECKING:
    from ..engine.input_images import InputImages
    from ..engine.input_sums import InputSums
    from ..nets.latency_table import LatencyTable

WHOLE, PLAIN, RECONSTRUCTED = ("whole", "pruned", "reconstructed")

EXACT_TOLERANCE = 1e-9  # of outputs in float64, relative: sums of other lengths round otherwise
FOLDED_TOLERANCE = 1e-5  # of outputs, relative: a folded constant is rounded to float32


@dataclass(frozen=True)
class Pruning:
    """What a pruning did.

    Attributes:
        pruned: the net and weights that are left, reconstructed if images were given.
        plain: the weights that are left, as they were.
        equal: weights of the whole net with which it computes what the pruned one does with these.
        tolerance: within which it does.
        decisions: the layers that could lose channels.
        counts: how many channels each of them keeps.
        removed: roots of the groups that went.
        folded: number of constant channels that went into biases.
        is_lossless: whether the outputs are those of the whole net as it was.
        stay: layers all or some of whose filters have to stay, and why.
    """

    pruned: PrunedNet
    plain: Arrays
    equal: Arrays
    tolerance: float
    decisions: list[Decision]
    counts: list[int]
    removed: list[int]
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
        NetError: Caffe would refuse the net, it has layers that are in no phase, or none in TEST;
            the weights are of another, or not finite; or no channel may go.
    """

    def __init__(self, net: NetDefinition, models: list[Model], image: Shape | None = None) -> None:
        self._net, self._image = net, image
        self._whole: tuple[InputImages, np.ndarray] | None = None
        _check_phases(net)
        _check_types(net)
        self.groups = ChannelGroups(net, image)
        self.decisions = find_decisions(self.groups)
        self.arrays = net_arrays(require_shapes(net, "TEST", image), models)
        _check_finite(self.arrays, models)

    def by_ratios(
        self, rules: RatioRules, criterion: str, seed: int = 0, images: InputImages | None = None
    ) -> Shrinking:
        """Keep a share of each layer's channels, those of the highest scores.

        Raises:
            DesignError: a rule fits no layer, or there is no such criterion, or not without images.
            NetError: a layer would be left without filters.
        """
        counts = rules.counts(self.decisions, self._stay)
        scores = self.scores(criterion, seed, images)
        return Shrinking(self.groups, keep_best(self.decisions, counts, scores))

    def problem(
        self,
        budgets: Sequence[Budget],
        rules: RatioRules,
        criterion: str,
        seed: int = 0,
        images: InputImages | None = None,
    ) -> PruningProblem:
        """Return the choices of channels within budgets.

        Raises:
            DesignError: a budget can't be met, a rule fits no layer, or there is no such criterion,
                or not without images.
        """
        rules.check_patterns(self.decisions, self._stay)
        scores = self.scores(criterion, seed, images)
        features = decision_features(self.groups, self.decisions)
        return PruningProblem(self.decisions, rules, scores, Limits(budgets), features)

    def byte_costs(self, bits: int = MAXIMUM_BITS) -> ByteCosts:
        """Return what nets take as .sqz files with codes of so many bits.

        Raises:
            SqgenError: the weights can't be encoded.
        """
        return ByteCosts(self._net, self.groups, self.arrays, self._image, bits)

    def latency_costs(self, table: LatencyTable) -> LatencyCosts:
        """Return how long nets take by a table.

        Raises:
            FormatError: the table lacks layers.
            NetError: the net has no deploy net.
        """
        return LatencyCosts(self.groups, self._net, self._image, table)

    def scores(
        self, criterion: str, seed: int = 0, images: InputImages | None = None
    ) -> dict[int, float]:
        """Return root -> how much a group of channels matters.

        Args:
            criterion: one of `criteria.CRITERIA`.
            seed: of `random`, and of the labels of gradients.
            images: for gradients.

        Raises:
            DesignError: there is no such criterion, or not without images.
            SqgenError: the net can't run on the images.
        """
        check_criterion(criterion, images is not None)
        if images is None or criterion in BY_WEIGHTS:
            return score_groups(criterion, self.groups, self.arrays, seed)
        from ..engine.channel_gradients import gate_gradients

        made = deploy_net(self._net, image=self._image).definition
        kept = {layer.name for layer in made.layers("TEST")}
        names = {wired.name for wired in self.groups.layers() if wired.filters.size} & kept
        model = make_caffemodel(made, self.arrays)
        gates = gate_gradients(made, model, names, images.batches, seed)
        return score_by_gradients(criterion, self.groups, gates)

    def keep(self, problem: PruningProblem, choice: Sequence[int]) -> Shrinking:
        """Return what is left with a choice."""
        return Shrinking(self.groups, problem.removed(choice))

    def prune(self, shrinking: Shrinking, sums: Mapping[str, InputSums] | None = None) -> Pruning:
        """Take channels out.

        Args:
            shrinking: those that go.
            sums: of what layers read, if they are to be reconstructed.
        """
        plain = shrinking.shrink_arrays(self.arrays)
        arrays = plain
        if sums is not None:
            arrays = plain | reconstruct(self.groups, shrinking, self.arrays, sums)
        return self._finish(shrinking, arrays, plain, shrinking.mask_arrays(self.arrays))

    def lossless(self) -> Pruning:
        """Take only the channels that can't matter."""
        found = find_lossless(self.groups, self.arrays)
        shrinking = Shrinking(self.groups, found.removed)
        arrays = shrinking.shrink_arrays(found.arrays)
        folded = len(found.constant)
        return self._finish(shrinking, arrays, arrays, self.arrays, folded, is_lossless=True)

    def collect_sums(self, images: InputImages) -> dict[str, InputSums]:
        """Sum up over images what the layers read that can be reconstructed.

        Raises:
            SqgenError: the net has no deploy net, or a layer reads what is not finite.
        """
        from ..engine.input_sums import collect_sums

        whole = deploy_net(self._net, image=self._image, keep_dropout=True).definition
        layers = [wired.item for wired in reconstructible(self.groups)]
        sums = collect_sums(whole, make_caffemodel(whole, self.arrays), layers, images.batches)
        for name, each in sums.items():
            if not np.isfinite(each.products).all():
                raise NetError(
                    f"{printable(self._net.source)}: layer '{printable(name)}' reads nan or"
                    " infinite values of these images; check the weights and --mean and --scale"
                )
        return sums

    def agreements(self, done: Pruning, images: InputImages) -> dict[str, Agreement]:
        """Return what the whole net, the pruned one, and the reconstructed one say of images.

        Raises:
            SqgenError: the net has no deploy net, or several outputs.
        """
        left = done.pruned.definition
        found = {
            WHOLE: self._whole_probabilities(images),
            PLAIN: self.probabilities(left, done.plain, images),
            RECONSTRUCTED: self.probabilities(left, done.pruned.arrays, images),
        }
        return {name: compare(found[WHOLE], each, images.labels) for name, each in found.items()}

    def _whole_probabilities(self, images: InputImages) -> np.ndarray:
        """Return what the whole net says of images, computed once."""
        if self._whole is None or self._whole[0] is not images:
            self._whole = images, self.probabilities(self._net, self.arrays, images)
        return self._whole[1]

    def probabilities(self, net: NetDefinition, arrays: Arrays, images: InputImages) -> np.ndarray:
        """Return what a net says of images: (images, classes).

        Raises:
            SqgenError: it has no deploy net, or several outputs.
        """
        made = deploy_net(net, image=self._image).definition
        return probabilities(made, make_caffemodel(made, arrays), images)

    def check_labels(self, images: InputImages, source: str) -> None:
        """Check that the labels of images from `source` can score the net.

        Raises:
            NetError: there are none, some are of no class, or they don't tell images apart.
        """
        check_labels(images.labels, self._whole_probabilities(images).shape[1], source)

    def scorer(self, images: InputImages, sums: Mapping[str, InputSums], kind: str) -> Score:
        """Return a score of a reconstructed net on images.

        Args:
            images: with labels for `top-1`.
            sums: of what layers read.
            kind: one of `agreement.SCORES`.

        Raises:
            NetError: the whole net's outputs are not finite.
        """
        whole = self._whole_probabilities(images)
        check_finite(whole, self._net.source)

        def score(removed: list[int]) -> float:
            shrinking = Shrinking(self.groups, removed)
            arrays = shrinking.shrink_arrays(self.arrays)
            arrays |= reconstruct(self.groups, shrinking, self.arrays, sums)
            left = parse_net(to_text(shrinking.shrink_net(self._net.param)), self._net.source)
            found = compare(whole, self.probabilities(left, arrays, images), images.labels)
            return found.score(kind, images.total)

        return score

    @property
    def net_bytes(self) -> bytes:
        """What tells the net from others."""
        return self._net.param.SerializeToString(deterministic=True)

    @property
    def untested(self) -> list[str]:
        """Layers with parameters that are in TRAIN only, such as auxiliary classifiers."""
        layers = [wired.item for wired in self.groups.layers()]
        names = dict.fromkeys(item.layer.name for item in layers if item.blobs)
        return [name for name in names if name not in self.arrays]

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
        plain: Arrays,
        equal: Arrays,
        folded: int = 0,
        is_lossless: bool = False,
    ) -> Pruning:
        param = shrinking.shrink_net(self._net.param)
        left = make_pruned_net(self._net, param, arrays, self._image)
        counts = [
            sum(root not in shrinking.removed for root in decision.roots)
            for decision in self.decisions
        ]
        tolerance = FOLDED_TOLERANCE if folded else EXACT_TOLERANCE
        return Pruning(
            left,
            plain,
            equal,
            tolerance,
            self.decisions,
            counts,
            sorted(shrinking.removed),
            folded,
            is_lossless,
            self._stay,
        )


def _check_types(net: NetDefinition) -> None:
    """Refuse layers of Ristretto: their formats are chosen for the channels that there are."""
    layer = next((each for each in net.param.layer if each.type in RISTRETTO_TYPES), None)
    if layer is not None:
        raise NetError(
            f"{net.place(layer)}: layer '{printable(layer.name)}' is quantized; prune the net that"
            " it was made of, and quantize what is left"
        )


def _check_phases(net: NetDefinition) -> None:
    """Check that all layers are seen: what reads a channel has to lose it, too."""
    if not net.layers("TEST"):
        raise NetError(f"{printable(net.source)}: has no layers in TEST, whose costs count")
    for layer in net.param.layer:
        if not any(layer_is_in(layer, phase, net.level, net.stages) for phase in PHASES.values()):
            raise NetError(
                f"{net.place(layer)}: layer '{printable(layer.name)}' is in neither phase without a"
                " stage or level, so it can't be pruned with the others; take it out of the net"
            )


def _check_finite(arrays: Arrays, models: Sequence[Model]) -> None:
    bad = [name for name, blobs in arrays.items() if not all(np.isfinite(b).all() for b in blobs)]
    if bad:
        shown = " and ".join(source for source, _ in models)
        raise NetError(
            f"{shown}: has weights that are nan or infinite in {first_few(bad)}; train or fetch it"
            " again"
        )
