"""Calibration as charts: accuracy against confidence (a reliability diagram), and the counts."""

from __future__ import annotations

from typing import Any

from ..evaluation.calibration import Calibration, CalibrationBin
from ..evaluation.intervals import wilson_interval
from .charts import Chart

COLUMNS = ("low", "high", "images", "accuracy", "confidence")


def calibration_charts(calibration: Calibration) -> tuple[Chart, Chart]:
    """Return the reliability diagram (Guo et al. 2017) and the number of images of each bin."""
    values = [_values(each) for each in calibration.bins if each.images]
    numbers = [tuple(None if cell != cell else cell for cell in each) for each in calibration.bins]
    title = f"Calibration (ECE {calibration.error:.3g})"
    note = (
        "Of the images of which the net is 80% sure, 80% should be right: points below the dashed"
        " line are overconfident. Bars of accuracy with 95% intervals (Wilson); points stand at the"
        " mean confidence."
    )
    reliability = Chart("calibration", title, _reliability(values), COLUMNS, numbers, note)
    counts = Chart(
        "confidence",
        "Confidence",
        _counts(values),
        COLUMNS[:3],
        [row[:3] for row in numbers],
    )
    return reliability, counts


def _values(each: CalibrationBin) -> dict[str, Any]:
    least, most = wilson_interval(round(each.accuracy * each.images), each.images)
    return {**each._asdict(), "least": least, "most": most}


TOOLTIP = [
    {"field": "low", "title": "confidence from", "type": "quantitative", "format": ".1%"},
    {"field": "high", "title": "to", "type": "quantitative", "format": ".1%"},
    {"field": "confidence", "title": "mean", "type": "quantitative", "format": ".1%"},
    {"field": "accuracy", "type": "quantitative", "format": ".1%"},
    {"field": "images", "type": "quantitative", "format": ","},
]
_FROM_0_TO_1 = {"domain": [0, 1], "nice": False}


def _bounds(title: str | None) -> dict[str, Any]:
    return {
        "x": {
            "field": "low",
            "type": "quantitative",
            "scale": _FROM_0_TO_1,
            "axis": {"format": "%", "title": title},
        },
        "x2": {"field": "high"},
    }


def _reliability(values: list[dict[str, Any]]) -> dict[str, Any]:
    y = {
        "type": "quantitative",
        "scale": _FROM_0_TO_1,
        "axis": {"format": "%", "title": "accuracy"},
    }
    at_mean = {"x": {"field": "confidence", "type": "quantitative"}}
    return {
        "width": 480,
        "usermeta": {"widest": 640},
        "height": 320,
        "data": {"values": values},
        "layer": [
            {
                "mark": {"type": "rect", "opacity": 0.3, "xOffset": 0.5, "x2Offset": -0.5},
                "encoding": {
                    **_bounds("confidence"),
                    "y": {**y, "field": "accuracy"},
                    "y2": {"datum": 0},
                    "tooltip": TOOLTIP,
                },
            },
            {
                "data": {"values": [{}]},
                "mark": {"type": "rule", "strokeDash": [5, 4], "strokeWidth": 1.2},
                "encoding": {
                    f"{axis}{end}": {"datum": bool(end) + 0} for axis in "xy" for end in ("", "2")
                },
            },
            {
                "mark": {"type": "rule", "strokeWidth": 1.5},
                "encoding": {**at_mean, "y": {**y, "field": "least"}, "y2": {"field": "most"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 55, "opacity": 1},
                "encoding": {**at_mean, "y": {**y, "field": "accuracy"}, "tooltip": TOOLTIP},
            },
        ],
    }


def _counts(values: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "width": 480,
        "usermeta": {"widest": 640},
        "height": 90,
        "data": {"values": values},
        "mark": {"type": "rect", "opacity": 0.6, "xOffset": 0.5, "x2Offset": -0.5},
        "encoding": {
            **_bounds("confidence of the most probable class"),
            "y": {
                "field": "images",
                "type": "quantitative",
                "axis": {"title": "images", "tickCount": 3},
            },
            "y2": {"datum": 0},
            "tooltip": TOOLTIP,
        },
    }
