"""Holding an accuracy: a result against what was asked, published, or had before."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DesignError, FormatError
from ..formats.files import read_bytes, write_files
from ..models.card import Card
from ..text import did_you_mean, printable
from .result import LOSS, OTHER, LogResult, Score
from .trouble import DIVERGED

FORMAT = 1  # of the baseline file
_TERM = re.compile(r"([^=]+?)\s*=\s*([-+.\deE%]+?)(?:\s*(?:\+-|±)\s*([-+.\deE%]+|[.\d]+se))?")
_SLACK = 1e-9  # what two decimal fractions may differ by in binary


class Tolerance(NamedTuple):
    """How far a score may be off: an absolute amount, or standard errors of the images."""

    amount: float
    standard_errors: bool = False

    def width(self, expected: float, images: int | None) -> float:
        """The tolerance as a difference.

        Raises:
            DesignError: standard errors are asked for and the images are not known.
        """
        if not self.standard_errors:
            return self.amount
        noise = standard_error(expected, images)
        if noise is None:
            raise DesignError(
                f"+-{self.amount:g}se: a tolerance in standard errors needs an accuracy and the"
                " number of images, which the log does not tell; give --images N"
            )
        return self.amount * noise


class Check(NamedTuple):
    """Something that was held: what was expected, what came, and whether that passes.

    Attributes:
        name: the score, or what else was held.
        expected, got: as a person reads them.
        difference: got - expected, where both are numbers.
        noise: the standard error of the score, where it has one.
        passed: whether it holds.
        reason: why not, or a remark.
    """

    name: str
    expected: str
    got: str
    difference: float | None
    noise: float | None
    passed: bool
    reason: str = ""


def standard_error(score: float, images: int | None) -> float | None:
    """sqrt(p (1 - p) / n): how far an accuracy of n images strays by chance alone."""
    if images is None or not images or not 0 <= score <= 1:
        return None
    return math.sqrt(score * (1 - score) / images)


# What was asked for


class Expectation(NamedTuple):
    """A score and its bound: `=`, `>=` or `<=` of a value."""

    name: str
    relation: str
    value: float
    tolerance: Tolerance

    def check(self, result: LogResult, images: int | None) -> Check:
        """Hold it against a result."""
        score = find_score(result, self.name)
        bound = {"=": "", ">=": "at least ", "<=": "at most "}[self.relation]
        width = self.tolerance.width(self.value, images)
        shown = f"{bound}{self.value:g}" + (f" +- {width:.3g}" if width else "")
        if score is None:
            known = ", ".join(names(result)) or "none"
            return Check(self.name, shown, "-", None, None, False, f"no such score; there: {known}")
        difference = score.value - self.value
        noise = standard_error(score.value, images) if score.role != LOSS else None
        passed = score.valid and {
            "=": abs(difference) <= width + _SLACK,
            ">=": difference >= -width - _SLACK,
            "<=": difference <= width + _SLACK,
        }.get(self.relation, False)
        reason = "" if score.valid else "the loss beside it is not finite, so it means nothing"
        got = f"{score.value:g}" if score.valid else f"~~{score.value:g}~~"
        return Check(self.name, shown, got, difference, noise, passed, reason)


def parse_expectation(text: str, relation: str) -> Expectation:
    """`top1=0.6038+-0.001`; `60.38%` and `+-2se` too.

    Without a tolerance, `--expect` asks for as many digits as it is given.

    Raises:
        DesignError: it is something else.
    """
    match = _TERM.fullmatch(text.strip())
    flag = {"=": "--expect", ">=": "--min", "<=": "--max"}[relation]
    try:
        if match is None:
            raise ValueError
        name, value, tolerance = match.groups()
        bound = _amount(value)
        if tolerance is not None:
            allowed = parse_tolerance(tolerance)
        else:
            allowed = Tolerance(_half_digit(value) if relation == "=" else 0.0)
    except ValueError:
        raise DesignError(
            f"{flag} {printable(text)}: write a score and a value, such as top1=0.6038+-0.001"
        ) from None
    return Expectation(name.strip(), relation, bound, allowed)


def parse_tolerance(text: str) -> Tolerance:
    """`0.001`, `0.1%` or `2se`.

    Raises:
        ValueError: none of them.
    """
    errors = text.endswith("se")
    amount = _amount(text.removesuffix("se"))
    if amount < 0:
        raise ValueError(text)
    return Tolerance(amount, errors)


def _amount(text: str) -> float:
    value = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _half_digit(text: str) -> float:
    """Half of the last digit that was written."""
    digits = text.rstrip("%").partition(".")[2]
    return 0.5 * 10.0 ** -(len(digits) + 2 * text.endswith("%"))


def find_score(result: LogResult, name: str) -> Score | None:
    """A score by what it is (`top1`, `top5`, `loss`) or by its output's name; `net1:top1` is the
    second test net's.

    Raises:
        DesignError: several outputs are that.
    """
    net, _, bare = name.rpartition(":") if re.match(r"net[0-9]{1,3}:", name) else ("net0", "", name)
    wanted = bare.lower().replace("-", "").replace("_", "")
    scores = [score for score in result.scores if f"net{score.net}" == net]
    exact = [score for score in scores if score.name == bare]
    alike = exact or [s for s in scores if wanted == (f"top{s.k}" if s.k else s.role)]
    if len(alike) > 1:
        several = ", ".join(score.name for score in alike)
        raise DesignError(f"{printable(name)} may be {printable(several)}: name one")
    return alike[0] if alike else None


def key(score: Score) -> str:
    """A score's name, with its net if that is not the first."""
    return f"net{score.net}:{score.name}" if score.net else score.name


def names(result: LogResult) -> list[str]:
    """What the scores of a result are called here."""
    return [f"top{score.k}" if score.k and not score.net else key(score) for score in result.scores]


# The run itself


def sound(result: LogResult) -> Iterator[Check]:
    """What must hold whatever was asked: the run ended, and its loss is a number."""
    if result.fatal is not None:
        why = f"{result.fatal.cause}; {result.fatal.remedy}"
        yield Check("run", "completed", "a fatal error", None, None, False, why)
    elif not result.completed:
        stops = [text for text in result.signals if "out of turn" not in text]
        why = stops[-1] if stops else "the log ends before the run does"
        yield Check("run", "completed", "not completed", None, None, False, why)
    last = len(result.segments) - 1
    for trouble in result.troubles:
        if trouble.name == DIVERGED and trouble.segment == last:
            yield Check("loss", "a number", "not one", None, None, False, trouble.message)
    for score in result.scores:
        if not math.isfinite(score.value):
            why = "the net has diverged: accuracies beside such a loss mean nothing"
            yield Check(key(score), "a number", f"{score.value:g}", None, None, False, why)
    if not result.scores:
        yield Check("scores", "some", "none", None, None, False, "the log has no test scores")


# What was published


def published(card: Card, tolerance: Tolerance) -> list[Expectation]:
    """The scores of a card, as expectations.

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
        expected.append(Expectation("loss", "<=", accuracy.loss, Tolerance(0.01 * accuracy.loss)))
    return expected


# What it had before


def baseline_of(result: LogResult, images: int | None) -> dict[str, Any]:
    """The plain data of a baseline file."""
    return {
        "format": FORMAT,
        "net": result.net,
        "net_digest": result.net_digest,
        "dataset": result.dataset,
        "images": images,
        "scores": {key(score): score.value for score in result.scores},
    }


def write_baseline(path: Path, result: LogResult, images: int | None) -> None:
    """Write a baseline file; what stood there was meant to be replaced."""
    text = json.dumps(baseline_of(result, images), indent=2) + "\n"
    write_files({path: text.encode()}, force=True)


def read_baseline(path: Path) -> dict[str, Any]:
    """A baseline file.

    Raises:
        FormatError: it is not there, or no baseline.
    """
    if not path.exists():
        raise FormatError(f"{printable(str(path))}: no baseline yet; --update-baseline makes it")
    try:
        plain = json.loads(read_bytes(path, 1 << 20, "a baseline"))
    except ValueError as error:
        raise FormatError(f"{printable(str(path))}: is not JSON: {error}") from None
    if not _is_baseline(plain):
        raise FormatError(f"{printable(str(path))}: is no baseline of sqgen gate")
    assert isinstance(plain, dict)
    return plain


def _is_baseline(plain: Any) -> bool:
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        return False
    scores, images = plain.get("scores"), plain.get("images")
    return (
        isinstance(scores, dict)
        and bool(scores)
        and all(isinstance(v, int | float) and not isinstance(v, bool) for v in scores.values())
        and (images is None or isinstance(images, int))
    )


def against_baseline(
    baseline: dict[str, Any], result: LogResult, images: int | None, tolerance: Tolerance
) -> Iterator[Check]:
    """The same net, data and images, and no accuracy below what it was."""
    now = baseline_of(result, images)
    for key, word in (("net", "net"), ("net_digest", "net's layers"), ("dataset", "dataset")):
        if baseline.get(key) and baseline[key] != now[key]:
            reason = f"another {word} than the baseline's"
            yield Check(
                word, str(baseline[key]), str(now[key] or "not known"), None, None, False, reason
            )
    had = baseline.get("images")
    if had and (images is None or images < had):
        got = "not known" if images is None else f"{images}"
        reason = "fewer images than the baseline's"
        yield Check("images", f"{had}", got, None, None, False, reason)
    for name, value in baseline["scores"].items():
        score = find_score(result, name)
        if score is not None and score.role == LOSS:
            width = Tolerance(max(0.01 * abs(value), tolerance.amount))
            yield Expectation(name, "<=", value, width).check(result, images)
        else:
            # Of an output that is no accuracy, nobody knows which way is better.
            relation = "=" if score is not None and score.role == OTHER else ">="
            yield Expectation(name, relation, value, tolerance).check(result, images)


def check_names(result: LogResult, expectations: list[Expectation]) -> None:
    """Refuse scores that a run, which is whole, does not have.

    Raises:
        DesignError: such a score, or an accuracy above 1.
    """
    for expected in expectations:
        score = find_score(result, expected.name)
        if score is None and result.completed and result.scores:
            known = names(result)
            hint = did_you_mean(expected.name, known) or f"; there: {', '.join(known)}"
            raise DesignError(f"no score '{printable(expected.name)}' in the log{hint}")
        if score is not None and score.k:
            refuse_percent(expected)


def refuse_percent(expected: Expectation) -> None:
    """Refuse an accuracy that was meant in percent.

    Raises:
        DesignError: it is above 1.
    """
    if expected.value > 1:
        value = f"{expected.value:g}"
        raise DesignError(f"{expected.name}: {value} is more than 1; write {value}%")
