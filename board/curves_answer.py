"""What the board answers to a page that draws curves: charts, and only the points it lacks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..logs.read_result import LOG, RESULT
from ..report.charts import Chart
from ..report.curves import ITERATIONS, TIME, Training, extract_trainings
from ..report.names import distinct_names
from ..report.training_charts import (
    NamedTraining,
    describe_sampling,
    name_trainings,
    training_charts,
)
from ..text import first_few
from .followed_log import FollowedLogs
from .log_tail import log_path
from .places import RUN, Place
from .short_result import read_short_result

Lines = dict[tuple[str, str, str], list[dict[str, Any]]]  # chart, run and curve -> its points


class Asked(NamedTuple):
    """What a page asks for.

    Attributes:
        by_time: whether the horizontal axis is the time.
        log_scale: whether losses and rates have a logarithmic axis.
        have: the signature of the charts that it has.
        since: where its points of each line end, as the last answer said.
    """

    by_time: bool
    log_scale: bool
    have: str
    since: str


def answer(places: Sequence[Place], logs: FollowedLogs, asked: Asked) -> dict[str, Any]:
    """Return the answer as plain data: `read`, the share of the logs that is read, and if it is 1:

    - `charts`: `name`, `title`, `note` and `spec` of each, the spec without the lines' points;
    - `rows`: by chart, the points that the page lacks, or all where the signature is another;
    - `signature`, `since`: for the next time;
    - `remarks`: sentences.

    Raises:
        SqgenError: a log can't be read, or has no times.
    """
    x = TIME if asked.by_time else ITERATIONS
    followed = [logs.get(log_path(place)) if _has_log(place) else None for place in places]
    read = min((log.read_on() for log in followed if log is not None), default=1.0)
    if read < 1:
        return {"read": read}
    runs, without = [], []
    names = distinct_names([place.name for place in places])
    for name, place, log in zip(names, places, followed, strict=True):
        found = log.trainings(x) if log is not None else _kept_trainings(place, x)
        trainings = [each for each in found if each.curves]
        runs += name_trainings(name, trainings, {})
        if not trainings:
            without.append(name)
    charts = training_charts(runs, x, asked.log_scale) if runs else []
    # Where a log took another's place, or a resume that of what it repeats, all points come again.
    origins = [*(log and log.identity for log in followed), *(r.training.segments for r in runs)]
    return {
        "read": 1,
        **_new_points(charts, asked, origins),
        "remarks": list(_remarks(runs, without if len(places) > 1 else [])),
    }


def _has_log(place: Place) -> bool:
    return place.kind != RUN or LOG in place.files


def _kept_trainings(place: Place, x: str) -> list[Training]:
    """Return the trainings of a run that has lost its log, from its result."""
    if RESULT not in place.files:
        return []
    return extract_trainings(read_short_result(place.path / RESULT, with_rows=True), None, x)


def _remarks(runs: Sequence[NamedTraining], without: Sequence[str]) -> Iterator[str]:
    if without:
        yield f"Without curves: {first_few(without)}."
    sampled = describe_sampling([run.training for run in runs])
    if sampled:
        yield sampled


def _new_points(charts: Sequence[Chart], asked: Asked, origins: Sequence[object]) -> dict[str, Any]:
    lines = _lines(charts)
    words = [str(asked.by_time), str(asked.log_scale), *map(repr, lines), *map(repr, origins)]
    words += [str(chart.spec["encoding"]["x"]["title"]) for chart in charts]
    signature = hashlib.sha256("\n".join(words).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    ends = _ends(asked.since, len(lines)) if signature == asked.have else [None] * len(lines)
    rows: dict[str, list[dict[str, Any]]] = {chart.name: [] for chart in charts}
    for ((name, _, _), points), end in zip(lines.items(), ends, strict=True):
        rows[name] += [point for point in points if end is None or point["at"] > end]
    return {
        "signature": signature,
        "since": ",".join(repr(points[-1]["at"]) for points in lines.values()),
        "charts": [_without_points(chart) for chart in charts],
        "rows": rows,
    }


def _lines(charts: Sequence[Chart]) -> Lines:
    lines: Lines = {}
    for chart in charts:
        for row in chart.spec["data"]["values"]:
            lines.setdefault((chart.name, row["run"], row["curve"]), []).append(row)
    return lines


def _ends(since: str, count: int) -> list[float | None]:
    """Return where the page's points of each line end; None for all where it does not say."""
    try:
        ends: list[float | None] = [float(word) for word in since.split(",")]
    except ValueError:
        ends = []
    return ends if len(ends) == count else [None] * count


def _without_points(chart: Chart) -> dict[str, Any]:
    spec = {**chart.spec, "data": {"values": []}}
    return {"name": chart.name, "title": chart.title, "note": chart.note, "spec": spec}
