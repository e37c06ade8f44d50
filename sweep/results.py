"""The results of a study as one value: means, errors and paired differences, with their runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..version import __version__
from .outcome import Outcome, read_outcome
from .plan import Plan
from .points import Point, baseline_of
from .t_interval import Mean, mean_of

FORMAT = 1
INTERVAL = (
    "Student's t interval of 95% of the mean of paired differences, seed by seed; not adjusted for"
    " how many are compared"
)


@dataclass(frozen=True)
class Run:
    """A run: its seed, its folder from that of the study, and its outcome; None: none yet."""

    seed: int
    folder: str
    outcome: Outcome | None


@dataclass(frozen=True)
class Difference:
    """A measure of a point less that of the baseline, over the seeds that both have."""

    mean: Mean
    low: float | None
    high: float | None
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class PointResult:
    """A point with its runs.

    Attributes:
        point: what its runs ask for.
        runs: of each seed.
        baseline: the label of the point that it is compared with, or None.
        means: measure -> mean over the runs that have it.
        differences: measure -> difference to the baseline.
    """

    point: Point
    runs: tuple[Run, ...]
    baseline: str | None
    means: Mapping[str, Mean]
    differences: Mapping[str, Difference]

    @property
    def failed(self) -> list[Run]:
        """The runs that failed."""
        return [run for run in self.runs if run.outcome and run.outcome.failed is not None]

    @property
    def finished(self) -> list[Run]:
        """The runs that have measures."""
        return [run for run in self.runs if run.outcome and run.outcome.failed is None]


@dataclass(frozen=True)
class StudyResult:
    """What a study found so far."""

    title: str
    about: str
    measures: tuple[str, ...]
    axes: tuple[str, ...]
    chart: Mapping[str, str]
    points: tuple[PointResult, ...]

    @property
    def failed(self) -> list[Run]:
        """All runs that failed."""
        return [run for point in self.points for run in point.failed]

    @property
    def missing(self) -> list[Run]:
        """All runs that have no outcome yet."""
        return [run for point in self.points for run in point.runs if run.outcome is None]


def read_results(root: Path, plan: Plan) -> StudyResult:
    """Read the outcomes of a study's runs.

    Raises:
        FormatError: one is damaged.
    """
    runs: dict[str, list[Run]] = {point.label: [] for point in plan.points}
    for trial in plan.trials:
        outcome = read_outcome(root / trial.folder)
        runs[trial.point.label].append(Run(trial.seed, trial.folder, outcome))
    study = plan.study
    points = []
    for point in plan.points:
        base = baseline_of(study, point, plan.points)
        own = runs[point.label]
        others = [] if base is None else runs[base.label]
        names = [
            name for name in study.measures if any(_value(run, name) is not None for run in own)
        ]
        means = {name: mean_of(list(_values(own, name).values())) for name in names}
        points.append(
            PointResult(
                point,
                tuple(own),
                None if base is None else base.label,
                {name: mean for name, mean in means.items() if mean is not None},
                _differences(own, others, names),
            )
        )
    axes = tuple(plan.points[0].axes)
    return StudyResult(study.title, study.about, study.measures, axes, study.chart, tuple(points))


def _value(run: Run, name: str) -> float | None:
    return None if run.outcome is None else run.outcome.measures.get(name)


def _values(runs: Sequence[Run], name: str) -> dict[int, float]:
    found = {run.seed: _value(run, name) for run in runs}
    return {seed: value for seed, value in found.items() if value is not None}


def _differences(
    own: Sequence[Run], others: Sequence[Run], names: Sequence[str]
) -> dict[str, Difference]:
    differences = {}
    for name in names:
        mine, theirs = _values(own, name), _values(others, name)
        seeds = tuple(seed for seed in mine if seed in theirs)
        mean = mean_of([mine[seed] - theirs[seed] for seed in seeds])
        if mean is not None:
            low, high = mean.interval() or (None, None)
            differences[name] = Difference(mean, low, high, seeds)
    return differences


def result_json(result: StudyResult) -> dict[str, Any]:
    """Return the results as plain data (docs/studies.md)."""
    return {
        "format": FORMAT,
        "sqgen": __version__,
        "title": result.title,
        "about": result.about,
        "measures": list(result.measures),
        "interval": INTERVAL,
        "points": [_point_json(point, result.measures) for point in result.points],
    }


def _point_json(point: PointResult, measures: Sequence[str]) -> dict[str, Any]:
    return {
        "label": point.point.label,
        "axes": dict(point.point.axes),
        "baseline": point.baseline,
        "n": len(point.finished),
        "measures": {name: _measure_json(point, name) for name in measures if name in point.means},
        "runs": [_run_json(run, measures) for run in point.runs],
    }


def _measure_json(point: PointResult, name: str) -> dict[str, Any]:
    mean, difference = point.means[name], point.differences.get(name)
    plain: dict[str, Any] = {"mean": mean.value, "standard_error": mean.error, "n": mean.n}
    if difference is not None:
        plain["difference"] = {
            "mean": difference.mean.value,
            "low": difference.low,
            "high": difference.high,
            "n": difference.mean.n,
            "seeds": list(difference.seeds),
        }
    return plain


def _run_json(run: Run, measures: Sequence[str]) -> dict[str, Any]:
    values = {} if run.outcome is None else run.outcome.measures
    return {
        "folder": run.folder,
        "seed": run.seed,
        "failed": None if run.outcome is None else run.outcome.failed,
        "missing": run.outcome is None,
        "measures": {name: values[name] for name in measures if name in values},
    }
