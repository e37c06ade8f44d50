"""Time by layer, as `caffe time` measured it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..logs.result import LayerTime
from ..text import escaped, number_text
from .charts import Chart, chart_label
from .names import number_duplicates
from .page import Block, Cell, Fact, Facts, Section, Table
from .report_options import ReportOptions
from .reported_run import ReportedRun

MOST = 30  # layers in the chart: those that take longest
BAR = 15  # pixels of a layer


def time_section(run: ReportedRun, options: ReportOptions) -> Section | None:
    """Return sums, a chart of the slowest layers, and a table; None where nothing was timed."""
    times = run.result.layer_times
    if not times:
        return None
    sums = [
        Fact(escaped(name), f"{number_text(ms)} ms") for name, ms in run.result.total_ms.items()
    ]
    blocks: list[Block] = [Facts(sums, large=True)] if sums else []
    blocks.append(_time_chart(times))
    total = sum(map(_sum, times)) or 1.0
    rows = [_cells(each, total) for each in times]
    heads = ["layer", "forward ms", "backward ms", "share"]
    blocks.append(
        Table(heads, rows, (1, 2, 3), f"All {len(times)} layers", folded=len(times) > MOST)
    )
    return Section("Time by layer", "time", blocks)


def _sum(time: LayerTime) -> float:
    return (time.forward or 0.0) + (time.backward or 0.0)


def _cells(time: LayerTime, total: float) -> list[str | Cell]:
    numbers = [_number(time.forward), _number(time.backward)]
    share = _sum(time) / total
    return [escaped(time.layer), *numbers, Cell(f"{share:.1%}", share)]


def _number(value: float | None) -> Cell:
    return Cell("" if value is None else number_text(value), value)


def _time_chart(times: Sequence[LayerTime]) -> Chart:
    slowest = sorted(times, key=_sum, reverse=True)[:MOST]
    names = number_duplicates([chart_label(time.layer) for time in slowest])
    values: list[dict[str, Any]] = [
        {"layer": name, "pass": word, "ms": ms, "order": order}
        for name, time in zip(names, slowest, strict=True)
        for order, (word, ms) in enumerate((("forward", time.forward), ("backward", time.backward)))
        if ms is not None
    ]
    spec = {
        "width": 640,
        "height": BAR * len(slowest),
        "data": {"values": values},
        "mark": {"type": "bar", "height": {"band": 0.75}, "stroke": None},
        "encoding": {
            "y": {"field": "layer", "type": "nominal", "sort": names, "title": None},
            "x": {"field": "ms", "type": "quantitative", "title": "milliseconds"},
            "color": {
                "field": "pass",
                "type": "nominal",
                "scale": {"domain": ["forward", "backward"]},
                "legend": {"columns": 2, "symbolType": "square"},
            },
            "order": {"field": "order"},
            "tooltip": [{"field": "layer"}, {"field": "pass"}, {"field": "ms", "format": ".4~g"}],
        },
    }
    rows = [(time.layer, time.forward, time.backward) for time in slowest]
    columns = ("layer", "forward ms", "backward ms")
    return Chart("time", "time by layer", spec, columns, rows)
