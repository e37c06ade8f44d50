"""The trade-off of size and accuracy as a chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..logs.scores import LOSS
from ..report.charts import Chart, chart_label
from ..report.theme import DASHES, SHAPES
from .tradeoff import Point

WIDTH, HEIGHT, PADDING = 560, 320, 24  # pixels
COLUMNS = ("weights", "score", "bytes", "accuracy", "standard error")


def tradeoff_chart(points: Sequence[Point]) -> Chart:
    """Return accuracies against bytes with their standard errors, those before as lines.

    `points` begins with the weights before compression.
    """
    before, after = points[0], sorted(points[1:], key=lambda point: point.bytes)
    names = [name for name, score in before.scores.items() if score.role != LOSS]
    lines = [_row(before, name, before) for name in names]
    rows = [_row(point, name, before) for point in after for name in names if name in point.scores]
    title = f"kB (before: {before.bytes / 1000:,.0f}, dashed)"
    spec = {
        "width": WIDTH,
        "height": HEIGHT,
        "encoding": {
            "x": {"field": "kB", "type": "quantitative", "title": title, "scale": _wide()},
            "y": {
                "field": "accuracy",
                "type": "quantitative",
                "title": f"accuracy of {before.images:,} images",
                "scale": _wide(),
            },
            "color": _by_score(names, legend={"columns": 4, "symbolSize": 60}),
        },
        "layer": [
            {
                "data": {"values": lines},
                "mark": {"type": "rule", "strokeDash": DASHES[1], "strokeWidth": 1.4},
                "encoding": {"x": None, "tooltip": _tooltip()},
            },
            *(_point_layers(rows, names) if rows else ()),
        ],
    }
    numbers = [
        [row[key] for key in ("name", "score", "bytes", "accuracy", "error")]
        for row in lines + rows
    ]
    return Chart("tradeoff", "size against accuracy", spec, COLUMNS, numbers)


def _wide() -> dict[str, Any]:
    """Return a scale that leaves room for names beside the outer points."""
    return {"zero": False, "nice": False, "padding": PADDING}


def _by_score(names: Sequence[str], **more: Any) -> dict[str, Any]:
    scale = {"domain": [chart_label(name) for name in names]}
    return {"field": "score", "type": "nominal", "scale": scale, **more}


def _tooltip() -> list[dict[str, Any]]:
    numbers = {"kB": ",.0f", "accuracy": ".4f", "error": ".2g"}
    texts: list[dict[str, Any]] = [{"field": "name", "title": "weights"}, {"field": "score"}]
    return texts + [{"field": field, "format": form} for field, form in numbers.items()]


def _row(point: Point, name: str, before: Point) -> dict[str, Any]:
    value, error = point.scores[name].value, before.noise(name) or 0.0
    return {
        "name": chart_label(point.name),
        "score": chart_label(name),
        "bytes": point.bytes,
        "kB": point.bytes / 1000,
        "accuracy": value,
        "error": error,
        "low": value - error,
        "high": value + error,
    }


def _point_layers(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return bars of the standard errors, points, and names beside those of the first score."""
    shape = {"domain": [chart_label(name) for name in names], "range": list(SHAPES)}
    low_to_high = {"y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}}
    layers: list[dict[str, Any]] = [
        {"mark": {"type": "rule", "strokeWidth": 1.2}, "encoding": low_to_high},
        {
            "mark": {"type": "point", "size": 60},
            "encoding": {
                "shape": {
                    "field": "score",
                    "scale": shape,
                    "legend": {"columns": 4, "symbolSize": 60},
                },
                "tooltip": _tooltip(),
            },
        },
    ]
    for above in (True, False):  # by turns, so that neighbours' names differ in height
        named = [row for row in rows if row["score"] == chart_label(names[0])][not above :: 2]
        text = {"type": "text", "align": "left", "dx": 8, "dy": -7 if above else 9}
        layers.append(
            {
                "data": {"values": named},
                "mark": text,
                "encoding": {"text": {"field": "name"}, "color": {}},
            }
        )
    return [{"data": {"values": rows}, **layer} for layer in layers]
