"""The confusion matrix as a chart: classes that are taken for each other stand together."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..evaluation.class_order import order_classes
from ..evaluation.confusion import confusion_matrix
from ..evaluation.evaluate import Evaluation
from .charts import ZOOM, Chart, chart_label
from .class_labels import class_labels, class_name
from .errors_text import Names

LIMIT = 2000  # classes that are ordered and drawn
SIDE, CELL = 560, 56  # pixels of a matrix and of a cell, at most
ROOM = 11  # pixels of a cell that has room for a label
NUMBERED = 12  # classes up to which cells have room for a number
MARKS = 1500  # cells beyond which a page draws them on a canvas
LETTER, LABEL = 5.8, 20  # pixels of a letter, and letters of a label
RIGHT, WRONG = "right", "taken for another class"
COLUMNS = ("label", "predicted", "images", "label name", "predicted name")


class _Matrix(NamedTuple):
    """A confusion matrix in the order of its drawing.

    Attributes:
        classes: of its rows and columns.
        cells: (column, row, images) of those that are not 0.
        images: of each row.
    """

    classes: list[int]
    cells: list[tuple[int, int, int]]
    images: list[int]

    @property
    def largest_error(self) -> float:
        """The largest part of a row's images that are taken for one other class."""
        return max(
            (n / self.images[row] for column, row, n in self.cells if column != row), default=0.0
        )


def confusion_chart(evaluation: Evaluation, names: Names) -> Chart | None:
    """Return the confusion matrix as a chart; None with more than `LIMIT` classes.

    Only the cells that are not 0 are in it: 15,000 of 50,000 images in 1,000 classes.

    Args:
        evaluation: of the predictions.
        names: of the classes, or None.
    """
    if len(evaluation.classes) > LIMIT:
        return None
    matrix = _ordered(evaluation)
    note = (
        "Rows are labels, columns predictions; classes that are taken for each other stand together"
        " (average linkage). The stronger a cell, the more of its row's images: right ones up to"
        f" 100%, others up to {matrix.largest_error:.1%}. Drag to move, Ctrl and wheel to zoom,"
        " double-click to go back."
    )
    numbers = []
    for column, row, images in matrix.cells:
        pair = matrix.classes[row], matrix.classes[column]
        known = (None, None) if names is None else (names[pair[0]], names[pair[1]])
        numbers.append((*pair, images, *known))
    return Chart("confusion", "Confusion matrix", _spec(matrix, names), COLUMNS, numbers, note)


def _ordered(evaluation: Evaluation) -> _Matrix:
    classes, counts = confusion_matrix(list(evaluation.confusions))
    order = order_classes(counts)
    counts = counts[np.ix_(order, order)]
    rows, columns = (axis.tolist() for axis in counts.nonzero())
    cells = list(zip(columns, rows, counts[rows, columns].tolist(), strict=True))
    return _Matrix([classes[each] for each in order], cells, counts.sum(1).tolist())


def _spec(matrix: _Matrix, names: Names) -> dict[str, Any]:
    count = len(matrix.classes)
    labels = class_labels(matrix.classes, names, LABEL)
    side = min(SIDE, CELL * max(count, 4))
    beside = round(LETTER * (max(map(len, labels)) + 2))
    layers = [_cells(RIGHT, count), _cells(WRONG, count)]
    layers[0]["params"] = [ZOOM]
    if count <= NUMBERED:
        layers.append(
            {"mark": "text", "encoding": {"text": {"field": "n", "type": "quantitative"}}}
        )
    return {
        "width": side,
        "height": side,
        "usermeta": {
            "square": True,
            "widest": side + beside + 60,  # ticks and title
            "canvas": len(matrix.cells) > MARKS,
        },
        "params": [
            {"name": "names", "value": [chart_label(class_name(c, names)) for c in matrix.classes]},
            {"name": "labels", "value": labels},
            {"name": "images", "value": matrix.images},
        ],
        "data": {"values": list(map(list, matrix.cells))},  # a third of the size of objects
        "transform": _TRANSFORM,
        "encoding": {
            "x": _axis("x", "predicted", count, side, beside),
            "y": _axis("y", "label", count, side, beside),
        },
        "layer": layers,
        "resolve": {"scale": {"fillOpacity": "independent", "strokeOpacity": "independent"}},
    }


_TRANSFORM = [
    *({"calculate": f"datum[{place}]", "as": name} for place, name in enumerate("xyn")),
    {"calculate": "datum.n / images[datum.y]", "as": "share"},
    {"calculate": "names[datum.y]", "as": "label"},
    {"calculate": "names[datum.x]", "as": "predicted"},
    *({"calculate": f"datum.{axis} - 0.5", "as": f"{axis}1"} for axis in "xy"),
    *({"calculate": f"datum.{axis} + 0.5", "as": f"{axis}2"} for axis in "xy"),
]


def _axis(axis: str, title: str, count: int, side: int, beside: int) -> dict[str, Any]:
    has_room = side / count >= ROOM
    ticks: dict[str, Any] = {"tickCount": side // 16}
    if has_room:
        size = min(11, 0.75 * side / count)  # pixels of a letter, so that no label is left out
        ticks = {"values": list(range(count)), "labelFontSize": size}
        ticks["labelSeparation"] = -3  # Vega takes labels for taller than they are
    return {
        "field": axis,
        "type": "quantitative",
        "title": title,
        "scale": {
            "domain": [-0.5, count - 0.5],
            "nice": False,
            "zero": False,
            "reverse": axis == "y",
        },
        "axis": {
            **ticks,
            "tickMinStep": 1,
            "labelExpr": "labels[datum.value]",
            "labelAngle": -90 if axis == "x" else 0,
            "labelLimit": beside,
            "labelOverlap": "greedy",
            "minExtent": beside + 8,  # the same for any part that is zoomed to
            "maxExtent": beside + 8,
            "grid": False,
        },
    }


def _cells(kind: str, count: int) -> dict[str, Any]:
    """Return the layer of the right or of the wrong ones."""
    whole = {"domainMax": 1} if kind == RIGHT else {}
    shade = {
        "field": "share",
        "type": "quantitative",
        "scale": {"domainMin": 0, **whole, "range": [0.12, 0.85]},
        "legend": None,
    }
    colour = {
        "datum": kind,
        "type": "nominal",
        "scale": {"domain": [RIGHT, WRONG], "range": "category"},
        "legend": {"symbolType": "square"},
    }
    # Cells of a large matrix are smaller than a pixel, and an outline is not.
    outline = {"stroke": colour, "strokeOpacity": shade} if SIDE / count < ROOM else {}
    return {
        "transform": [{"filter": f"datum.x {'==' if kind == RIGHT else '!='} datum.y"}],
        "mark": {"type": "rect", "clip": True, "aria": False, "strokeWidth": 0.8},
        "encoding": {
            **{each: {"field": f"{each[0]}1"} for each in "xy"},
            **{each: {"field": each} for each in ("x2", "y2")},
            "fill": colour,
            "fillOpacity": shade,
            **outline,
            "tooltip": _TOOLTIP,
        },
    }


_TOOLTIP = [
    {"field": "label"},
    {"field": "predicted"},
    {"field": "n", "title": "images", "type": "quantitative"},
    {"field": "share", "title": "of the label", "type": "quantitative", "format": ".1%"},
]
