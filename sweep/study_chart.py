"""The picture of a study: its first measure as bars, dots, a curve, or against what it costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..report.charts import ZOOM, Chart, chart_label
from ..report.label_places import Box, label_layers, place_labels
from ..report.theme import SHAPES
from .plan import is_accuracy
from .points import short_name
from .result_table import measure_head
from .results import PointResult, StudyResult
from .study_file import LIST
from .study_tables import BARS, COUNTS, CURVE, DOTS, PARETO, PARETO_X, makes_curve

WIDTH, HEIGHT = 560, 340  # pixels
WIDTHS = (420, WIDTH, 1000)  # in which names must not overlap
ROW = 22  # pixels that a point takes
NAME = 40  # characters of a point's name
NAMED = 60  # points that have a name beside them
PADDING = 0.08  # of the axes, for names beside the outer points
LOG_FROM = 8  # times the smallest cost is the largest, where a logarithmic axis shows more
ERRORS = "Bars are one standard error on each side."


class Mark(NamedTuple):
    """A point of the picture.

    Attributes:
        label: of the point.
        series: what is drawn in one colour.
        x: a number, or its text.
        value, low, high: the measure and one standard error around it, accuracies in percent.
        n: runs.
    """

    label: str
    series: str
    x: float | str
    value: float
    low: float
    high: float
    n: int


def study_chart(result: StudyResult) -> Chart | None:
    """Return the picture of a study; None where no run has its first measure."""
    name = next((each for each in result.measures if _points(result, each)), None)
    if name is None:
        return None
    kind, axis = _choose(result)
    marks = _marks(result, name, kind, axis)
    if not marks:
        return None
    if kind == PARETO:
        spec, note = _pareto(marks, name, axis)
    elif kind == CURVE:
        spec, note = _curve(marks, name, axis), ERRORS
    else:
        spec, note = _rows(marks, name, starts_at_zero=kind == BARS), ERRORS
    columns = ("point", "series", axis or "x", measure_head(name), "low", "high", "n")
    return Chart("study", chart_label(result.title, 90), spec, columns, marks, note)


def _points(result: StudyResult, name: str) -> list[PointResult]:
    return [point for point in result.points if name in point.means]


def _choose(result: StudyResult) -> tuple[str, str]:
    """Return the kind of the picture, and the axis or the measure that goes across."""
    x, kind = result.chart.get("x", ""), result.chart.get("kind", "")
    if not kind and x:
        kind = PARETO if x in COUNTS else CURVE
    if kind == PARETO:
        return PARETO, x or PARETO_X
    numeric = [axis for axis in result.axes if _is_numeric(result, axis)]
    if kind in ("", CURVE) and (x in numeric or (not x and numeric)):
        return CURVE, x or numeric[0]
    return (kind if kind in (BARS, DOTS) else DOTS), ""


def _is_numeric(result: StudyResult, axis: str) -> bool:
    return makes_curve({point.point.axes[axis] for point in result.points})


def _marks(result: StudyResult, name: str, kind: str, axis: str) -> list[Mark]:
    marks = []
    for point in _points(result, name):
        mean, axes = point.means[name], point.point.axes
        factor = 100.0 if is_accuracy(name) else 1.0
        error = mean.error or 0.0
        if kind == PARETO:
            if axis not in point.means:
                continue
            x: float | str = point.means[axis].value
            series = axes.get(LIST, "")
        elif kind == CURVE:
            x = float(axes[axis])
            others = [(other, value) for other, value in axes.items() if other != axis]
            series = ", ".join(_axis_text(other, value, axes) for other, value in others)
        else:
            x = point.point.label
            series = axes.get(LIST, "") if len(axes) > 1 else ""
        value, low, high = (factor * (mean.value + sign * error) for sign in (0, -1, 1))
        label = chart_label(point.point.label, NAME)
        marks.append(Mark(label, chart_label(series), x, value, low, high, mean.n))
    return marks


def _axis_text(axis: str, value: str, axes: Any) -> str:
    return value if axis == LIST else f"{short_name(axis, axes)} {value}"


def _values(marks: Sequence[Mark]) -> dict[str, Any]:
    return {"values": [mark._asdict() for mark in marks]}


def _series(marks: Sequence[Mark], *, shapes: bool = True) -> dict[str, Any]:
    """Return the encoding of colours, and of shapes, which tell series apart in print."""
    names = list(dict.fromkeys(mark.series for mark in marks))
    if len(names) < 2:
        return {}
    legend = {"columns": 2, "symbolSize": 60, "symbolType": "circle"}
    scale: dict[str, Any] = {"domain": names}
    encoding = {"color": {"field": "series", "type": "nominal", "scale": scale, "legend": legend}}
    if shapes:
        shaped = {**scale, "range": [SHAPES[n % len(SHAPES)] for n in range(len(names))]}
        encoding["shape"] = {**encoding["color"], "scale": shaped}
    return encoding


def _number_axis(
    field: str, title: str, values: Sequence[float], *, zero: bool = False, log: bool = False
) -> dict[str, Any]:
    low, high = _domain(values, zero=zero, log=log)
    scale: dict[str, Any] = {"domain": [low, high], "nice": False, "zero": False}
    if log:
        scale["type"] = "log"
    return {"field": field, "type": "quantitative", "title": title, "scale": scale}


def _domain(values: Sequence[float], *, zero: bool, log: bool) -> tuple[float, float]:
    low, high = min(values), max(values)
    if log:
        more = (high / low) ** PADDING
        return low / more, high * more
    more = PADDING * (high - low) or abs(high) / 10 or 0.1
    return (0.0 if zero else low - more), high + more


def _tooltip(name: str) -> list[dict[str, str]]:
    return [
        {"field": "label", "title": "point"},
        {"field": "value", "title": measure_head(name), "format": ".4~g"},
        {"field": "low", "format": ".4~g"},
        {"field": "high", "format": ".4~g"},
        {"field": "n"},
    ]


def _rows(marks: Sequence[Mark], name: str, *, starts_at_zero: bool) -> dict[str, Any]:
    """Return a row a point: a bar from 0 or a dot, with its error."""
    ends = [end for mark in marks for end in (mark.low, mark.high)]
    across = _number_axis("value", measure_head(name), ends, zero=starts_at_zero)
    rows = {
        "field": "label",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {"ticks": False, "domain": False, "labelLimit": 260, "grid": not starts_at_zero},
    }
    mark: dict[str, Any] = {"type": "point", "size": 70}
    if starts_at_zero:
        mark = {"type": "bar", "opacity": 0.55}
    colour = _series(marks, shapes=not starts_at_zero)
    spans = {"x": {"field": "low", "type": "quantitative"}, "x2": {"field": "high"}}
    return {
        "width": WIDTH - 120,
        "height": ROW * len(marks),
        "data": _values(marks),
        "encoding": {"y": rows, "x": across},
        "layer": [
            {"mark": mark, "encoding": {**colour, "tooltip": _tooltip(name)}},
            {"mark": {"type": "rule", "strokeWidth": 1.4}, "encoding": spans},
        ],
    }


def _error_bars() -> dict[str, Any]:
    return {
        "mark": {"type": "rule", "clip": True, "strokeWidth": 1.2},
        "encoding": {"y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}},
    }


def _curve(marks: Sequence[Mark], name: str, axis: str) -> dict[str, Any]:
    xs = [float(mark.x) for mark in marks]
    ends = [end for mark in marks for end in (mark.low, mark.high)]
    colour = _series(marks)
    line = {key: value for key, value in colour.items() if key == "color"}
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "data": _values(marks),
        "encoding": {
            "x": _number_axis("x", axis.partition(".")[2], xs, log=_is_log(xs)),
            "y": _number_axis("value", measure_head(name), ends),
            **line,
        },
        "layer": [
            {"mark": {"type": "line", "clip": True}},
            _error_bars(),
            {
                "params": [ZOOM],
                "mark": {"type": "point", "clip": True, "size": 60},
                "encoding": {**colour, "tooltip": _tooltip(name)},
            },
        ],
    }


def _is_log(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) > LOG_FROM * min(values)


def _pareto(marks: Sequence[Mark], name: str, cost: str) -> tuple[dict[str, Any], str]:
    """Return a measure against a cost, with names and the Pareto front, and its note."""
    ends = [end for mark in marks for end in (mark.low, mark.high)]
    xs = [float(mark.x) for mark in marks]
    log = _is_log(xs)
    better = "least" if not is_accuracy(name) else "best"
    front = pareto_front(marks, larger_is_better=is_accuracy(name))
    colour = _series(marks)
    domains = _domain(xs, zero=False, log=log), _domain(ends, zero=False, log=False)
    line = {"type": "line", "clip": True, "interpolate": "step-after", "strokeWidth": 1}
    spec = {
        "width": WIDTH,
        "height": HEIGHT,
        "data": _values(marks),
        "usermeta": {"narrowest": WIDTHS[0] + 60},
        "encoding": {
            "x": _number_axis("x", measure_head(cost), xs, log=log),
            "y": _number_axis("value", measure_head(name), ends),
        },
        "layer": [
            {"data": _values(front), "mark": {**line, "opacity": 0.7}},
            _error_bars(),
            {
                "params": [ZOOM],
                "mark": {"type": "point", "clip": True, "size": 60},
                "encoding": {**colour, "tooltip": _tooltip(name)},
            },
            *_names(marks, domains, log),
        ],
    }
    note = f"{ERRORS} The stepped line is the Pareto front: the {better} of at most that cost."
    return spec, note


def pareto_front(marks: Sequence[Mark], *, larger_is_better: bool) -> list[Mark]:
    """Return the points that no cheaper or equally cheap one equals, the cheapest first."""
    sign = 1 if larger_is_better else -1
    found: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: (mark.x, -sign * mark.value)):
        if not found or sign * mark.value > sign * found[-1].value:
            found.append(mark)
    return found


def _names(
    marks: Sequence[Mark], domains: tuple[tuple[float, float], tuple[float, float]], log: bool
) -> list[dict[str, Any]]:
    (left, right), (bottom, top) = domains
    scale = math.log if log else float

    def place(x: float, y: float) -> tuple[float, float]:
        part = (scale(x) - scale(left)) / (scale(right) - scale(left))
        return part, (top - y) / (top - bottom)

    named = marks[:NAMED]
    points = [place(float(mark.x), mark.value) for mark in named]
    bars = []
    for mark in marks:
        (x, high), (_, low) = place(float(mark.x), mark.high), place(float(mark.x), mark.low)
        bars.append(Box(x, high, x, low))
    labels = [mark.label for mark in named]
    places = place_labels(points, labels, bars, WIDTHS, HEIGHT)
    fields = {"x": [float(mark.x) for mark in named], "value": [mark.value for mark in named]}
    return label_layers(fields, labels, places)
