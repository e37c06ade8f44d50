"""Bits as a search problem: how many the numbers of each layer get, within budgets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..compress.bits_file import MAXIMUM_BITS, MINIMUM_BITS
from ..errors import DesignError, NetError
from ..search.budget import budget_amount
from ..search.problem import Choice, LossProposals, LossTable
from .costs import Bits, Cost
from .layer_features import Features
from .layer_table import LayerTable

Score = Callable[[Choice], float]

FLOAT_BITS = 32  # of activations that are not quantized


class Budget(NamedTuple):
    """How much of a cost bits may have.

    Attributes:
        cost: such as bytes.
        given: a share of the cost of 8 bits everywhere, up to 1; above, an amount.
    """

    cost: Cost
    given: float

    @property
    def text(self) -> str:
        """The budget as it is typed."""
        return f"{self.cost.flag} {self.given:.15g}"


class Decision(NamedTuple):
    """What bits are of: the weights of a layer, or what it reads.

    Attributes:
        place: of the layer, among those whose bits are chosen.
        layer: its name.
    """

    place: int
    layer: str
    of_weights: bool


class BitsProblem:
    """Which bits the layers of a net may have.

    A choice has the level of each layer's weights; where bits of activations are chosen too, each
    is followed by the bits of what the layer reads.

    Args:
        table: the layers.
        budgets: one or more.
        features: of the layers.
        activation_bits: of what all layers read; None if they are chosen.

    Attributes:
        activation_bits: as given.
        limits: amount of each budget.
        score_bits: how bad a choice is; the less, the better. None until a search needs it.
        expect_losses: what each decision alone is expected to lose, at its `levels_alone`.
            None likewise.

    Raises:
        DesignError: no bits meet a budget, or all do.
    """

    def __init__(
        self,
        table: LayerTable,
        budgets: Sequence[Budget],
        features: Sequence[Features] = (),
        activation_bits: int | None = FLOAT_BITS,
    ) -> None:
        self._table, self._budgets, self.activation_bits = table, tuple(budgets), activation_bits
        self.most = self._joined(table.most, MAXIMUM_BITS)
        self.least = self._joined(table.least, MINIMUM_BITS)
        self.features = features if not self.chooses_activations else _both(features)
        self.score_bits: Score | None = None
        self.expect_losses: Callable[[], LossTable] | None = None
        self.limits = [self._limit(budget) for budget in self._budgets]

    @property
    def chooses_activations(self) -> bool:
        """Whether a choice has bits of activations."""
        return self.activation_bits is None

    def _joined(self, levels: Sequence[int], activation_bits: int) -> Choice:
        if not self.chooses_activations:
            return tuple(levels)
        return tuple(number for level in levels for number in (level, activation_bits))

    def _limit(self, budget: Budget) -> float:
        cost = budget.cost
        most, least = (cost.amount(self.bits(choice)) for choice in (self.most, self.least))
        limit = budget_amount(budget.given, most)
        if limit >= most:
            raise DesignError(
                f"{budget.text}: {MAXIMUM_BITS} bits everywhere have {cost.text(most)} {cost.unit},"
                " so there is nothing to choose; give less"
            )
        if limit < least:
            raise DesignError(
                f"{budget.text}: can't be met; the least bits everywhere have"
                f" {cost.text(least)} {cost.unit} ({least / most:.4f})"
            )
        return limit

    def bits(self, choice: Sequence[int]) -> Bits:
        """Return what a choice means."""
        step = 2 if self.chooses_activations else 1
        levels = choice[::step]
        read = choice[1::2] if step == 2 else [self.activation_bits or 0] * len(levels)
        return Bits(levels, [self._table.bits(level) for level in levels], read)

    def amounts(self, choice: Sequence[int]) -> list[float]:
        """Return what a choice costs, of each budget."""
        bits = self.bits(choice)
        return [budget.cost.amount(bits) for budget in self._budgets]

    def use(self, choice: Sequence[int]) -> float:
        """Return which part of the tightest budget a choice takes."""
        return max(
            amount / limit for amount, limit in zip(self.amounts(choice), self.limits, strict=True)
        )

    def fits(self, choice: Sequence[int]) -> bool:
        """Whether a choice is within all budgets."""
        return self.use(choice) <= 1

    def score(self, choice: Sequence[int]) -> float:
        """Return how bad the net with these bits is.

        Raises:
            NetError: there are no images to tell.
        """
        if self.score_bits is None:
            raise _no_images()
        return self.score_bits(tuple(choice))

    expects_losses = True

    def losses_alone(self, count: int) -> LossProposals:
        """Return what each decision alone is expected to lose; try nothing."""
        yield from ()
        return self.expected()

    def expected(self) -> LossTable:
        """Return what each decision alone is expected to lose.

        Raises:
            NetError: there are no images to tell.
        """
        if self.expect_losses is None:
            raise _no_images()
        return self.expect_losses()

    def levels_alone(self, place: int) -> list[int]:
        """Return the levels at which a decision's loss is expected: whole bits, and the least."""
        return sorted({self.least[place], *self._whole_bits(place)})

    def uniform(self) -> Choice:
        """Return the most bits within the budgets that all layers can have."""
        levels = range(self.most[0], self.least[0] - 1, -1)
        return next(choice for level in levels if self.fits(choice := self._all_at(level)))

    def _all_at(self, level: int) -> Choice:
        """Return the choice of a level of weights everywhere, and about as many activation bits."""
        activation_bits = max(MINIMUM_BITS, round(level / self._table.steps))
        return self._joined([level] * len(self._table.names), activation_bits)

    def _whole_bits(self, place: int) -> list[int]:
        """Return the levels of whole bits below the most."""
        steps, least, most = self._steps(place), self.least[place], self.most[place]
        return [bits * steps for bits in range(MAXIMUM_BITS) if least <= bits * steps < most]

    def units(self, place: int) -> range:
        """Return the levels of whole bits, from 2 on."""
        steps = self._steps(place)
        return range(MINIMUM_BITS * steps, self.most[place] + 1, steps)

    def _steps(self, place: int) -> int:
        return self._table.steps if self._is_of_weights(place) else 1

    def decision(self, place: int) -> Decision:
        """Return what a decision is of."""
        index = place // 2 if self.chooses_activations else place
        return Decision(index, self._table.names[index], self._is_of_weights(place))

    def _is_of_weights(self, place: int) -> bool:
        return not self.chooses_activations or place % 2 == 0

    def error(self, place: int, level: int) -> float:
        """Return the squared error, which the loss follows.

        That of activations is in a unit of its own: a quarter for each further bit.
        """
        decision = self.decision(place)
        if not decision.of_weights:
            return float(4.0**-level)
        return self._table.error(decision.place, level)


def _no_images() -> NetError:
    return NetError("a search needs images: give --data")


def _both(features: Sequence[Features]) -> list[Features]:
    """Return the features of weights and of what is read, as HAQ has them: each layer's twice."""
    return [(*each, of_weights) for each in features for of_weights in (1.0, 0.0)]
