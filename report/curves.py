"""The curves of a training, as numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..errors import DesignError
from ..logs.result import LogResult, Segment, TestRow, TrainRow
from ..logs.scores import LOSS, OTHER, score_names, value_in_test
from ..text import printable

ITERATIONS, TIME = "iterations", "time"
LOSS_PANEL, ACCURACY_PANEL, RATE_PANEL = "loss", "accuracy", "learning rate"
PANELS = (LOSS_PANEL, ACCURACY_PANEL, RATE_PANEL)


class Curve(NamedTuple):
    """A line of a plot: its panel, label and points; gaps are nan."""

    panel: str
    label: str
    xs: list[float]
    ys: list[float]
    test: bool = False


class _Point(NamedTuple):
    iteration: int
    seconds: float
    row: TrainRow | TestRow


def extract_curves(result: LogResult, x: str = ITERATIONS, smooth: int = 1) -> list[Curve]:
    """Return the curves of a result, its segments joined.

    Args:
        result: with its rows.
        x: `iterations`, or `time` in seconds of all segments together.
        smooth: number of displays to average a training loss over.

    Raises:
        DesignError: `x` is time, and the log has none.
    """
    if x == TIME and all(segment.seconds is None for segment in result.segments):
        raise DesignError(f"{printable(result.source)}: its lines have no times; plot iterations")
    train = _join_segments([segment.train for segment in result.segments], result.segments)
    test = _join_segments([segment.test for segment in result.segments], result.segments)
    curves = []
    xs = _x_values(train, x)
    losses = [_finite_or_nan(point.row.loss) for point in train if isinstance(point.row, TrainRow)]
    if any(map(math.isfinite, losses)):
        curves.append(Curve(LOSS_PANEL, "train loss", xs, smooth_values(losses, smooth)))
    rates = [_finite_or_nan(point.row.lr) for point in train if isinstance(point.row, TrainRow)]
    if any(map(math.isfinite, rates)):
        curves.append(Curve(RATE_PANEL, "learning rate", xs, rates))
    return curves + list(_test_curves(result, test, x))


def _test_curves(result: LogResult, test: list[_Point], x: str) -> Iterable[Curve]:
    for name, score in zip(score_names(result.scores), result.scores, strict=True):
        if score.role == OTHER:
            continue
        points = [p for p in test if isinstance(p.row, TestRow) and p.row.net == score.net]
        ys = [value_in_test(point.row.outputs, score, result.scores) for point in points]
        if not any(map(math.isfinite, ys)):
            continue
        panel = LOSS_PANEL if score.role == LOSS else ACCURACY_PANEL
        label = f"test {name}" if score.role == LOSS else name
        yield Curve(panel, label, _x_values(points, x), ys, test=True)


def _join_segments(
    parts: Sequence[Sequence[TrainRow | TestRow]], segments: Sequence[Segment]
) -> list[_Point]:
    """Join the rows of all segments; a resumed run replaces the iterations that it repeats."""
    points: list[_Point] = []
    before = 0.0
    for rows, segment in zip(parts, segments, strict=True):
        if rows:
            first = min(row.iteration for row in rows)
            if segment.resumed_from is None and points and first == 0:
                points = []  # another run from the start: only the last one counts
                before = 0.0
            while points and points[-1].iteration >= first:
                points.pop()
            points += [_Point(r.iteration, before + (r.seconds or 0.0), r) for r in rows]
        before += segment.seconds or 0.0
    return points


def _x_values(points: Sequence[_Point], x: str) -> list[float]:
    return [float(point.iteration) if x == ITERATIONS else point.seconds for point in points]


def _finite_or_nan(value: float | None) -> float:
    return math.nan if value is None or not math.isfinite(value) else value


def smooth_values(values: Sequence[float], width: int) -> list[float]:
    """Return means over each value and those before it, `width` in all; gaps (nan) stay gaps."""
    means = []
    for end, value in enumerate(values, 1):
        window = [v for v in values[max(0, end - width) : end] if math.isfinite(v)]
        means.append(sum(window) / len(window) if window and math.isfinite(value) else math.nan)
    return means
