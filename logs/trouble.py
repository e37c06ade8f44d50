"""Runs that went wrong without saying so, and what helped others."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from .result import Trouble

# -ln(FLT_MIN): the loss of a softmax that gives the label's class nothing at all.
UNDERFLOW = 87.3365
DIVERGED = "diverged"
_ENOUGH = 200  # iterations before "it does not learn" can be said
_NEAR = 0.01  # of ln(classes)


class Watch:
    """Follows one run; what it holds does not grow with the run."""

    def __init__(self) -> None:
        self.iteration = 0
        self.least = math.inf
        self.last = 0.0
        self.last_test = 0.0
        self.odd_at: tuple[int, float] | None = None
        self.underflow_at: int | None = None
        self.underflows = 0
        self.no_rate_at: int | None = None
        self.tests = 0
        self.best_top1 = 0.0
        self.last_top1: float | None = None

    def train(self, iteration: int, loss: float | None, lr: float | None) -> None:
        """Take in a display."""
        self.iteration = iteration
        if loss is not None:
            self.last = loss
            if not math.isfinite(loss):
                self.odd_at = self.odd_at or (iteration, loss)
            elif abs(loss - UNDERFLOW) < 0.01:
                self.underflows += 1
                self.underflow_at = iteration if self.underflow_at is None else self.underflow_at
            if loss < self.least:
                self.least = loss
        if lr:
            self.no_rate_at = None  # a warm-up begins at 0
        elif lr == 0 and self.no_rate_at is None:
            self.no_rate_at = iteration

    def tested(self, iteration: int, top1: float | None, losses: list[float]) -> None:
        """Take in a test."""
        self.iteration = max(iteration, self.iteration)
        self.last_top1 = top1
        odd = [loss for loss in losses if not math.isfinite(loss)]
        if losses:
            self.last_test = losses[0]
        if odd:
            self.odd_at = self.odd_at or (iteration, odd[0])
        elif top1 is not None:
            self.tests += iteration > 0
            self.best_top1 = max(self.best_top1, top1)


class Context(NamedTuple):
    """What is known of the run beside its rows."""

    classes: int | None
    max_iter: int | None
    base_lr: float | None


def troubles(watch: Watch, context: Context) -> Iterator[Trouble]:
    """What is wrong with a run, each once."""
    lower = "lower base_lr"
    if context.base_lr:
        lower += f" (it is {context.base_lr:g}; a tenth is a good start)"
    if watch.odd_at is not None:
        iteration, loss = watch.odd_at
        ended = math.isfinite(watch.last) and math.isfinite(watch.last_test)
        yield Trouble(
            "spike" if ended else DIVERGED,
            f"the loss was {loss:g} at iteration {iteration}, and a number again later"
            if ended
            else f"the loss is {loss:g} from iteration {iteration} on: no accuracy counts",
            f"{lower}, set clip_gradients, and check the scale of the input",
        )
    if watch.underflow_at is not None and watch.underflows > 1:
        yield Trouble(
            "87.3365",
            f"the loss is 87.3365 at iteration {watch.underflow_at}: -ln(FLT_MIN), the softmax gave"
            " the right class nothing",
            f"{lower}, and check that labels are 0 to classes - 1",
        )
    if watch.no_rate_at is not None and _early(watch.no_rate_at, context.max_iter):
        end = f" of {context.max_iter}" if context.max_iter else ""
        yield Trouble(
            "no learning rate",
            f"the learning rate is 0 from iteration {watch.no_rate_at}{end} on: nothing is learned",
            "check gamma, stepsize and stepvalue, or that a resumed run has the max_iter it had",
        )
    if watch.odd_at is None and watch.underflow_at is None:
        yield from _no_learning(watch, context)


def _early(iteration: int, max_iter: int | None) -> bool:
    return max_iter is None or iteration < 0.99 * max_iter


def _is_dead(watch: Watch, chance: float) -> bool:
    """Equal scores count against a label (accuracy_layer.cpp), so that a net of one answer has a
    top-1 of exactly 0, and the loss of a guess to the last digit."""
    return watch.last_top1 == 0 and abs(watch.last_test - chance) < 1e-5 * chance


def _no_learning(watch: Watch, context: Context) -> Iterator[Trouble]:
    if context.classes and context.classes > 1 and _is_dead(watch, math.log(context.classes)):
        yield Trouble(
            "dead",
            f"all scores are equal: top-1 is 0 at a loss of {watch.last_test:g} ="
            f" ln({context.classes}); nothing passes the last ReLU any more",
            "lower base_lr, scale the input, leave out the ReLU behind the classifier, or start"
            " from pretrained weights",
        )
        return
    enough = max(_ENOUGH, (context.max_iter or 0) // 20)
    if context.classes is None or context.classes < 2 or watch.iteration < enough:
        return
    chance = math.log(context.classes)
    help_ = (
        "check the labels and that the set is shuffled; try a lower base_lr, msra or xavier"
        " fillers, BatchNorm, or start from pretrained weights"
    )
    if abs(watch.last - chance) < _NEAR * chance and watch.least > (1 - _NEAR) * chance:
        yield Trouble(
            "stuck",
            f"the loss stayed at {chance:.4g} = ln({context.classes}), which is guessing, for"
            f" {watch.iteration} iterations",
            help_,
        )
    elif watch.tests > 1 and watch.best_top1 <= 1.5 / context.classes:
        yield Trouble(
            "chance",
            f"top-1 never left chance ({watch.best_top1:g} with {context.classes} classes)",
            help_,
        )
