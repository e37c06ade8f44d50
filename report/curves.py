"""The curves of trainings, as numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import DesignError
from ..logs.logged_net import role_of
from ..logs.result import LogResult
from ..logs.scores import LOSS, OTHER, Score, score_names
from ..text import number_text, printable
from .curve_sampler import LOSS_CURVE, OUTPUT_CURVE, RATE_CURVE, TEST_CURVE, CurveSampler, Key
from .sampled_curve import Break, Point

ITERATIONS, TIME = "iterations", "time"
LOSS_PANEL, ACCURACY_PANEL, RATE_PANEL = "loss", "accuracy", "learning rate"
PANELS = (LOSS_PANEL, ACCURACY_PANEL, RATE_PANEL)
STRETCHES_DRAWN = 3000  # four points each: at most 0.8 MB of a page
MAX_TRAININGS = 50  # of a log to draw: the last ones


class Mark(NamedTuple):
    """An event on a curve or in a training: where, at which value if any, and what."""

    x: float
    y: float | None
    text: str


class Curve(NamedTuple):
    """A line of a chart.

    Attributes:
        panel: one of `PANELS`.
        label: what it shows: `train loss`, `top1`.
        xs, ys: its points; gaps are nan.
        test: whether tests made it.
        breaks: where it ceases to be finite.
        points: how many it had.
        is_sampled: whether some of them are left out.
    """

    panel: str
    label: str
    xs: list[float]
    ys: list[float]
    test: bool = False
    breaks: tuple[Mark, ...] = ()
    points: int = 0
    is_sampled: bool = False


@dataclass(frozen=True)
class Training:
    """A training in a log, from its start to its last resume.

    Attributes:
        number: of it in its log, from 1.
        curves: its lines.
        resumes: where it went on after an end.
        segments: the numbers of its runs in the log.
    """

    number: int
    curves: tuple[Curve, ...]
    resumes: tuple[Mark, ...]
    segments: tuple[int, ...]

    @property
    def last_iteration(self) -> int:
        """The last one that a curve has, if it was drawn over iterations."""
        return round(max((curve.xs[-1] for curve in self.curves), default=0.0))


def extract_trainings(
    result: LogResult, sampler: CurveSampler | None = None, x: str = ITERATIONS
) -> list[Training]:
    """Return the trainings of a result, at most the last `MAX_TRAININGS`.

    Args:
        result: of a log.
        sampler: received its rows; None takes those that the result has kept.
        x: `iterations`, or `time` in seconds of all runs of a training together.

    Raises:
        DesignError: `x` is time, and the log has none.
    """
    if sampler is None:
        sampler = CurveSampler()
        sampler.add_rows(result)
    if x == TIME and all(segment.seconds is None for segment in result.segments):
        raise DesignError(f"{printable(result.source)}: its lines have no times; plot iterations")
    groups = list(_group_segments(result, sampler))
    numbered = list(enumerate(groups, 1))[-MAX_TRAININGS:]
    return [_training(result, sampler, number, group, x) for number, group in numbered]


def limit_stretches(samplers: Sequence[CurveSampler], total: int = STRETCHES_DRAWN) -> None:
    """Lower the stretches of the curves to draw to `total` of all together; short curves stay."""
    curves = [curve for sampler in samplers for curve in sampler.curves.values()]
    limit = max((curve.stretches for curve in curves), default=0)
    while limit > 16 and sum(min(curve.stretches, limit) for curve in curves) > total:
        limit = max(16, limit // 2)
    for curve in curves:
        curve.lower_limit(max(limit, 16))


def _group_segments(result: LogResult, sampler: CurveSampler) -> Iterator[list[int]]:
    """Yield the segments of each training: a resumed run goes on with the one before.

    A log that lost the line of a resume goes on too, unless it is back at its first iteration.
    """
    drawn = {key.segment for key in sampler.curves}
    group: list[int] = []
    first = math.inf
    for number, segment in enumerate(result.segments):
        if number not in drawn or segment.first_iteration is None:
            continue
        if group and segment.resumed_from is None and segment.first_iteration <= first:
            yield group
            group = []
        if not group:
            first = segment.first_iteration
        group.append(number)
    if group:
        yield group


def _training(
    result: LogResult, sampler: CurveSampler, number: int, group: list[int], x: str
) -> Training:
    starts, before = {}, 0.0  # seconds of the runs before each
    for segment in group:
        starts[segment] = before
        before += result.segments[segment].seconds or 0.0
    kept = {
        segment: min(
            (float(result.segments[later].first_iteration or 0) for later in group[index + 1 :]),
            default=math.inf,
        )
        for index, segment in enumerate(group)
    }
    joined = _Joined(sampler, starts, kept, x)
    resumes = [
        Mark(joined.x(segment, _first_point(sampler, segment)), None, "resumed")
        for index, segment in enumerate(group)
        if index or result.segments[segment].resumed_from is not None
    ]
    curves = [*_trained_curves(joined), *_test_curves(joined, result)]
    return Training(number, tuple(curves), tuple(resumes), tuple(group))


def _first_point(sampler: CurveSampler, segment: int) -> Point:
    firsts = [curve.first for key, curve in sampler.curves.items() if key.segment == segment]
    return min(firsts, key=lambda point: point.iteration)


class _Joined:
    """The curves of a training's runs as one: a resume replaces the iterations that it repeats.

    Args:
        sampler: has the curves.
        starts: seconds of the runs before each run of the training.
        ends: the iteration at which a later run takes over.
        x: `iterations` or `time`.
    """

    def __init__(
        self, sampler: CurveSampler, starts: dict[int, float], ends: dict[int, float], x: str
    ) -> None:
        self.sampler, self._starts, self._ends, self._x = sampler, starts, ends, x

    def x(self, segment: int, point: Point) -> float:
        """Return where a point of a run lies on the horizontal axis."""
        if self._x == ITERATIONS:
            return float(point.iteration)
        return self._starts[segment] + (point.seconds or 0.0)

    def keys(self, kind: str) -> dict[tuple[int, str], None]:
        """Return net and output of each curve of a kind, in the order of the log."""
        keys = self.sampler.curves
        return {(k.net, k.output): None for k in keys if k.kind == kind and k.segment in self._ends}

    def curve(
        self, kind: str, panel: str, label: str, net: int = 0, output: str = ""
    ) -> Curve | None:
        """Return a curve; None where there is nothing to draw."""
        xs: list[float] = []
        ys: list[float] = []
        breaks: list[Mark] = []
        count, is_sampled = 0, False
        for segment, end in self._ends.items():
            sampled = self.sampler.curves.get(Key(segment, kind, net, output))
            if sampled is None:
                continue
            count += sampled.count
            is_sampled = is_sampled or sampled.is_sampled
            points = [point for point in sampled.points() if point.iteration < end]
            xs += [self.x(segment, point) for point in points]
            ys += [point.value if math.isfinite(point.value) else math.nan for point in points]
            breaks += [
                self._mark(segment, each) for each in sampled.breaks if each.point.iteration < end
            ]
        if not breaks and not any(map(math.isfinite, ys)):
            return None
        is_test = kind == TEST_CURVE
        return Curve(panel, label, xs, ys, is_test, tuple(breaks), count, is_sampled)

    def _mark(self, segment: int, found: Break) -> Mark:
        point = found.point
        text = f"{number_text(point.value)} at iteration {point.iteration:,}"
        return Mark(self.x(segment, point), found.last, text)


def _trained_curves(joined: _Joined) -> Iterator[Curve]:
    """Yield the losses and the rate of the trained net; of a net with several heads, each loss."""
    heads = list(joined.keys(OUTPUT_CURVE))
    label = "train loss, all heads" if heads else "train loss"
    found = [joined.curve(LOSS_CURVE, LOSS_PANEL, label)]
    for _, name in heads:
        found.append(joined.curve(OUTPUT_CURVE, LOSS_PANEL, f"train {name}", 0, name))
    found.append(joined.curve(RATE_CURVE, RATE_PANEL, "learning rate"))
    yield from filter(None, found)


def _test_curves(joined: _Joined, result: LogResult) -> Iterator[Curve]:
    scores = [_score(joined.sampler, result, *key) for key in joined.keys(TEST_CURVE)]
    for name, score in zip(score_names(scores), scores, strict=True):
        if score.role == OTHER:
            continue
        panel = LOSS_PANEL if score.role == LOSS else ACCURACY_PANEL
        label = f"test {name}" if score.role == LOSS else name
        curve = joined.curve(TEST_CURVE, panel, label, score.net, score.name)
        if curve is not None:
            # What diverged is the loss: an accuracy beside it is left out without a mark.
            yield curve if score.role == LOSS else curve._replace(breaks=())


def _score(sampler: CurveSampler, result: LogResult, net: int, name: str) -> Score:
    """Return what an output of a test net is: as the result has it, or by its name."""
    for score in result.scores:
        if (score.net, score.name) == (net, name):
            return score
    role, k, by = role_of(name, name in sampler.weighted, None, bool(sampler.weighted))
    return Score(name, math.nan, role, k, by, net)
