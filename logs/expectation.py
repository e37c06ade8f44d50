"""Bounds on a score, such as `top1=0.6038+-0.001`, and checks of a result against them."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from ..errors import DesignError
from ..evaluation.intervals import standard_error
from ..text import printable
from .result import LogResult
from .scores import (
    LOSS,
    Score,
    find_score,
    is_accuracy_name,
    score_names,
)

if TYPE_CHECKING:
    from ..models.card import Card

_EXPECTATION = re.compile(
    r"([^=]+?)\s*=\s*([-+.\deE%]+?)(?:\s*(?:\+-|±)\s*([-+.\deE%]+|[.\d]+se))?"
)
_ROUNDING = 1e-9  # by which two equal decimal fractions may differ in binary
_COUNT_ROUNDING = 0.01  # images, by which the six digits of a log may be off
_PLAIN = re.compile(r"[-+]?\d*\.\d+%?")  # a value whose last digit tells its precision
_FLAGS = {"=": "--expect", ">=": "--min", "<=": "--max"}


class Tolerance(NamedTuple):
    """How far a score may be off.

    Attributes:
        amount: the difference, or the number of units.
        unit: empty for a difference; `%` of the expected value, or its standard errors `se`.
    """

    amount: float
    unit: str = ""

    def width(self, expected: float, images: int | None) -> float:
        """Return the tolerance as a difference of scores.

        Raises:
            DesignError: it is in standard errors, and the number of images is not known.
        """
        if self.unit == "%":
            return abs(expected) * self.amount / 100
        if not self.unit:
            return self.amount
        noise = standard_error(expected, images)
        if noise is None:
            raise DesignError(
                f"+-{self.amount:g}se: a tolerance in standard errors needs an accuracy and the"
                " number of images, which the log does not have; give --images N"
            )
        return self.amount * noise


class Check(NamedTuple):
    """A check of a result: what was expected, what the result has, and whether that passes.

    Attributes:
        name: the score, or what else was checked.
        expected, got: as text for the user.
        difference: got - expected, where both are numbers.
        noise: the standard error of the score, where it has one.
        passed: whether the check passes.
        reason: why it fails, or the number of images that are right.
    """

    name: str
    expected: str
    got: str
    difference: float | None = None
    noise: float | None = None
    passed: bool = False
    reason: str = ""


class Expectation(NamedTuple):
    """A score and its bound: `=`, `>=` or `<=` of a value; `measured` in an earlier result."""

    name: str
    relation: str
    value: float
    tolerance: Tolerance
    measured: bool = False

    def check(self, result: LogResult, images: int | None) -> Check:
        """Check a result.

        Args:
            result: the result.
            images: number of images that its scores average, if known.
        """
        score = find_score(result.scores, self.name)
        bound = {"=": "", ">=": "at least ", "<=": "at most "}[self.relation]
        width = self.tolerance.width(self.value, images)
        expected = f"{bound}{self.value:g}" + (f" +- {width:.3g}" if width else "")
        if score is None:
            known = ", ".join(score_names(result.scores)) or "none"
            return Check(self.name, expected, "-", reason=f"no such score; there: {known}")
        name = score_names(result.scores)[result.scores.index(score)]
        difference = score.value - self.value
        noise = standard_error(score.value, images) if score.role != LOSS else None
        passed = score.valid and {
            "=": abs(difference) <= width + _ROUNDING,
            ">=": difference >= -width - _ROUNDING,
            "<=": difference <= width + _ROUNDING,
        }.get(self.relation, False)
        if not score.valid:
            reason = "the loss beside it is not finite, so it means nothing"
        elif score.k and images and math.isfinite(score.value):
            reason = _count_right(self, score.value, width, images)
        else:
            reason = ""
        return Check(name, expected, _format_value(score), difference, noise, passed, reason)


def _count_right(expectation: Expectation, value: float, width: float, images: int) -> str:
    """Return a check of an accuracy as numbers of images that are right."""
    right, expected = round(value * images), round(expectation.value * images)
    if expectation.relation != "=" and not expectation.measured:
        bound = (expectation.value + (width if expectation.relation == "<=" else -width)) * images
        limit = (
            f"at least {math.ceil(bound - _COUNT_ROUNDING):,} must be"
            if expectation.relation == ">="
            else f"at most {math.floor(bound + _COUNT_ROUNDING):,} may be"
        )
        return f"{right:,} of {images:,} are right; {limit}"
    if right == expected:
        return f"{right:,} of {images:,} are right"
    change = f"{abs(right - expected):,} of {images:,} {'fewer' if right < expected else 'more'}"
    allowed = math.floor(width * images + _COUNT_ROUNDING)
    return f"{change} are right: {expected:,} -> {right:,}; allowed {allowed:,}"


def _format_value(score: Score) -> str:
    return f"{score.value:g}" if score.valid else f"~~{score.value:g}~~"


def parse_expectation(text: str, relation: str) -> Expectation:
    """Parse `top1=0.6038+-0.001`, where a value may be `60.38%` and a tolerance `2se`.

    Without a tolerance, `=` compares as many decimals as the value has.

    Raises:
        DesignError: it is something else, or a value without decimals has no tolerance.
    """
    match = _EXPECTATION.fullmatch(text.strip())
    try:
        if match is None:
            raise ValueError
        name, value, tolerance = match.groups()
        bound = _parse_amount(value)
        if tolerance is not None:
            allowed = parse_tolerance(tolerance)
        else:
            allowed = Tolerance(_half_last_digit(value) if relation == "=" else 0.0)
    except ValueError:
        example = "top1=0.6038+-0.001" if relation == "=" else "top1=0.82"
        raise DesignError(
            f"{_FLAGS[relation]} {printable(text)}: write a score and a value, such as {example}"
        ) from None
    if relation == "=" and tolerance is None and not _PLAIN.fullmatch(value):
        example = "0.001" if is_accuracy_name(name) else "1%"
        raise DesignError(
            f"{_FLAGS[relation]} {printable(text)}: how far may it be off? Write it, such as"
            f" {printable(name)}={value}+-{example}"
        )
    return Expectation(name.strip(), relation, bound, allowed)


def parse_tolerance(text: str) -> Tolerance:
    """Parse `0.001`, `10%` of the expected value, or `2se`.

    Raises:
        ValueError: none of them.
    """
    unit = next((unit for unit in ("%", "se") if text.endswith(unit)), "")
    amount = _parse_amount(text.removesuffix(unit))
    if amount < 0:
        raise ValueError(text)
    return Tolerance(amount, unit)


def _parse_amount(text: str) -> float:
    """Return the value of `0.5` or `50%`."""
    value = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _half_last_digit(text: str) -> float:
    """Return half a unit of the last digit that was written."""
    decimals = text.rstrip("%").partition(".")[2]
    return 0.5 * 10.0 ** -(len(decimals) + 2 * text.endswith("%"))


def refuse_percent(expectation: Expectation) -> None:
    """Refuse an accuracy that was meant in percent.

    Raises:
        DesignError: it is above 1.
    """
    if expectation.value > 1:
        value = f"{expectation.value:g}"
        raise DesignError(f"{expectation.name}: {value} is more than 1; write {value}%")


def published_expectations(card: Card, tolerance: Tolerance) -> list[Expectation]:
    """Return the published scores of a net as expectations.

    Raises:
        DesignError: none were published.
    """
    accuracy = card.accuracy
    if accuracy is None:
        raise DesignError(f"--published {card.name}: no accuracy was published for it")
    relation = ">=" if accuracy.at_least else "="
    expected = [
        Expectation("top1", relation, accuracy.top1 / 100, tolerance),
        Expectation("top5", relation, accuracy.top5 / 100, tolerance),
    ]
    if accuracy.loss is not None:
        expected.append(Expectation("loss", "<=", accuracy.loss, Tolerance(1, "%")))
    return expected
