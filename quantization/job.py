"""Choose the bits of a net's layers within budgets: the search, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..compress.bits_file import QuantizerSettings, Range
from ..engine.agreement import TOP1, Agreement, check_finite, check_labels, compare
from ..nets.definition import NetDefinition
from ..nets.deploy import deploy_net
from ..nets.layer_types import Shape
from ..nets.shapes import require_shapes
from ..progress import StartBar, no_bar
from ..search.journal import Trials, identify
from ..search.problem import Choice, LossTable, fill
from ..search.run import Search
from ..weights.make_caffemodel import make_caffemodel
from .chosen_bits import bits_file
from .costs import Cost
from .layer_features import layer_features
from .layer_table import LayerTable
from .problem import FLOAT_BITS, BitsProblem, Budget

if TYPE_CHECKING:
    from ..engine.histograms import Histogram
    from ..engine.input_images import InputImages
    from ..engine.quantizers import Quantizer
    from ..engine.short_training import ShortTraining
    from ..formats.schema import NetParameter

UNTRIED = ("uniform", "fisher")  # methods whose first choice is their last
EXPECTING = ("fisher", "knapsack")  # those that begin with the losses to expect
WHOLE, QUANTIZED = ("whole", "quantized")
WEIGHTS, READS = ("weights", "reads")


@dataclass(frozen=True)
class LayerBits:
    """The bits of a layer, its number of weights, and its bytes in the file.

    Attributes:
        activation_bits: of what the layer reads; None where that stays float.
    """

    layer: str
    weights: int
    bits: float
    bytes: int
    activation_bits: int | None = None


@dataclass(frozen=True)
class Spent:
    """What bits cost: with 8 bits everywhere, as chosen, and at most."""

    cost: Cost
    before: float
    after: float
    limit: float


@dataclass(frozen=True)
class ExpectedLosses:
    """What the bits of a layer alone were expected to lose.

    Attributes:
        of: `WEIGHTS`, or `READS`: what the layer reads.
        bits, losses: divergence from the whole net at so many bits, in nats.
    """

    layer: str
    of: str
    bits: list[float]
    losses: list[float]


@dataclass(frozen=True)
class Quantization:
    """What was chosen.

    Attributes:
        layers: in the order of the net.
        file: the .sqz file.
        spent: of each budget.
        agreements: which net -> how far it agrees with the whole one on images: the whole, the
            largest number of bits within the budget that all layers can have, and the chosen bits.
        ranges: of what layers read, where it is quantized.
        expected: what each layer alone was expected to lose, if the method began with that.
    """

    layers: list[LayerBits]
    file: bytes
    spent: list[Spent]
    agreements: dict[str, Agreement]
    ranges: Mapping[str, Range]
    expected: list[ExpectedLosses]


class QuantizationJob:
    """A choice of bits that was checked, and can be made.

    Args:
        net: the net.
        table: its layers.
        budgets: one or more.
        search: how bits are found.
        score: of its trials, one of `agreement.SCORES`.
        image: (channels, height, width) of the records of data layers that don't define it.
        activation_bits: of what all layers read: `FLOAT_BITS` leaves it float; None chooses.
        settings: how it is quantized.
        training: of the net of each trial, before its score.

    Raises:
        DesignError: no bits meet a budget, or all do; or the trials are too few for the search.
        NetError: the net has no deploy net.
    """

    def __init__(
        self,
        net: NetDefinition,
        table: LayerTable,
        budgets: Sequence[Budget],
        search: Search,
        score: str,
        image: Shape | None = None,
        activation_bits: int | None = FLOAT_BITS,
        settings: QuantizerSettings | None = None,
        training: ShortTraining | None = None,
    ) -> None:
        self._training = training
        self._net, self._table, self._search, self._score = net, table, search, score
        self._budgets, self._settings = budgets, settings or QuantizerSettings()
        self._quantizes_activations = activation_bits != FLOAT_BITS
        shapes = require_shapes(net, "TEST", image)
        features = layer_features(shapes, table.names)
        self._problem = BitsProblem(table, budgets, features, activation_bits)
        search.check(self._problem)
        self._deploy = deploy_net(net, image=image).definition

    def run(
        self, images: InputImages, trials: Trials, start_bar: StartBar = no_bar
    ) -> Quantization:
        """Choose the bits, and make the file.

        Args:
            images: to score the trials on.
            trials: where those of a search are recorded.
            start_bar: shows how far a search is.

        Raises:
            SqgenError: the net can't run on the images, or the journal can't be used.
        """
        trial = _Trial(
            self._deploy, images, self._table, self._problem, self._settings, self._training
        )
        if self._quantizes_activations:
            trial.calibrate()
        whole = trial.whole()
        check_finite(whole, self._net.source)
        if self._score == TOP1:
            check_labels(images.labels, whole.shape[1], "--data")

        @cache
        def agreement(choice: Choice) -> Agreement:
            return compare(whole, trial.probabilities(choice), images.labels)

        problem = self._problem
        problem.score_bits = lambda choice: agreement(choice).score(self._score, images.total)
        problem.expect_losses = cache(trial.expected_losses)
        choice = self._choose(images, trials, start_bar)
        uniform = problem.uniform()
        return Quantization(
            self._layers(choice),
            self._table.file(problem.bits(choice).levels),
            self._spent(choice),
            {
                WHOLE: compare(whole, whole, images.labels),
                f"{self._table.bits(uniform[0]):g} bits": agreement(uniform),
                QUANTIZED: agreement(choice),
            },
            trial.ranges(choice),
            self._expected(problem.expected()) if self._search.by in EXPECTING else [],
        )

    def _choose(self, images: InputImages, trials: Trials, start_bar: StartBar) -> Choice:
        if self._search.by in UNTRIED:
            return self._search.first(self._problem)
        journal = trials.open(self._about(images))
        with start_bar(self._search.trials) as bar:
            found = self._search.run(self._problem, journal, bar)
        # A method's best trial may leave a part of the budget.
        filled = fill(self._problem, found, range(len(found)))
        return min(filled, found, key=self._problem.score)

    def _layers(self, choice: Choice) -> list[LayerBits]:
        table, bits = self._table, self._problem.bits(choice)
        sizes = table.layer_bytes(bits.levels)
        read = [int(each) if self._quantizes_activations else None for each in bits.activations]
        rows = zip(table.names, table.weights, bits.weights, sizes, read, strict=True)
        return [LayerBits(*row) for row in rows]

    def _expected(self, found: LossTable) -> list[ExpectedLosses]:
        rows = []
        for place, (levels, losses) in enumerate(zip(*found, strict=True)):
            _, layer, of_weights = self._problem.decision(place)
            bits = [self._table.bits(level) if of_weights else level for level in levels.tolist()]
            rows.append(
                ExpectedLosses(layer, WEIGHTS if of_weights else READS, bits, losses.tolist())
            )
        return rows

    def _spent(self, choice: Choice) -> list[Spent]:
        problem = self._problem
        amounts = problem.amounts(problem.most), problem.amounts(choice), problem.limits
        rows = zip(self._budgets, *amounts, strict=True)
        return [Spent(budget.cost, *row) for budget, *row in rows]

    def _about(self, images: InputImages) -> dict[str, Any]:
        """Return what tells this search from others."""
        net = self._net.param.SerializeToString(deterministic=True)
        sizes = zip(self._table.names, self._table.weights, strict=True)
        return {
            **self._search._asdict(),
            "score": self._score,
            "quantizer": self._table.quantizer,
            "activations": self._problem.activation_bits,
            "budgets": [budget.text for budget in self._budgets],
            **({} if self._training is None else {"training": self._training.digest}),
            **identify(net, self._table.exact.values(), images.batches),
            "layers": [{"layer": name, "weights": count} for name, count in sizes],
        }


class _Trial:
    """A net on images, run with the bits of choices."""

    def __init__(
        self,
        net: NetDefinition,
        images: InputImages,
        table: LayerTable,
        problem: BitsProblem,
        settings: QuantizerSettings,
        training: ShortTraining | None,
    ) -> None:
        from ..engine.image_run import ImageRun  # loads PyTorch

        self._net, self._images, self._run = net, images, ImageRun(net, images)
        self._table, self._problem, self._settings = table, problem, settings
        self._training = training
        self._histograms: dict[str, Histogram] = {}

    def calibrate(self) -> None:
        """Count what the layers read, so that it can be quantized."""
        model = make_caffemodel(self._net, self._table.exact)
        self._histograms = self._run.histograms(model, self._table.names)

    def whole(self) -> np.ndarray:
        """Return the probabilities of the whole net."""
        return self._run.probabilities(make_caffemodel(self._net, self._table.exact))

    def expected_losses(self) -> LossTable:
        """Return what each decision alone is expected to lose."""
        from .expected_losses import expected_losses

        model = make_caffemodel(self._net, self._table.exact)
        return expected_losses(
            self._net, model, self._images, self._table, self._problem, self._quantizer
        )

    def _quantizer(self, name: str, bits: int) -> Quantizer:
        """Return the quantizer of what a layer reads."""
        from ..engine.calibration import activation_quantizer

        return activation_quantizer(self._range(name, bits), bits, self._settings)

    def probabilities(self, choice: Choice) -> np.ndarray:
        """Return the probabilities with the bits of a choice."""
        read = self._activation_bits(choice)
        quantizers = {name: self._quantizer(name, bits) for name, bits in read.items()}
        return self._run.probabilities(self._quantized(choice), quantizers)

    def _quantized(self, choice: Choice) -> NetParameter:
        """Return the weights with the bits of a choice, trained if trials are."""
        table, bits = self._table, self._problem.bits(choice)
        if self._training is None:
            return make_caffemodel(self._net, table.arrays(bits.levels))
        weights = dict(zip(table.names, bits.weights, strict=True))
        file = bits_file(
            table.quantizer, weights, self._activation_bits(choice), self.ranges(choice)
        )
        whole = make_caffemodel(self._net, table.exact)
        return self._training.run(whole, self._net.source, file)

    def ranges(self, choice: Choice) -> dict[str, Range]:
        """Return the range of what each layer reads; of none where it stays float."""
        return {
            name: self._range(name, bits) for name, bits in self._activation_bits(choice).items()
        }

    def _activation_bits(self, choice: Choice) -> dict[str, int]:
        if not self._histograms:
            return {}
        bits = self._problem.bits(choice).activations
        return {name: int(each) for name, each in zip(self._table.names, bits, strict=True)}

    @cache  # noqa: B019 - lives as long as the search
    def _range(self, name: str, bits: int) -> Range:
        from ..engine.calibration import activation_range

        return activation_range(self._histograms[name], bits, self._settings)
