"""Two logs side by side: scores, speed, and where they part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from .result import LOSS, LogResult, Score, TrainRow, test_value

PARTED = 0.01  # a relative difference that rounding alone does not make


class Compared(NamedTuple):
    """A quantity of both logs; None where one has none."""

    name: str
    a: float | None
    b: float | None

    @property
    def difference(self) -> float | None:
        """b - a."""
        return None if self.a is None or self.b is None else self.b - self.a


def compare(a: LogResult, b: LogResult) -> list[Compared]:
    """Final scores, best scores, and speed."""
    rows = []
    known = {(score.name, score.net): score for score in (*b.scores, *a.scores)}
    order = dict.fromkeys((score.name, score.net) for score in (*a.scores, *b.scores))
    for score in (known[one] for one in order):
        values = [_same(result, score) for result in (a, b)]
        label = f"final {score.name}" + (f" (net {score.net})" if score.net else "")
        rows.append(Compared(label, *values))
        if any(segment.test for result in (a, b) for segment in result.segments):
            rows.append(Compared(f"best {label[6:]}", *(_best(result, score) for result in (a, b))))
    rows.append(Compared("iterations/s", _speed(a), _speed(b)))
    return [row for row in rows if row.a is not None or row.b is not None]


def _same(result: LogResult, score: Score) -> float | None:
    for one in result.scores:
        if (one.name, one.net) == (score.name, score.net):
            return one.value if one.valid or one.role == LOSS else None
    return None


def _best(result: LogResult, score: Score) -> float | None:
    values = [
        test_value(row.outputs, score, result.scores)
        for segment in result.segments
        for row in segment.test
        if row.net == score.net
    ]
    finite = [value for value in values if abs(value) < float("inf")]
    if not finite:
        return None
    return min(finite) if score.role == LOSS else max(finite)


def _speed(result: LogResult) -> float | None:
    """Iterations a second between the first and the last display, tests included."""
    spent, done = 0.0, 0
    for segment in result.segments:
        timed = [row for row in segment.train if row.seconds is not None]
        if len(timed) > 1:
            done += timed[-1].iteration - timed[0].iteration
            spent += (timed[-1].seconds or 0.0) - (timed[0].seconds or 0.0)
    return done / spent if spent > 0 else None


def parting(a: LogResult, b: LogResult) -> Iterator[str]:
    """Where the losses of both part: in print at all, and by more than rounding does."""
    rows = [_by_iteration(result) for result in (a, b)]
    shared = sorted(rows[0].keys() & rows[1].keys())
    if not shared:
        yield "they have no iteration in common"
        return
    pairs = [(at, rows[0][at].loss, rows[1][at].loss) for at in shared]
    differ: list[Any] = [pair for pair in pairs if repr(pair[1]) != repr(pair[2])]
    if not differ:
        yield f"the losses are the same in all {len(shared)} iterations that both show"
        return
    at, one, other = differ[0]
    yield f"the losses differ first at iteration {at}: {_shown(one)} and {_shown(other)}"
    for at, one, other in differ:
        if one is None or other is None or not abs(one - other) <= PARTED * abs(one):
            yield (
                f"they part by more than {PARTED:.0%} first at iteration {at}:"
                f" {_shown(one)} and {_shown(other)}"
            )
            return
    yield f"they never part by more than {PARTED:.0%}"


def _by_iteration(result: LogResult) -> dict[int, TrainRow]:
    return {row.iteration: row for segment in result.segments for row in segment.train}


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"
