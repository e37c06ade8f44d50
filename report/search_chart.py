"""Searches as charts: the channels that layers keep, the bits that they have, and scores."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from ..text import first_few
from .charts import ZOOM, Chart, chart_label

WIDTH = 560  # pixels
BAR = 17  # pixels that a layer takes
HEIGHT = 200  # pixels of the scores
NAME = 40  # characters of layers' names
WITHIN, BEST, OVER = KINDS = ("within the budget", "best so far", "over the budget")
_SHAPES = ("circle", "stroke", "cross")
_OF = ("weights", "activations")
_LAYER_AXIS = {
    "field": "layer",
    "type": "nominal",
    "sort": None,
    "title": None,
    "axis": {"ticks": False, "domain": False, "labelLimit": 260},
}
_LOG_FROM = 5  # times the smallest score is the largest, where a logarithmic axis shows more


class LayerShare(NamedTuple):
    """How much is kept of layers that lose channels together.

    Attributes:
        layers: their names, in the order of the net.
        channels: how many they have.
        kept: how many they keep.
    """

    layers: Sequence[str]
    channels: int
    kept: int


class ChosenBits(NamedTuple):
    """The bits of a layer's weights, and of what it reads, if these are chosen."""

    layer: str
    weights: float
    activations: float | None = None


class TrialScore(NamedTuple):
    """A trial of a search: its score, the less the better, and whether it is within the budget."""

    score: float
    fits: bool


def shares_chart(shares: Sequence[LayerShare], title: str) -> Chart:
    """Return the share of its channels that each layer keeps, as bars with the numbers.

    Args:
        shares: in the order of the net.
        title: what kept them.
    """
    values = [
        {
            "layer": label,
            "share": each.kept / each.channels,
            "text": f"{each.kept:,} of {each.channels:,}",
        }
        for each, label in zip(shares, _labels(shares), strict=True)
    ]
    rows = [(" + ".join(each.layers), each.channels, each.kept) for each in shares]
    spec = _shares_spec(values, title)
    return Chart("shares", title, spec, ("layer", "channels", "kept"), rows)


def _labels(shares: Sequence[LayerShare]) -> list[str]:
    """Return a name for each, no two alike."""
    names = [" + ".join(each.layers) for each in shares]
    short = [
        chart_label(name if len(name) <= NAME else first_few(each.layers, 1), NAME)
        for name, each in zip(names, shares, strict=True)
    ]
    return _distinct(short)


def _distinct(names: Sequence[str]) -> list[str]:
    seen: Counter[str] = Counter()
    labels = []
    for label in names:
        seen[label] += 1
        labels.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return labels


def bits_chart(layers: Sequence[ChosenBits], most: int, title: str) -> Chart:
    """Return the bits of each layer as bars with the numbers.

    Args:
        layers: in the order of the net.
        most: bits that a layer may have.
        title: what chose them.
    """
    labels = _distinct([chart_label(each.layer, NAME) for each in layers])
    values = [
        {"layer": label, "bits": bits, "of": of}
        for each, label in zip(layers, labels, strict=True)
        for of, bits in zip(_OF, each[1:], strict=True)
        if bits is not None
    ]
    spec = _bits_spec(values, len(layers), most, title)
    return Chart("bits", title, spec, ("layer", "weights", "activations"), layers)


def _bits_spec(
    values: Sequence[dict[str, Any]], layers: int, most: int, title: str
) -> dict[str, Any]:
    of = [name for name in _OF if any(row["of"] == name for row in values)]
    bits = {
        "field": "bits",
        "type": "quantitative",
        "title": "bits",
        "scale": {"domain": [0, most]},
        "axis": {"tickMinStep": 1, "grid": True},
    }
    encoding: dict[str, Any] = {
        "y": _LAYER_AXIS,
        "x": bits,
        "tooltip": [{"field": "layer"}, {"field": "of"}, {"field": "bits", "format": "~g"}],
    }
    if len(of) > 1:
        encoding["yOffset"] = {"field": "of", "sort": of}
        encoding["color"] = {"field": "of", "type": "nominal", "title": None, "sort": of}
    number = {"text": {"field": "bits", "format": "~g"}}
    return {
        "title": title,
        "width": WIDTH,
        "height": BAR * layers * len(of),
        "data": {"values": list(values)},
        "encoding": encoding,
        "layer": [
            {"mark": "bar"},
            {"mark": {"type": "text", "align": "left", "dx": 4}, "encoding": number},
        ],
    }


def _shares_spec(values: Sequence[dict[str, Any]], title: str) -> dict[str, Any]:
    share = {
        "field": "share",
        "type": "quantitative",
        "title": "channels kept",
        "scale": {"domain": [0, 1]},
        "axis": {"format": "%", "tickCount": 5, "grid": True},
    }
    tooltip = [{"field": "layer"}, {"field": "text", "title": "channels kept"}]
    whole = {"datum": 1, "type": "quantitative"}
    return {
        "title": title,
        "width": WIDTH,
        "height": BAR * len(values),
        "data": {"values": list(values)},
        "encoding": {"y": _LAYER_AXIS, "tooltip": tooltip},
        "layer": [
            {"mark": {"type": "bar", "opacity": 0.15}, "encoding": {"x": whole}},
            {"mark": {"type": "bar"}, "encoding": {"x": share}},
            {
                "mark": {"type": "text", "align": "left", "dx": 5},
                "encoding": {"x": whole, "text": {"field": "text"}},
            },
        ],
    }


def scores_chart(trials: Sequence[TrialScore], score: str, unit: str) -> Chart:
    """Return the score of each trial as a point, and the best so far within the budget as a line.

    Scores that are no numbers are left out; the note says so.

    Args:
        trials: one or more, in their order.
        score: its name.
        unit: of its values, for the axis.
    """
    best = accumulate((each.score if each.fits else math.inf for each in trials), min)
    rows = [(number, *each) for number, each in enumerate(trials, 1)]
    points = [
        {"trial": number, "score": value, "kind": WITHIN if fits else OVER}
        for number, value, fits in rows
        if math.isfinite(value)
    ]
    line = [
        {"trial": number, "score": value, "kind": BEST}
        for number, value in enumerate(best, 1)
        if math.isfinite(value)
    ]
    title = f"{score}, {len(trials):,} trials" if len(trials) > 1 else f"{score}, 1 trial"
    left_out = len(trials) - len(points)
    note = f"Without {left_out:,} of the trials, whose scores are not finite." if left_out else ""
    spec = _scores_spec(points, line, title, unit)
    return Chart("scores", title, spec, ("trial", "score", "within the budget"), rows, note)


def _scores_spec(
    points: Sequence[dict[str, Any]], line: Sequence[dict[str, Any]], title: str, unit: str
) -> dict[str, Any]:
    shown = [kind for kind in KINDS if any(row["kind"] == kind for row in (*points, *line))]
    count = max((row["trial"] for row in (*points, *line)), default=1)
    trial = {
        "field": "trial",
        "type": "quantitative",
        "title": "trial",
        "scale": {"domain": [1, max(2, count)], "nice": False, "padding": 6},
        "axis": {"tickMinStep": 1, "tickCount": 8, "format": ",d", "grid": False},
    }
    legend = {"columns": len(KINDS), "values": shown, "symbolSize": 60}
    kind = {"field": "kind", "type": "nominal", "legend": legend}
    return {
        "title": title,
        "width": WIDTH,
        "height": HEIGHT,
        "encoding": {
            "x": trial,
            "y": {
                "field": "score",
                "type": "quantitative",
                "title": unit,
                **_score_axis([row["score"] for row in points]),
            },
            "color": {**kind, "scale": {"domain": list(KINDS)}},
        },
        "layer": [
            {
                "data": {"values": list(points)},
                "params": [ZOOM],
                "mark": {"type": "point", "clip": True},
                "encoding": {
                    "shape": {**kind, "scale": {"domain": list(KINDS), "range": list(_SHAPES)}},
                    "tooltip": [
                        {"field": "trial"},
                        {"field": "score", "format": ".4g"},
                        {"field": "kind", "title": "trial is"},
                    ],
                },
            },
            {
                "data": {"values": list(line)},
                "mark": {"type": "line", "clip": True, "interpolate": "step-after"},
            },
        ],
    }


def _score_axis(scores: Sequence[float]) -> dict[str, Any]:
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    if low > 0 and high >= _LOG_FROM * low:
        return {"scale": {"type": "log", "padding": 6}, "axis": {"tickCount": 6, "format": "~g"}}
    return {"scale": {"zero": False, "padding": 6}, "axis": {"format": "~g"}}


def search_picture(charts: Sequence[Chart]) -> Chart:
    """Return charts below each other as one picture, with their notes in the last line."""
    note = " ".join(chart.note for chart in charts if chart.note)
    whole: dict[str, Any] = {"vconcat": [chart.spec for chart in charts], "spacing": 24}
    whole["resolve"] = {"scale": {"color": "independent", "shape": "independent"}}
    if note:
        whole["title"] = {"text": note, "orient": "bottom", "fontSize": 10, "fontWeight": "normal"}
    return Chart("search", charts[0].title, whole)
