"""Charts of trainings: a panel each for losses, accuracies and learning rates."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import DesignError
from .charts import Chart, chart_label
from .curves import (
    ACCURACY_PANEL,
    ITERATIONS,
    LOSS_PANEL,
    PANELS,
    RATE_PANEL,
    TIME,
    Curve,
    Training,
)
from .names import number_duplicates
from .theme import DASHES, SHAPES

WIDTH, PANEL_HEIGHT, PADDING = 640, 190, 6  # pixels
FEW = 8  # runs that have a colour of their own, and a legend in each panel
MARKERS = 12  # on a curve of tests, at most
MARKED = 6  # runs whose breaks have a text
BAR = "M-1,-0.15L1,-0.15L1,0.15L-1,0.15Z"  # of a line without markers, in a legend of shapes
NAMES = {panel: panel.replace(" ", "-") for panel in PANELS}  # of charts
FEW_RESUMES = 4  # that have a text
UNITS = (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
LINE = 14  # pixels between texts below each other
LETTER, SAMPLE = 6.6, 52  # pixels of a legend's entry: a letter, and the line before it
# Wheel events zoom only with Ctrl, as on maps: otherwise they scroll the page.
ZOOM: dict[str, Any] = {
    "name": "zoom",
    "select": {
        "type": "interval",
        "encodings": ["x"],
        "zoom": "wheel![event.ctrlKey || event.metaKey]",
    },
    "bind": "scales",
}


class NamedTraining(NamedTuple):
    """A training and its name in a legend."""

    name: str
    training: Training


def name_trainings(
    name: str, trainings: Sequence[Training], record: Mapping[str, Any]
) -> list[NamedTraining]:
    """Name the trainings of a log: as the log; of several, by their phases or numbers.

    Args:
        name: of the log.
        trainings: in its order.
        record: of the run, whose `phases` a training in several has; empty for a bare log.
    """
    if len(trainings) == 1:
        return [NamedTraining(name, trainings[0])]
    phases = record.get("phases")
    names = [
        each["name"]
        for each in (phases if isinstance(phases, list | tuple) else ())
        if isinstance(each, dict) and isinstance(each.get("name"), str)
    ]
    count = trainings[-1].number if trainings else 0  # a resumed one has the last phases alone
    names = names[-count:] if 0 < count <= len(names) else [f"{n + 1}" for n in range(count)]
    return [NamedTraining(f"{name} ({names[each.number - 1]})", each) for each in trainings]


class _Line(NamedTuple):
    """A curve, the name of its run, and its names in legends."""

    run: str
    curve: Curve


class _Frame(NamedTuple):
    """What the panels of a figure share.

    Attributes:
        runs: names in the legend.
        title: of the horizontal axis.
        unit: what 1 on it counts, in iterations or seconds.
        domain: its ends.
        log_scale: whether losses and learning rates have a logarithmic axis.
    """

    runs: Sequence[str]
    title: str
    unit: float
    domain: tuple[float, float]
    log_scale: bool

    def at(self, x: float) -> float:
        """Return a place on the horizontal axis, as short as can be seen."""
        return float(f"{x / self.unit:.8g}")


def training_charts(
    runs: Sequence[NamedTraining], x: str = ITERATIONS, log_scale: bool = False
) -> list[Chart]:
    """Return a chart of each panel that has curves.

    Args:
        runs: the trainings; their names differ.
        x: as for `extract_trainings`.
        log_scale: whether losses and learning rates have a logarithmic axis.

    Raises:
        DesignError: there is nothing to draw.
    """
    names = number_duplicates([chart_label(run.name) for run in runs])
    runs = [run._replace(name=name) for name, run in zip(names, runs, strict=True)]
    lines = [_Line(run.name, curve) for run in runs for curve in run.training.curves]
    if not lines:
        raise DesignError("nothing to plot: no training rows in these logs")
    frame = _frame(names, lines, x, log_scale)
    resumes = [(run.name, mark.x) for run in runs for mark in run.training.resumes]
    panels = [panel for panel in PANELS if any(line.curve.panel == panel for line in lines)]
    charts = [
        _panel_chart(panel, [each for each in lines if each.curve.panel == panel], resumes, frame)
        for panel in panels
    ]
    if len(runs) > FEW:
        for chart in charts[1:]:
            _drop_run_legend(chart.spec)
    return charts


def _drop_run_legend(spec: Mapping[str, Any]) -> None:
    """Leave the legend of runs to the panel above."""
    line = spec["layer"][0]["encoding"]
    if line["color"]["field"] == "run":
        line["color"]["legend"] = line["strokeDash"]["legend"] = None


def _frame(runs: Sequence[str], lines: Sequence[_Line], x: str, log_scale: bool) -> _Frame:
    xs = [x for line in lines for x in line.curve.xs]
    title, unit = "iteration", 1.0
    if x == TIME:
        title, unit = next(each for each in UNITS if max(xs) >= 3 * each[1] or each[1] == 1)
    return _Frame(runs, title, unit, (min(xs) / unit, max(xs) / unit), log_scale)


def _panel_chart(
    panel: str, lines: Sequence[_Line], resumes: Sequence[tuple[str, float]], frame: _Frame
) -> Chart:
    is_log = frame.log_scale and panel != ACCURACY_PANEL
    labels = list(dict.fromkeys(line.curve.label for line in lines))
    one_run = len(frame.runs) == 1
    series = labels if one_run else frame.runs
    spec = {
        "width": WIDTH,
        "height": PANEL_HEIGHT,
        "usermeta": _page_options(series, panel, is_log),
        "data": {"values": [row for line in lines for row in _line_rows(line, frame, is_log)]},
        "encoding": {
            "x": {
                "field": "at",
                "type": "quantitative",
                "title": frame.title,
                "scale": {"domain": frame.domain, "nice": False, "padding": PADDING},
            },
            "y": _vertical_axis(panel, is_log),
        },
        "layer": [
            _line_layer(series, one_run),
            *_marker_layers(lines, labels, frame, is_log),
            *_break_layers(lines, frame, is_log),
            *_resume_layers(resumes, frame),
        ],
    }
    columns = ("run", "curve", frame.title, panel)
    rows = [
        (line.run, line.curve.label, at / frame.unit, value if math.isfinite(value) else None)
        for line in lines
        for at, value in zip(line.curve.xs, line.curve.ys, strict=True)
    ]
    return Chart(NAMES[panel], panel, spec, columns, rows)


def _page_options(series: Sequence[str], panel: str, is_log: bool) -> dict[str, Any]:
    """Return what a page makes of a panel: losses have a button for a logarithmic scale."""
    options: dict[str, Any] = {"legendEntry": _entry_width(series), "hover": True}
    return options | ({"log": True} if panel == LOSS_PANEL and not is_log else {})


def _entry_width(names: Sequence[str]) -> int:
    """Return the pixels that the longest of some names takes in a legend."""
    return round(max(map(len, names)) * LETTER + SAMPLE)


def _line_rows(line: _Line, frame: _Frame, is_log: bool) -> Iterator[dict[str, Any]]:
    for x, y in zip(line.curve.xs, line.curve.ys, strict=True):
        yield _row(line, frame.at(x), _drawn(y, is_log))


def _row(line: _Line, at: float, value: float | None, **more: object) -> dict[str, Any]:
    return {"at": at, "value": value, "run": line.run, "curve": line.curve.label, **more}


def _drawn(value: float | None, is_log: bool) -> float | None:
    """Return a value as short as can be seen; None where there is a gap."""
    if value is None or not math.isfinite(value) or (is_log and value <= 0):
        return None
    return float(f"{value:.6g}")


def _vertical_axis(panel: str, is_log: bool) -> dict[str, Any]:
    axis: dict[str, Any] = {"title": panel}
    scale: dict[str, Any] = {"nice": False, "padding": PADDING}
    scale["zero"] = panel == RATE_PANEL and not is_log
    if is_log:
        scale["type"] = "log"
        axis = {"title": f"{panel} (log)", "axis": {"format": "~g", "tickCount": 5}}
    elif panel == RATE_PANEL:
        axis["axis"] = {"format": "~g"}
    return {"field": "value", "type": "quantitative", "scale": scale, **axis}


def _line_layer(series: Sequence[str], one_run: bool) -> dict[str, Any]:
    """Return the lines: a colour and dashes per run, or else per curve."""
    dashes = [DASHES[(index + index // FEW) % len(DASHES)] for index in range(len(series))]
    legend = {"columns": max(1, WIDTH // _entry_width(series))} if len(series) > 1 else None
    by = {"field": "curve" if one_run else "run", "type": "nominal", "legend": legend}
    return {
        "params": [ZOOM],
        "mark": {"type": "line", "clip": True, "strokeWidth": 1.6 if len(series) <= FEW else 1.1},
        "encoding": {
            "color": {**by, "scale": {"domain": series}},
            "strokeDash": {**by, "scale": {"domain": series, "range": dashes}},
            "detail": [{"field": "curve"}, {"field": "run"}],
        },
    }


def _marker_layers(
    lines: Sequence[_Line], labels: Sequence[str], frame: _Frame, is_log: bool
) -> Iterator[dict[str, Any]]:
    """Yield markers: on curves of tests, on curves of several runs that share their dashes, and
    where a point stands alone.
    """
    one_run = len(frame.runs) == 1
    marked = [
        line for line in lines if line.curve.test or (not one_run and line.curve.label != labels[0])
    ]
    rows = [
        _row(line, frame.at(line.curve.xs[index]), value)
        for line in lines
        for index in _marker_places(line.curve, line in marked)
        if (value := _drawn(line.curve.ys[index], is_log)) is not None
    ]
    if not rows:
        return
    plain = labels[0] if labels[0] not in {line.curve.label for line in marked} else None
    shapes = [BAR if label == plain else SHAPES[i % len(SHAPES)] for i, label in enumerate(labels)]
    shape = {
        "field": "curve",
        "type": "nominal",
        "scale": {"domain": labels, "range": shapes},
        "legend": {"symbolSize": 60, "symbolOpacity": 1, "symbolStrokeWidth": 2},
    }
    yield {
        "data": {"values": rows},
        "mark": {"type": "point", "clip": True, "filled": True},
        "encoding": {
            "color": {"field": "curve" if one_run else "run", "type": "nominal"},
            **({} if one_run or len(labels) == 1 else {"shape": shape}),
        },
    }


def _marker_places(curve: Curve, is_marked: bool) -> list[int]:
    """Return which points of a curve have a marker."""
    finite = [False, *map(math.isfinite, curve.ys), False]
    alone = [
        index
        for index in range(len(curve.ys))
        if finite[index + 1] and not finite[index] and not finite[index + 2]
    ]
    spread = range(0, len(curve.ys), math.ceil(len(curve.ys) / MARKERS)) if is_marked else ()
    return sorted({*alone, *spread})


def _break_layers(lines: Sequence[_Line], frame: _Frame, is_log: bool) -> Iterator[dict[str, Any]]:
    """Yield crosses on the last values of curves that cease to be finite, and what they became."""
    crosses = [
        _row(line, frame.at(mark.x), _drawn(mark.y, is_log), text=mark.text)
        for line in lines
        for mark in line.curve.breaks
    ]
    placed = [row for row in crosses if row["value"] is not None]
    if placed:
        tooltip = [{"field": field} for field in ("run", "curve", "text")]
        cross = {"type": "point", "style": "break", "clip": True}
        yield {"data": {"values": placed}, "mark": cross, "encoding": {"tooltip": tooltip}}
    if crosses:
        yield from _break_texts(crosses, frame)


def _break_texts(crosses: Sequence[dict[str, Any]], frame: _Frame) -> Iterator[dict[str, Any]]:
    """Yield, for the first break of each run, a line up from it and a text at the top."""
    firsts: dict[str, dict[str, Any]] = {}
    for cross in sorted(crosses, key=lambda row: float(row["at"])):
        firsts.setdefault(cross["run"], cross)
    shown = list(firsts.values())[:MARKED]
    rule = {"type": "rule", "style": "break-rule", "clip": True}
    yield {"data": {"values": shown}, "mark": rule, "encoding": {"y": None}}
    for slot, row in enumerate(shown):
        is_right = row["at"] > (frame.domain[0] + frame.domain[1]) / 2
        side = {"align": "right", "dx": -5} if is_right else {"align": "left", "dx": 5}
        name = "" if len(frame.runs) == 1 else f"{row['run']}: "
        yield {
            "data": {"values": [{"at": row["at"], "text": name + row["text"]}]},
            "mark": {"type": "text", "style": "break-text", "clip": True, **side},
            "encoding": {"text": {"field": "text"}, "y": {"value": 8 + LINE * slot}},
        }


def _resume_layers(resumes: Sequence[tuple[str, float]], frame: _Frame) -> Iterator[dict[str, Any]]:
    """Yield lines across the panel where a training was resumed."""
    if not resumes:
        return
    data = {"values": [{"at": frame.at(x), "run": run, "text": "resumed"} for run, x in resumes]}
    yield {
        "data": data,
        "mark": {"type": "rule", "style": "resume", "clip": True},
        "encoding": {"y": None, "tooltip": [{"field": "run"}, {"field": "text"}]},
    }
    if len(frame.runs) == 1 and len(resumes) <= FEW_RESUMES:
        text = {"type": "text", "style": "resume-text", "align": "left", "dx": 4, "clip": True}
        place = {"y": {"value": PANEL_HEIGHT - 8}, "text": {"field": "text"}}
        yield {"data": data, "mark": text, "encoding": place}


def describe_sampling(trainings: Sequence[Training]) -> str:
    """Return a sentence where curves are sampled; empty where all points are drawn."""
    curves = (curve for training in trainings for curve in training.curves if curve.is_sampled)
    most = max((curve.points for curve in curves), default=0)
    if not most:
        return ""
    return (
        f"Sampled: of curves of up to {most:,} points, the first, last, lowest and highest of each"
        " stretch are drawn."
    )


def stack_charts(name: str, title: str, charts: Sequence[Chart], note: str = "") -> Chart:
    """Return charts of `training_charts` above each other as one picture, with one legend of runs.

    `note` stands below.
    """
    specs = []
    for index, chart in enumerate(charts):
        spec = copy.deepcopy(dict(chart.spec))
        del spec["layer"][0]["params"]
        if index < len(charts) - 1:
            spec["encoding"]["x"]["title"] = None
        if index:
            _drop_run_legend(spec)
        specs.append({key: value for key, value in spec.items() if key != "usermeta"})
    whole: dict[str, Any] = {"vconcat": specs, "spacing": 12}
    whole["resolve"] = {
        "scale": {"color": "independent", "strokeDash": "independent", "shape": "independent"}
    }
    if note:
        whole["title"] = {"text": note, "orient": "bottom", "fontSize": 10, "fontWeight": "normal"}
    rows = [row for chart in charts for row in chart.rows]
    return Chart(name, title, whole, ("run", "curve", charts[0].columns[2], "value"), rows, note)
