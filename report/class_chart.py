"""The accuracy of each class, with its interval, as a chart and as a table of a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..evaluation.confusion import ClassResult
from ..evaluation.evaluate import Evaluation
from ..evaluation.intervals import wilson_interval
from .charts import Chart, chart_label
from .class_labels import class_labels, class_name
from .errors_text import Names, by_recall
from .page import Cell, Table

SHOWN = 40  # classes up to which all are drawn
OF_EACH = 18  # of the least and the most accurate, where there are more
ROWS = 2000  # of a table
FOLDED = 40  # rows of a table from which it is folded


def class_chart(evaluation: Evaluation, names: Names) -> Chart:
    """Return the accuracy of each class that has images; of many, of the worst and the best.

    Args:
        evaluation: of the predictions.
        names: of the classes, or None.
    """
    found = [each for each in sorted(evaluation.classes, key=by_recall) if each.images]
    left_out = len(found) - 2 * OF_EACH if len(found) > SHOWN else 0
    shown = [*found[:OF_EACH], *found[-OF_EACH:]] if left_out else found
    labels = class_labels([each.class_index for each in shown], names)
    axis = list(labels)
    if left_out:
        axis.insert(OF_EACH, f"({left_out:,} classes between)")
    values = [
        {"label": label, **_values(each, names)} for each, label in zip(shown, labels, strict=True)
    ]
    columns = ("class", "name", "images", "right", "accuracy", "low", "high")
    numbers = [_numbers(each, names) for each in found]
    average = evaluation.accuracies[0].value
    some = f" The {OF_EACH} least and most accurate of {len(found):,}." if left_out else ""
    note = f"95% intervals (Wilson); the dashed line is top-1 of all images.{some}"
    spec = _spec(values, axis, average)
    return Chart("classes", "Accuracy of each class", spec, columns, numbers, note)


def _numbers(each: ClassResult, names: Names) -> tuple[object, ...]:
    name = None if names is None else names[each.class_index]
    low, high = wilson_interval(each.right, each.images)
    return each.class_index, name, each.images, each.right, each.recall, low, high


def _values(each: ClassResult, names: Names) -> dict[str, Any]:
    low, high = wilson_interval(each.right, each.images)
    return {
        "class": chart_label(class_name(each.class_index, names)),
        "images": each.images,
        "right": each.right,
        "accuracy": each.recall,
        "low": low,
        "high": high,
    }


def _spec(values: Sequence[dict[str, Any]], axis: Sequence[str], average: float) -> dict[str, Any]:
    percent = {"format": "%", "title": "accuracy", "grid": True}
    tooltip = [
        {"field": "class"},
        {"field": "accuracy", "type": "quantitative", "format": ".1%"},
        {"field": "right", "type": "quantitative"},
        {"field": "images", "type": "quantitative"},
        {"field": "low", "type": "quantitative", "format": ".1%"},
        {"field": "high", "type": "quantitative", "format": ".1%"},
    ]
    return {
        "width": 560,
        "height": 17 * len(axis),
        "data": {"values": list(values)},
        "encoding": {
            "y": {
                "field": "label",
                "type": "nominal",
                "title": None,
                "scale": {"domain": list(axis)},
                "axis": {"ticks": False, "domain": False, "labelLimit": 160},
            },
            "tooltip": tooltip,
        },
        "layer": [
            {
                "data": {"values": [{}]},
                "mark": {"type": "rule", "strokeDash": [4, 3]},
                "encoding": {"x": {"datum": average}, "y": None, "tooltip": None},
            },
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {
                    "x": {
                        "field": "low",
                        "type": "quantitative",
                        "scale": {"domain": [0, 1]},
                        "axis": percent,
                    },
                    "x2": {"field": "high"},
                },
            },
            {
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
                "encoding": {"x": {"field": "accuracy", "type": "quantitative"}},
            },
        ],
    }


def class_rows(evaluation: Evaluation, names: Names) -> Table:
    """Return a table of all classes, or of the first `ROWS`, the least accurate first."""
    heads = ("class", "images", "right", "accuracy", "95% interval", "precision", "confused with")
    ordered = sorted(evaluation.classes, key=by_recall)
    rows = [_row(each, names) for each in ordered[:ROWS]]
    all_of = f"All {len(ordered):,} classes"
    some = f"The {ROWS:,} least accurate of {len(ordered):,} classes"
    caption = all_of if len(ordered) <= ROWS else some
    return Table(heads, rows, range(1, 6), caption, len(rows) > FOLDED)


def _row(each: ClassResult, names: Names) -> list[str | Cell]:
    recall = interval = taken = ""
    if each.images:
        low, high = wilson_interval(each.right, each.images)
        recall, interval = f"{each.recall:.3f}", f"{low:.3f} to {high:.3f}"
    if each.confusion is not None:
        taken = f"{class_name(each.confusion.predicted, names)} ({each.confusion.images})"
    return [
        Cell(class_name(each.class_index, names), each.class_index),
        str(each.images),
        str(each.right),
        recall,
        Cell(interval, low if each.images else None),
        f"{each.precision:.3f}" if each.predicted else "",
        Cell(taken, each.confusion.images if each.confusion else 0),
    ]
