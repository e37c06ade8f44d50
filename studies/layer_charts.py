"""What compression did to each layer, as heat maps: weights are rows, layers columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..compress.weighted_layers import SHARED_TYPES
from ..report.charts import Chart, chart_label
from .tradeoff_table import MeasuredLayer

WIDTH, CELL, ROW = 560, 21, 18  # pixels; a cell has room for its number
BESIDE = 200  # pixels of the names of weights, at most
LABEL = 26  # letters of such a name


class _Field(NamedTuple):
    """A field of a layer to draw.

    Attributes:
        name: of the field.
        title: of its chart.
        text: writes a value into a cell.
        note: what it means.
    """

    name: str
    title: str
    text: Callable[[float], str]
    note: str


def _percent(value: float) -> str:
    """Return a part in percent, with two or three characters."""
    return f"{100 * value:.0f}" if value >= 0.0995 or not value else f"{100 * value:.1f}"


FIELDS = (
    _Field(
        "error",
        "Change of the weights, %",
        _percent,
        "The root mean square of their change, relative to theirs; pruning is included.",
    ),
    _Field("bits", "Bits of a weight", str, "They number the different values of a layer."),
    _Field("density", "Density, %", _percent, "The part of the weights that are not 0."),
)


SHARE = _Field("share", "Part of the file, %", _percent, "Biases and tables are included.")


def layer_charts(
    weights: Mapping[str, Sequence[MeasuredLayer]], fields: Sequence[_Field] = FIELDS
) -> list[Chart]:
    """Return a heat map for each field, of the layers that are compressed; none without any.

    Args:
        weights: the layers of each, by its name.
        fields: that the layers have.
    """
    rows = {
        name: shared
        for name, layers in weights.items()
        if (shared := [layer for layer in layers if layer.type in SHARED_TYPES])
    }
    return [_chart(rows, field) for field in fields] if rows else []


def _chart(rows: Mapping[str, Sequence[MeasuredLayer]], field: _Field) -> Chart:
    values = {
        name: [(layer.layer, getattr(layer, field.name)) for layer in layers]
        for name, layers in rows.items()
    }
    numbers = [(name, *pair) for name, pairs in values.items() for pair in pairs]
    columns = ("weights", "layer", field.name)
    spec = _spec(_united(values), field)
    return Chart(f"layer-{field.name}", field.title, spec, columns, numbers, field.note)


Pairs = Sequence[tuple[str, float]]  # layers and values


def _united(rows: Mapping[str, Pairs]) -> Mapping[str, Pairs]:
    """Return one row where all are equal, as densities are without pruning."""
    first = next(iter(rows.values()))
    is_one = len(rows) > 1 and all(row == first for row in rows.values())
    return {"all": first} if is_one else rows


def _spec(rows: Mapping[str, Pairs], field: _Field) -> dict[str, Any]:
    values = [
        {
            "weights": chart_label(name, LABEL),
            "layer": chart_label(layer),
            "value": value,
            "text": field.text(value),
        }
        for name, row in rows.items()
        for layer, value in row
    ]
    count = max(map(len, rows.values()))
    return {
        "title": field.title,
        "width": max(WIDTH, CELL * count),
        "height": ROW * len(rows),
        "usermeta": {"narrowest": CELL * count + BESIDE},
        "data": {"values": values},
        "encoding": {
            "x": {
                "field": "layer",
                "type": "nominal",
                "sort": None,
                "title": None,
                "axis": {"labelAngle": -90, "labelLimit": 150, "ticks": False, "domain": False},
            },
            "y": {
                "field": "weights",
                "type": "nominal",
                "sort": None,
                "title": None,
                "axis": {"labelLimit": BESIDE, "ticks": False, "domain": False},
            },
            "tooltip": [
                {"field": "weights"},
                {"field": "layer"},
                {"field": "text", "title": field.title},
            ],
        },
        "layer": [
            {"mark": "rect", "encoding": {"fillOpacity": _shade(field)}},
            {"mark": {"type": "text", "fontSize": 9}, "encoding": {"text": {"field": "text"}}},
        ],
    }


def _shade(field: _Field) -> dict[str, Any]:
    kind = "sqrt" if field.name == "error" else "linear"  # most errors are small
    scale = {"type": kind, "domainMin": 0, "range": [0.03, 0.7]}
    return {"field": "value", "type": "quantitative", "scale": scale, "legend": None}
