"""Choose the bits of a net's layers within a budget of bytes: the search, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.agreement import TOP1, Agreement, check_finite, check_labels, compare, probabilities
from ..nets.definition import NetDefinition
from ..nets.deploy import deploy_net
from ..nets.layer_types import Shape
from ..nets.shapes import require_shapes
from ..progress import StartBar, no_bar
from ..search.journal import Trials, identify
from ..search.problem import Choice, fill
from ..search.run import Search
from ..weights.make_caffemodel import make_caffemodel
from ..weights.net_arrays import Arrays
from .layer_features import layer_features
from .layer_table import LayerTable
from .problem import BitsProblem

if TYPE_CHECKING:
    from ..engine.input_images import InputImages

UNIFORM = "uniform"
WHOLE, QUANTIZED = ("whole", "quantized")


@dataclass(frozen=True)
class LayerBits:
    """The bits of a layer, its number of weights, and its bytes in the file."""

    layer: str
    weights: int
    bits: int
    bytes: int


@dataclass(frozen=True)
class Quantization:
    """What was chosen.

    Attributes:
        layers: in the order of the net.
        file: the .sqz file.
        limit: bytes that it may have.
        whole_bytes: of the file with 8 bits everywhere.
        agreements: which net -> how far it agrees with the whole one on images: the whole, the
            largest number of bits within the budget that all layers can have, and the chosen bits.
    """

    layers: list[LayerBits]
    file: bytes
    limit: int
    whole_bytes: int
    agreements: dict[str, Agreement]


class QuantizationJob:
    """A choice of bits that was checked, and can be made.

    Args:
        net: the net.
        table: its layers.
        budget: of bytes: a share of the file with 8 bits everywhere, up to 1; above, an amount.
        search: how bits are found.
        score: of its trials, one of `agreement.SCORES`.
        image: (channels, height, width) of the records of data layers that don't define it.

    Raises:
        DesignError: no bits meet the budget, or all do; or the trials are too few for the search.
        NetError: the net has no deploy net.
    """

    def __init__(
        self,
        net: NetDefinition,
        table: LayerTable,
        budget: float,
        search: Search,
        score: str,
        image: Shape | None = None,
    ) -> None:
        self._net, self._table, self._search, self._score = net, table, search, score
        shapes = require_shapes(net, "TEST", image)
        self._problem = BitsProblem(table, budget, layer_features(shapes, table.names))
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
        whole = self._probabilities(self._table.exact, images)
        check_finite(whole, self._net.source)
        if self._score == TOP1:
            check_labels(images.labels, whole.shape[1], "--data")

        @cache
        def agreement(choice: Choice) -> Agreement:
            found = self._probabilities(self._table.arrays(choice), images)
            return compare(whole, found, images.labels)

        problem = self._problem
        problem.score_bits = lambda choice: agreement(choice).score(self._score, images.total)
        choice = self._choose(images, trials, start_bar)
        uniform = problem.uniform()
        return Quantization(
            self._layers(choice),
            self._table.file(choice),
            problem.limit,
            self._table.file_bytes(self._table.most),
            {
                WHOLE: compare(whole, whole, images.labels),
                f"{uniform[0]} bits": agreement(uniform),
                QUANTIZED: agreement(choice),
            },
        )

    def _choose(self, images: InputImages, trials: Trials, start_bar: StartBar) -> Choice:
        if self._search.by == UNIFORM:
            return self._search.first(self._problem)
        journal = trials.open(self._about(images))
        with start_bar(self._search.trials) as bar:
            found = self._search.run(self._problem, journal, bar)
        # A method's best trial may leave a part of the budget.
        filled = fill(self._problem, found, range(len(found)))
        return min(filled, found, key=self._problem.score)

    def _probabilities(self, arrays: Arrays, images: InputImages) -> np.ndarray:
        return probabilities(self._deploy, make_caffemodel(self._deploy, arrays), images)

    def _layers(self, choice: Choice) -> list[LayerBits]:
        table = self._table
        rows = zip(table.names, table.weights, choice, table.layer_bytes(choice), strict=True)
        return [LayerBits(*row) for row in rows]

    def _about(self, images: InputImages) -> dict[str, Any]:
        """Return what tells this search from others."""
        net = self._net.param.SerializeToString(deterministic=True)
        sizes = zip(self._table.names, self._table.weights, strict=True)
        return {
            **self._search._asdict(),
            "score": self._score,
            "budgets": [f"--bytes {self._problem.limit}"],
            **identify(net, self._table.exact.values(), images.batches),
            "layers": [{"layer": name, "weights": count} for name, count in sizes],
        }
