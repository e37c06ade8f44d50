"""A curve of any length in bounded memory: of each stretch, the points that one would see.

A stretch keeps its first, last, lowest and highest point, which draw the same pixels as all of its
points if it is no wider than one (M4: Jugel, Jerzak, Hackenbroich, Markl, VLDB 2014), and its first
value that is not finite. As the curve grows, stretches merge in pairs.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

MAX_BREAKS = 20  # of a curve to remember


class Point(NamedTuple):
    """A value at an iteration; seconds since the start of its run, if known."""

    iteration: int
    seconds: float | None
    value: float


class Break(NamedTuple):
    """Where a curve's values cease to be finite.

    `last` is its last finite value, None if it had none.
    """

    point: Point
    last: float | None


class _Stretch:
    """Consecutive points: the first, the last, and the lowest, highest and first odd, if any."""

    __slots__ = ("first", "high", "last", "low", "odd")

    def __init__(self, point: Point, is_finite: bool) -> None:
        self.first = self.last = point
        self.low = self.high = point if is_finite else None
        self.odd = None if is_finite else point

    def add(self, point: Point, is_finite: bool) -> None:
        """Add the next point."""
        self.last = point
        if not is_finite:
            self.odd = self.odd or point
        elif self.low is None or self.high is None:
            self.low = self.high = point
        elif point.value < self.low.value:
            self.low = point
        elif point.value > self.high.value:
            self.high = point

    def join(self, other: _Stretch) -> None:
        """Add the points of the stretch that follows."""
        self.last = other.last
        self.odd = self.odd or other.odd
        if other.low is not None and (self.low is None or other.low.value < self.low.value):
            self.low = other.low
        if other.high is not None and (self.high is None or other.high.value > self.high.value):
            self.high = other.high

    def points(self) -> list[Point]:
        """Return what it keeps, in the order of the points."""
        kept = (self.first, self.low, self.high, self.odd, self.last)
        return sorted(dict.fromkeys(filter(None, kept)), key=lambda point: point.iteration)


class SampledCurve:
    """A curve that keeps at most `limit` stretches.

    Attributes:
        limit: at least 2.
        count: how many points it was given.
        breaks: the first of them.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0
        self.breaks: list[Break] = []
        self._stretches: list[_Stretch] = []
        self._length = 1  # points of a stretch
        self._open = 0  # points of the last stretch
        self._last_finite: float | None = None
        self._was_finite = True

    def add(self, point: Point) -> None:
        """Add the next point."""
        is_finite = math.isfinite(point.value)
        if self._was_finite and not is_finite and len(self.breaks) < MAX_BREAKS:
            self.breaks.append(Break(point, self._last_finite))
        if is_finite:
            self._last_finite = point.value
        self._was_finite = is_finite
        self.count += 1
        if 0 < self._open < self._length:
            self._stretches[-1].add(point, is_finite)
            self._open += 1
            return
        while len(self._stretches) >= self.limit:
            self._merge()
        if 0 < self._open < self._length:
            self._stretches[-1].add(point, is_finite)
            self._open += 1
        else:
            self._stretches.append(_Stretch(point, is_finite))
            self._open = 1

    def lower_limit(self, limit: int) -> None:
        """Keep fewer stretches from now on."""
        self.limit = limit
        while len(self._stretches) > limit:
            self._merge()

    def _merge(self) -> None:
        """Merge the stretches in pairs."""
        stretches = self._stretches
        for first, second in zip(stretches[::2], stretches[1::2], strict=False):
            first.join(second)
        self._open += self._length if len(stretches) % 2 == 0 else 0
        self._length *= 2
        self._stretches = stretches[::2]

    @property
    def is_sampled(self) -> bool:
        """Whether it may have left out points."""
        return self._length > 1

    @property
    def stretches(self) -> int:
        """How many stretches it keeps."""
        return len(self._stretches)

    @property
    def first(self) -> Point:
        """The first point."""
        return self._stretches[0].first

    def points(self) -> list[Point]:
        """Return the points to draw, in their order."""
        points = [point for stretch in self._stretches for point in stretch.points()]
        if not self.is_sampled:
            return points
        # A point between equal ones draws nothing.
        ends = (0, len(points) - 1)
        return [
            point
            for index, point in enumerate(points)
            if index in ends or not _is_level(*points[index - 1 : index + 2])
        ]


def _is_level(before: Point, point: Point, after: Point) -> bool:
    values = (before.value, point.value, after.value)
    return values[0] == values[1] == values[2] or not any(map(math.isfinite, values))


class MovingMean:
    """Means over each value and those before it, `width` in all; what is not finite stays so."""

    def __init__(self, width: int) -> None:
        self._window: deque[float] = deque(maxlen=width)

    def add(self, value: float) -> float:
        """Add the next value; return its mean."""
        self._window.append(value)
        if not math.isfinite(value):
            return value
        if len(self._window) == 1:
            return value
        finite = [each for each in self._window if math.isfinite(each)]
        return sum(finite) / len(finite)
