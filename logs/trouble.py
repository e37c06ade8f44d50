"""Runs that failed without reporting it: how to recognise them, and the usual remedies."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from .result import Trouble

# -ln(FLT_MIN): the loss of a softmax that gives the label's class probability 0.
UNDERFLOW = 87.3365
DIVERGED = "diverged"
FORGEABLE = "forgeable"
_MIN_ITERATIONS = 200  # before a run counts as one that does not learn
_NEAR = 0.01  # of ln(classes)


class RunMonitor:
    """Follows the loss, learning rate and accuracy of a run, in constant memory."""

    def __init__(self) -> None:
        self.iteration = 0
        self.min_loss = math.inf
        self.last_loss = 0.0
        self.last_test_loss = 0.0
        self.first_non_finite: tuple[int, float] | None = None  # iteration and loss
        self.non_finite_in_row = 0  # displays and tests, up to the last one
        self.first_underflow: int | None = None
        self.underflows = 0
        self.zero_rate_since: int | None = None
        self.tests = 0
        self.best_top1 = 0.0
        self.last_top1: float | None = None

    def add_display(self, iteration: int, loss: float | None, lr: float | None) -> None:
        """Add a display."""
        self.iteration = iteration
        if loss is not None:
            self.last_loss = loss
            if math.isfinite(loss):
                self.non_finite_in_row = 0
            else:
                self.non_finite_in_row += 1
                self.first_non_finite = self.first_non_finite or (iteration, loss)
            if abs(loss - UNDERFLOW) < 0.01:
                self.underflows += 1
                if self.first_underflow is None:
                    self.first_underflow = iteration
            if loss < self.min_loss:
                self.min_loss = loss
        if lr:
            self.zero_rate_since = None  # a warm-up begins at 0
        elif lr == 0 and self.zero_rate_since is None:
            self.zero_rate_since = iteration

    def add_test(self, iteration: int, top1: float | None, losses: list[float]) -> None:
        """Add a test."""
        self.iteration = max(iteration, self.iteration)
        self.last_top1 = top1
        non_finite = [loss for loss in losses if not math.isfinite(loss)]
        if losses:
            self.last_test_loss = losses[0]
            self.non_finite_in_row = self.non_finite_in_row + 1 if non_finite else 0
        if non_finite:
            self.first_non_finite = self.first_non_finite or (iteration, non_finite[0])
        elif top1 is not None:
            self.tests += iteration > 0
            self.best_top1 = max(self.best_top1, top1)


class Schedule(NamedTuple):
    """What the solver in the log sets; None where it does not."""

    max_iter: int | None
    base_lr: float | None


def diagnose(
    run: RunMonitor, schedule: Schedule, classes: int | None, segment: int
) -> Iterator[Trouble]:
    """Yield each trouble of a run once.

    Args:
        run: what was seen of it.
        schedule: of its solver.
        classes: of its net, where that is known.
        segment: the run's number within the log.
    """
    lower = "lower base_lr"
    if schedule.base_lr:
        lower += f" (it is {schedule.base_lr:g}; a tenth is a good start)"
    if run.first_non_finite is not None:
        iteration, loss = run.first_non_finite
        recovered = math.isfinite(run.last_loss) and math.isfinite(run.last_test_loss)
        yield Trouble(
            "spike" if recovered else DIVERGED,
            f"the loss was {loss:g} at iteration {iteration}, and a number again later"
            if recovered
            else f"the loss is {loss:g} from iteration {iteration} on: no accuracy counts",
            f"{lower}, set clip_gradients, and check the scale of the input",
            segment,
        )
    if run.first_underflow is not None and run.underflows > 1:
        yield Trouble(
            "87.3365",
            f"the loss is 87.3365 at iteration {run.first_underflow}: -ln(FLT_MIN), the softmax"
            " gave the right class nothing",
            f"{lower}, and check that labels are 0 to classes - 1",
            segment,
        )
    if run.zero_rate_since is not None and _is_early(run.zero_rate_since, schedule.max_iter):
        end = f" of {schedule.max_iter}" if schedule.max_iter else ""
        yield Trouble(
            "no learning rate",
            f"the learning rate is 0 from iteration {run.zero_rate_since}{end} on: nothing is"
            " learned",
            "check gamma, stepsize and stepvalue, or that a resumed run has the max_iter it had",
            segment,
        )
    if run.first_non_finite is None and run.first_underflow is None and (classes or 0) > 1:
        yield from _diagnose_no_learning(run, schedule.max_iter, classes or 0, segment)


def forgeable_net(segment: int) -> Trouble:
    """Return the trouble of a net whose names may print lines of a log."""
    return Trouble(
        FORGEABLE,
        "a name in the net or solver has a line break or a log prefix, so that it can print any"
        " line: no score in this log counts",
        "write the name without it",
        segment,
    )


def _is_early(iteration: int, max_iter: int | None) -> bool:
    return max_iter is None or iteration < 0.99 * max_iter


def _diagnose_no_learning(
    run: RunMonitor, max_iter: int | None, classes: int, segment: int
) -> Iterator[Trouble]:
    chance = math.log(classes)
    if _is_dead(run, chance):
        yield Trouble(
            "dead",
            f"all scores are equal: top-1 is 0 at a loss of {run.last_test_loss:g} ="
            f" ln({classes}); nothing passes the last ReLU any more",
            "lower base_lr, scale the input, leave out the ReLU behind the classifier, or start"
            " from pretrained weights",
            segment,
        )
        return
    if run.iteration < max(_MIN_ITERATIONS, (max_iter or 0) // 20):
        return
    remedy = (
        "check the labels and that the set is shuffled; try a lower base_lr, msra or xavier"
        " fillers, BatchNorm, or start from pretrained weights"
    )
    if abs(run.last_loss - chance) < _NEAR * chance and run.min_loss > (1 - _NEAR) * chance:
        yield Trouble(
            "stuck",
            f"the loss stayed at {chance:.4g} = ln({classes}), which is guessing, for"
            f" {run.iteration} iterations",
            remedy,
            segment,
        )
    elif run.tests > 1 and run.best_top1 <= 1.5 / classes:
        yield Trouble(
            "chance",
            f"top-1 never left chance ({run.best_top1:g} with {classes} classes)",
            remedy,
            segment,
        )


def _is_dead(run: RunMonitor, chance: float) -> bool:
    """Decide whether the net gives all classes equal scores.

    Equal scores count against a label (accuracy_layer.cpp): such a net has a top-1 of exactly 0,
    and the loss of a guess to the last digit.
    """
    return run.last_top1 == 0 and abs(run.last_test_loss - chance) < 1e-5 * chance
