"""Compare two logs: scores, speed, and where their losses first differ."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from .result import LogResult, TrainRow
from .scores import LOSS, Score, score_names, value_in_test

NOTABLE = 0.01  # a relative difference beyond that of rounding alone


class Comparison(NamedTuple):
    """A quantity of two logs; None where a log lacks it."""

    name: str
    a: float | None
    b: float | None

    @property
    def difference(self) -> float | None:
        """b - a."""
        return None if self.a is None or self.b is None else self.b - self.a


def compare_logs(a: LogResult, b: LogResult) -> list[Comparison]:
    """Compare final scores, best scores while training, and speed."""
    named = [dict(zip(score_names(r.scores), r.scores, strict=True)) for r in (a, b)]
    has_tests = any(segment.test for result in (a, b) for segment in result.segments)
    rows = []
    for name in dict.fromkeys([*named[0], *named[1]]):
        scores = [known.get(name) for known in named]
        rows.append(Comparison(f"final {name}", *map(_final_value, scores)))
        if has_tests:
            # A log whose last run was not tested may have tests of earlier runs.
            any_score = scores[0] or scores[1]
            best = [_best_value(r, s or any_score) for r, s in zip((a, b), scores, strict=True)]
            rows.append(Comparison(f"best {name}", *best))
    rows.append(Comparison("iterations/s", _speed(a), _speed(b)))
    return [row for row in rows if row.a is not None or row.b is not None]


def _final_value(score: Score | None) -> float | None:
    if score is None:
        return None
    return score.value if score.valid or score.role == LOSS else None


def _best_value(result: LogResult, score: Score | None) -> float | None:
    if score is None:
        return None
    values = [
        value_in_test(row.outputs, score, result.scores)
        for segment in result.segments
        for row in segment.test
        if row.net == score.net
    ]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    return min(finite) if score.role == LOSS else max(finite)


def _speed(result: LogResult) -> float | None:
    """Return iterations per second from the first display to the last, tests included."""
    seconds, iterations = 0.0, 0
    for segment in result.segments:
        timed = [row for row in segment.train if row.seconds is not None]
        if len(timed) > 1:
            iterations += timed[-1].iteration - timed[0].iteration
            seconds += (timed[-1].seconds or 0.0) - (timed[0].seconds or 0.0)
    return iterations / seconds if seconds > 0 else None


def describe_first_differences(a: LogResult, b: LogResult) -> Iterator[str]:
    """Describe where the printed losses of two logs first differ, and where by over NOTABLE."""
    rows = [_rows_by_iteration(result) for result in (a, b)]
    shared = sorted(rows[0].keys() & rows[1].keys())
    if not shared:
        yield "they have no iteration in common"
        return
    pairs = [(iteration, rows[0][iteration].loss, rows[1][iteration].loss) for iteration in shared]
    differing = [pair for pair in pairs if repr(pair[1]) != repr(pair[2])]
    if not differing:
        yield f"the losses are the same in all {len(shared)} iterations that both show"
        return
    iteration, loss_a, loss_b = differing[0]
    losses = f"{_format_loss(loss_a)} and {_format_loss(loss_b)}"
    yield f"the losses differ first at iteration {iteration}: {losses}"
    for iteration, loss_a, loss_b in differing:
        if loss_a is None or loss_b is None or not abs(loss_a - loss_b) <= NOTABLE * abs(loss_a):
            losses = f"{_format_loss(loss_a)} and {_format_loss(loss_b)}"
            yield f"they part by more than {NOTABLE:.0%} first at iteration {iteration}: {losses}"
            return
    yield f"they never part by more than {NOTABLE:.0%}"


def _rows_by_iteration(result: LogResult) -> dict[int, TrainRow]:
    return {row.iteration: row for segment in result.segments for row in segment.train}


def _format_loss(loss: float | None) -> str:
    return "none" if loss is None else f"{loss:g}"
