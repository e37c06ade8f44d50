"""The trade-off of size and accuracy as a chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..report.charts import ZOOM, Chart, chart_label
from ..report.label_places import Box, label_layers, place_labels
from ..report.theme import DASHES, SHAPES
from .tradeoff_table import MeasuredPoint, Tradeoff

WIDTH, HEIGHT = 560, 340  # pixels
NARROW = 420  # pixels at least
WIDTHS = (NARROW, WIDTH, 1000)  # in which names must not overlap
PADDING = 0.07  # of the axes, for names beside the outer points
COLUMNS = (
    *("weights", "score", "bytes", "accuracy", "standard error", "on the front"),
    "retrained from",
)
NAMED = 60  # points that have a name beside them, the smallest
NAME = 28  # characters of a point's name


class _Axes(NamedTuple):
    """The domains of kB and accuracy."""

    kb: tuple[float, float]
    accuracy: tuple[float, float]

    def place(self, row: dict[str, Any]) -> tuple[float, float]:
        """Return where a point is, as parts of width and height, from the left and from above."""
        (left, right), (bottom, top) = self
        return (row["kB"] - left) / (right - left), (top - row["accuracy"]) / (top - bottom)

    def bar(self, row: dict[str, Any]) -> Box:
        """Return where the bar of an error is."""
        (x, low), (_, high) = (self.place({**row, "accuracy": row[key]}) for key in ("low", "high"))
        return Box(x, high, x, low)

    def line(self, row: dict[str, Any]) -> Box:
        """Return where the line of an accuracy is."""
        _, y = self.place(row)
        return Box(0, y, 1, y)


def tradeoff_chart(table: Tradeoff) -> Chart:
    """Return accuracies against bytes with standard errors; those before compression as lines.

    A stepped line is the Pareto front: the best first accuracy of a file of at most so many bytes.
    A thin line leads from a file to its retrained successor, which alone has a name.
    """
    names, before = table.accuracies, table.before
    lines = [_row(before, name, before) for name in names]
    rows = [_row(p, name, before) for p in table.after for name in names if name in p.scores]
    first = names[0] if names else ""
    front = _front([row for row in rows if row["key"] == first])
    axes = _Axes(
        _domain([row["kB"] for row in rows] or [before.bytes / 1000]),
        _domain([row[key] for row in lines + rows for key in ("low", "high")] or [0.0, 1.0]),
    )
    links = _links(rows)
    layers = [
        _before_layer(lines),
        *([_link_layer(links)] if links else ()),
        *(_point_layers(rows, lines, front, names, axes) if rows else ()),
    ]
    title = f"kB (before: {before.bytes / 1000:,.0f}, dashed)"
    spec = {
        "width": WIDTH,
        "height": HEIGHT,
        "usermeta": {"narrowest": NARROW + 60},  # with the axis
        "encoding": {
            "x": _axis("kB", title, axes.kb),
            "y": _axis("accuracy", f"accuracy of {before.images:,} images", axes.accuracy),
            "color": _by_score(names, legend={"columns": 4, "symbolSize": 60}),
        },
        "layer": layers,
    }
    keys = ("point", "key", "bytes", "accuracy", "error")
    numbers = [
        [*(row[key] for key in keys), int(row in front), row["start"]] for row in lines + rows
    ]
    note = (
        f"Bars are one standard error. The stepped line is the best {first} of a file of at most so"
        " many bytes. All were tested on the same images, so a difference is more certain than the"
        " bars suggest."
    ) + (" A thin line leads from a file to its retrained successor." if links else "")
    return Chart("tradeoff", "size against accuracy", spec, COLUMNS, numbers, note)


def _front(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the points that no smaller one equals, the smallest first."""
    found: list[dict[str, Any]] = []
    for row in sorted(rows, key=lambda row: (row["bytes"], -row["accuracy"])):
        if not found or row["accuracy"] > found[-1]["accuracy"]:
            found.append(row)
    return found


def _domain(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    more = PADDING * (high - low) or abs(high) / 10 or 0.1
    return low - more, high + more


def _axis(field: str, title: str, domain: tuple[float, float]) -> dict[str, Any]:
    scale = {"domain": list(domain), "nice": False, "zero": False}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale}


def _by_score(names: Sequence[str], **more: Any) -> dict[str, Any]:
    scale = {"domain": [chart_label(name) for name in names]}
    return {"field": "score", "type": "nominal", "scale": scale, **more}


_TOOLTIP = [
    {"field": "name", "title": "weights"},
    {"field": "score"},
    {"field": "kB", "format": ",.0f"},
    {"field": "accuracy", "format": ".4f"},
    {"field": "error", "title": "standard error", "format": ".2g"},
]


def _row(point: MeasuredPoint, name: str, before: MeasuredPoint) -> dict[str, Any]:
    value, error = point.scores[name], point.standard_errors.get(name, 0.0)
    return {
        "point": point.name,
        "name": chart_label(point.name),
        "key": name,
        "score": chart_label(name),
        "bytes": point.bytes,
        "kB": point.bytes / 1000,
        "accuracy": value,
        "error": error,
        "start": point.retrained_from or "",
        "low": value - error,
        "high": value + error,
    }


def _links(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the lines from files to their retrained successors."""
    places = {(row["point"], row["key"]): row for row in rows}
    ends = ((places.get((row["start"], row["key"])), row) for row in rows)
    return [
        {**row, "fromKB": start["kB"], "fromAccuracy": start["accuracy"]}
        for start, row in ends
        if start is not None
    ]


def _link_layer(links: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "data": {"values": list(links)},
        "mark": {"type": "rule", "clip": True, "strokeWidth": 1, "opacity": 0.5},
        "encoding": {
            "x": {"field": "fromKB", "type": "quantitative"},
            "x2": {"field": "kB"},
            "y": {"field": "fromAccuracy", "type": "quantitative"},
            "y2": {"field": "accuracy"},
        },
    }


def _before_layer(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "data": {"values": list(lines)},
        "mark": {"type": "rule", "clip": True, "strokeDash": DASHES[1], "strokeWidth": 1.4},
        "encoding": {"x": None, "tooltip": _TOOLTIP},
    }


def _point_layers(
    rows: Sequence[dict[str, Any]],
    lines: Sequence[dict[str, Any]],
    front: Sequence[dict[str, Any]],
    names: Sequence[str],
    axes: _Axes,
) -> list[dict[str, Any]]:
    """Return the front, bars of the standard errors, points, and names of the first score's."""
    shape = {"domain": [chart_label(name) for name in names], "range": list(SHAPES)}
    legend = {"columns": 4, "symbolSize": 60}
    values = {"values": list(rows)}
    return [
        {
            "data": {"values": list(front)},
            "mark": {
                "type": "line",
                "clip": True,
                "interpolate": "step-after",
                "strokeWidth": 1,
                "opacity": 0.7,
            },
        },
        {
            "data": values,
            "mark": {"type": "rule", "clip": True, "strokeWidth": 1.2},
            "encoding": {"y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}},
        },
        {
            "data": values,
            "params": [ZOOM],
            "mark": {"type": "point", "clip": True, "size": 60},
            "encoding": {
                "shape": {"field": "score", "scale": shape, "legend": legend},
                "tooltip": _TOOLTIP,
            },
        },
        *_name_layers(rows, lines, names[0], axes),
    ]


def _name_layers(
    rows: Sequence[dict[str, Any]], lines: Sequence[dict[str, Any]], first: str, axes: _Axes
) -> list[dict[str, Any]]:
    starts = {row["start"] for row in rows}
    named = [row for row in rows if row["key"] == first and row["point"] not in starts][:NAMED]
    obstacles = [axes.bar(row) for row in rows] + [axes.line(row) for row in lines]
    labels = [chart_label(row["point"], NAME) for row in named]
    places = place_labels([axes.place(row) for row in named], labels, obstacles, WIDTHS, HEIGHT)
    fields = {name: [row[name] for row in named] for name in ("kB", "accuracy")}
    return label_layers(fields, labels, places)
