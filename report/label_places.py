"""Places for the names of points, so that no two overlap and none covers a point."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

LETTER, LINE = 5.6, 13.0  # pixels of a letter, and of a line, at size 10
MARK, EDGE = 5.0, 1.5  # pixels from the middle of a point, or of a line, to its edge
ROWS = 9  # lines above and below a point that are tried
CROSSED, MISSING = 100.0, 1000.0  # costs of a line that crosses others and of no place, in pixels
BESIDE = 8.0  # pixels from a point to its name


class Place(NamedTuple):
    """Where a name stands: pixels from its point to its middle or its left or right end."""

    dx: float
    dy: float
    align: str

    @property
    def is_far(self) -> bool:
        """Whether a line has to lead from the point to its name."""
        return abs(self.dy) > 1.5 * LINE

    @property
    def line_dy(self) -> float:
        """Where that line ends, at the edge of the name."""
        return self.dy - math.copysign(LINE / 3, self.dy)


class Box(NamedTuple):
    """A rectangle, in pixels from the left and from above, or in parts of width and height."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Return whether two boxes have more than an edge in common."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


def place_labels(
    points: Sequence[tuple[float, float]],
    labels: Sequence[str],
    obstacles: Sequence[Box],
    widths: Sequence[float],
    height: float,
) -> list[Place | None]:
    """Return a place for each label, None where there is none.

    Greedy: the nearest place that is free, point by point, in the best of four orders (a form of
    Christensen, Marks and Shieber 1995, "An empirical study of algorithms for point-feature label
    placement"). If need be, lines to labels cross others.

    Args:
        points: parts (0 to 1) of width and height, from the left and from above.
        labels: of the points.
        obstacles: which are not covered either, such as bars of errors, in the same parts.
        widths: pixels, in all of which the places are free: a page is as wide as its window.
        height: pixels.
    """
    boxes = [*(Box(x, y, x, y) for x, y in points), *obstacles]
    numbers = range(len(points))
    orders: list[Sequence[int]] = [numbers, numbers[::-1]]
    orders += [sorted(numbers, key=lambda n: sign * len(labels[n])) for sign in (1, -1)]
    tries = []
    for order in orders:
        charts = [_Chart(width, height, boxes) for width in widths]
        found = {number: _place(charts, points[number], labels[number]) for number in order}
        tries.append([found[number] for number in numbers])
    best = min(tries, key=lambda found: sum(cost for _, cost in found))
    return [place for place, _ in best]


def label_layers(
    points: Mapping[str, Sequence[float]], labels: Sequence[str], places: Sequence[Place | None]
) -> list[dict[str, Any]]:
    """Return layers of Vega-Lite: labels at their places, and lines to those that are far.

    Args:
        points: the fields of the axes, x first -> a value for each label.
        labels: of the points.
        places: of `place_labels`; a label without one is left out.
    """
    across, up = points
    values = [
        {
            across: x,
            up: y,
            "label": label,
            **place._asdict(),
            "end": place.line_dy if place.is_far else None,
        }
        for x, y, label, place in zip(*points.values(), labels, places, strict=True)
        if place is not None
    ]
    dx, dy, end, align = ({"expr": f"datum.{each}"} for each in ("dx", "dy", "end", "align"))
    return [
        {
            "data": {"values": [each for each in values if each["end"] is not None]},
            "mark": {
                "type": "rule",
                "clip": True,
                "strokeWidth": 0.6,
                "x2Offset": dx,
                "y2Offset": end,
            },
            "encoding": {"x2": {"field": across}, "y2": {"field": up}, "color": None},
        },
        {
            "data": {"values": values},
            "mark": {
                "type": "text",
                "clip": True,
                "fontSize": 10,
                "dx": dx,
                "dy": dy,
                "align": align,
            },
            "encoding": {"text": {"field": "label"}, "color": None},
        },
    ]


def _place(
    charts: Sequence[_Chart], point: tuple[float, float], label: str
) -> tuple[Place | None, float]:
    """Add a label to charts; return its place, and how far from good that is."""
    for may_cross in (False, True):
        for place in _candidates():
            if all(chart.has_room(place, point, label, may_cross) for chart in charts):
                for chart in charts:
                    chart.add(place, point, label)
                return place, abs(place.dy) + CROSSED * may_cross
    return None, MISSING


class _Chart:
    """A chart of one width, and what is drawn in it: marks, labels, and lines to labels."""

    def __init__(self, width: float, height: float, boxes: Sequence[Box]) -> None:
        self._width, self._height = width, height
        self._marks = [self._pixels(box) for box in boxes]
        self._labels: list[Box] = []
        self._lines: list[Box] = []

    def _pixels(self, box: Box) -> Box:
        """Return a box of parts in pixels; a point has the size of its mark."""
        margin = MARK if box.left == box.right and box.top == box.bottom else EDGE
        return Box(
            box.left * self._width - margin,
            box.top * self._height - margin,
            box.right * self._width + margin,
            box.bottom * self._height + margin,
        )

    def has_room(
        self, place: Place, point: tuple[float, float], label: str, may_cross: bool
    ) -> bool:
        """Return whether a label would cover nothing, nor its line others if it may not."""
        box, line = self._label(place, point, label), self._line(place, point)
        if box.left < 0 or box.right > self._width or box.top < 0 or box.bottom > self._height:
            return False
        if any(map(box.overlaps, (*self._marks, *self._labels))):
            return False
        crossed = [*map(box.overlaps, self._lines)]
        crossed += [] if line is None else map(line.overlaps, (*self._labels, *self._lines))
        return may_cross or not any(crossed)

    def add(self, place: Place, point: tuple[float, float], label: str) -> None:
        """Draw a label, and the line to it."""
        line = self._line(place, point)
        self._labels.append(self._label(place, point, label))
        self._lines += [] if line is None else [line]

    def _label(self, place: Place, point: tuple[float, float], label: str) -> Box:
        x, y = point[0] * self._width + place.dx, point[1] * self._height + place.dy
        long = LETTER * len(label)
        left = {"left": x, "right": x - long, "center": x - long / 2}[place.align]
        return Box(left, y - LINE / 2, left + long, y + LINE / 2)

    def _line(self, place: Place, point: tuple[float, float]) -> Box | None:
        """Return what the line from a point to a far label takes; None where there is no line."""
        if not place.is_far:
            return None
        x, y = point[0] * self._width, point[1] * self._height
        (left, right), (top, bottom) = sorted((x, x + place.dx)), sorted((y, y + place.dy))
        return Box(left, top, right + 1, bottom)


def _candidates() -> Iterator[Place]:
    """Yield places, the nearest first."""
    for row in range(ROWS):
        for sign in (-1, 1):
            dy = sign * (7 + row * LINE)
            yield Place(BESIDE, dy, "left")
            yield Place(-BESIDE, dy, "right")
            if row:
                yield Place(0, dy, "center")
