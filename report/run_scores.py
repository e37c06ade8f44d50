"""The scores of a reported run with their errors, and how the run ended."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ..evaluation.intervals import standard_error, wilson_interval
from ..logs.scores import LOSS, OTHER, Score, score_names
from ..logs.trouble import DIVERGED
from .curves import LOSS_PANEL, Training
from .reported_run import ReportedRun

GOOD, BAD, TROUBLE = "good", "bad", "trouble"  # kinds of text in a page


@dataclass(frozen=True)
class ScoreRow:
    """A score, with its error over the images if it is an accuracy.

    Attributes:
        name: as `score_names` has it.
        value: as logged.
        standard_error: of an accuracy or, where predictions were kept, of the loss; or None.
        interval: 95% of an accuracy (Wilson), or None.
        valid: false for an accuracy beside a loss that is not finite.
        role: as in `Score`.
    """

    name: str
    value: float
    standard_error: float | None
    interval: tuple[float, float] | None
    valid: bool
    role: str

    @property
    def is_output(self) -> bool:
        """Whether it is neither an accuracy nor a loss; of classes, there may be a thousand."""
        return self.role == OTHER

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class BestScore:
    """The best value of a test's score while training, and its iteration."""

    name: str
    value: float
    iteration: int


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        word: for a table.
        text: with where and why.
        kind: `good`, `bad`, or empty while that is open.
    """

    word: str
    text: str
    kind: str


def score_rows(run: ReportedRun) -> list[ScoreRow]:
    """Return the scores of a run: accuracies, losses and other outputs, in the log's order."""
    result = run.result
    named = zip(score_names(result.scores), result.scores, strict=True)
    return [_score_row(name, score, run) for name, score in named]


def _score_row(name: str, score: Score, run: ReportedRun) -> ScoreRow:
    images = None if score.net else run.result.images  # those of the first test net
    error, interval = None, None
    if score.role == LOSS:
        error = run.evaluation.loss_error if run.evaluation and not score.net else None
    elif score.role != OTHER and score.valid:
        error = standard_error(score.value, images)
        if error is not None and images is not None:
            interval = wilson_interval(round(score.value * images), images)
    valid = score.valid or score.role == LOSS
    return ScoreRow(name, score.value, error, interval, valid, score.role)


def best_scores(training: Training) -> list[BestScore]:
    """Return the best of each curve of tests: the highest accuracy, the lowest loss."""
    found = []
    for curve in training.curves:
        pairs = [(y, x) for x, y in zip(curve.xs, curve.ys, strict=True) if math.isfinite(y)]
        if not curve.test or not pairs:
            continue
        sign = -1 if curve.panel == LOSS_PANEL else 1
        # The first of equals.
        value, x = max(pairs, key=lambda pair: (sign * pair[0], -pair[1]))
        name = curve.label.removeprefix("test ") if curve.panel == LOSS_PANEL else curve.label
        found.append(BestScore(name, value, round(x)))
    return found


def last_values(training: Training) -> dict[str, float]:
    """Return the last training loss and learning rate, by the labels of their curves."""
    return {curve.label: curve.ys[-1] for curve in training.curves if not curve.test}


def outcome(run: ReportedRun) -> Outcome:
    """Return how a run ended."""
    result = run.result
    error = result.run.get("error")
    if run.runner:
        return Outcome("running", f"Still running ({run.runner}){_place(run)}", "")
    if result.fatal is not None:
        return _bad("failed", run, result.fatal.cause)
    if any(trouble.name == DIVERGED for trouble in result.troubles):
        return _bad("diverged", run)
    if isinstance(error, str):
        return _bad("failed", run, error)
    if run.verdict is not None and run.verdict.get("passed") is False:
        return Outcome("gate failed", "Completed; the gate failed", BAD)
    if result.completed:
        return Outcome("completed", "Completed", GOOD)
    if result.stops:
        return _bad("stopped", run, result.stops[-1])
    return _bad("cut off", run, "the log ends before the run does")


def _bad(word: str, run: ReportedRun, reason: str = "") -> Outcome:
    text = f"{word.capitalize()}{_place(run)}"
    return Outcome(word, f"{text}: {reason}" if reason else text, BAD)


def _place(run: ReportedRun) -> str:
    """Return where a training that did not complete stands."""
    last = next((s.last_iteration for s in reversed(run.result.segments)), None)
    if run.result.command != "train" or last is None:
        return ""
    most = run.result.solver.get("max_iter")
    return f" at iteration {last:,}" + (f" of {most:,}" if isinstance(most, int) and most else "")


def score_text(row: ScoreRow) -> str:
    """Return a score's value as logged."""
    return f"{row.value:.6g}"


def error_text(row: ScoreRow) -> str:
    """Return a score's error and interval, as far as they are known."""
    return ", ".join(_error_parts(row))


def _error_parts(row: ScoreRow) -> Iterator[str]:
    if not row.valid:
        yield "means nothing beside a loss that is no number"
    if row.standard_error:  # 0 at an accuracy of 1 says nothing
        yield f"standard error {row.standard_error:.2g}"
    if row.interval is not None:
        yield f"95% {row.interval[0]:.4f} to {row.interval[1]:.4f}"
