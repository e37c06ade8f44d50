"""A result as curves: what a plot draws, as numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..errors import DesignError
from ..logs.result import (
    LOSS,
    TOP1,
    TOP_K,
    LogResult,
    Segment,
    TestRow,
    TrainRow,
    test_value,
)
from ..text import printable

ITERATIONS, TIME = "iterations", "time"
LOSS_PANEL, ACCURACY_PANEL, RATE_PANEL = "loss", "accuracy", "learning rate"
PANELS = (LOSS_PANEL, ACCURACY_PANEL, RATE_PANEL)
_NAN = math.nan


class Curve(NamedTuple):
    """A line of a plot: its panel, what it is, and its points; gaps are nan."""

    panel: str
    label: str
    xs: list[float]
    ys: list[float]
    test: bool = False


class _Point(NamedTuple):
    iteration: int
    seconds: float
    row: TrainRow | TestRow


def curves(result: LogResult, x: str = ITERATIONS, smooth: int = 1) -> list[Curve]:
    """The curves of a result, its segments joined.

    Args:
        result: with its rows.
        x: `iterations` or `time`, which is seconds of all segments together.
        smooth: displays that a training loss is averaged over.

    Raises:
        DesignError: time is asked for, and the log has none.
    """
    if x == TIME and all(segment.seconds is None for segment in result.segments):
        raise DesignError(f"{printable(result.source)}: its lines have no times; plot iterations")
    train = _joined([segment.train for segment in result.segments], result.segments)
    test = _joined([segment.test for segment in result.segments], result.segments)
    found = []
    xs = _xs(train, x)
    losses = [_number(point.row.loss) for point in train if isinstance(point.row, TrainRow)]
    if any(map(math.isfinite, losses)):
        found.append(Curve(LOSS_PANEL, "train loss", xs, smoothed(losses, smooth)))
    rates = [_number(point.row.lr) for point in train if isinstance(point.row, TrainRow)]
    if any(map(math.isfinite, rates)):
        found.append(Curve(RATE_PANEL, "learning rate", xs, rates))
    return found + list(_test_curves(result, test, x))


def _test_curves(result: LogResult, test: list[_Point], x: str) -> Iterable[Curve]:
    several = len({score.net for score in result.scores}) > 1
    for score in result.scores:
        if score.role not in (LOSS, TOP1, TOP_K):
            continue
        points = [p for p in test if isinstance(p.row, TestRow) and p.row.net == score.net]
        if not points:
            continue
        net = f" (net {score.net})" if several else ""
        panel = LOSS_PANEL if score.role == LOSS else ACCURACY_PANEL
        name = "test loss" if score.role == LOSS else f"top-{score.k}"
        ys = [test_value(point.row.outputs, score, result.scores) for point in points]
        if not any(map(math.isfinite, ys)):
            continue
        yield Curve(panel, name + net, _xs(points, x), ys, test=True)


def _joined(
    parts: Sequence[Sequence[TrainRow | TestRow]], segments: Sequence[Segment]
) -> list[_Point]:
    """Rows of all segments in one; a resumed run replaces what it did again."""
    points: list[_Point] = []
    before = 0.0
    for rows, segment in zip(parts, segments, strict=True):
        if rows:
            first = min(row.iteration for row in rows)
            if segment.resumed_from is None and points and first == 0:
                points = []  # another run from the start: the last one is shown
                before = 0.0
            while points and points[-1].iteration >= first:
                points.pop()
            points += [_Point(r.iteration, before + (r.seconds or 0.0), r) for r in rows]
        before += segment.seconds or 0.0
    return points


def _xs(points: Sequence[_Point], x: str) -> list[float]:
    return [float(point.iteration) if x == ITERATIONS else point.seconds for point in points]


def _number(value: float | None) -> float:
    return _NAN if value is None or not math.isfinite(value) else value


def smoothed(values: Sequence[float], width: int) -> list[float]:
    """The mean of each value and those before it, `width` at most; gaps stay and don't count."""
    result = []
    for end, value in enumerate(values, 1):
        window = [v for v in values[max(0, end - width) : end] if math.isfinite(v)]
        result.append(sum(window) / len(window) if window and math.isfinite(value) else _NAN)
    return result
