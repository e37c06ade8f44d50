"""Read the trainings of several logs, each under a short name, to draw them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..logs.read_result import read_result
from ..logs.result import LogResult
from .curve_sampler import CurveSampler
from .curves import ITERATIONS, extract_trainings, limit_stretches
from .names import distinct_names
from .training_charts import NamedTraining, name_trainings


def read_trainings(
    files: Sequence[str], x: str = ITERATIONS, smooth: int = 1
) -> tuple[list[NamedTraining], list[str]]:
    """Return the trainings in files, and those files that have none.

    Args:
        files: logs, results or run folders.
        x: as for `extract_trainings`.
        smooth: number of displays to average a training loss over.

    Raises:
        SqgenError: a file can't be read, or has no times for an axis of time.
    """
    samplers = [CurveSampler(smooth) for _ in files]
    results = []
    for file, sampler in zip(files, samplers, strict=True):
        result = read_result(file, keep_rows=False, rows=sampler)
        sampler.add_rows(result)
        results.append(_without_rows(result))
    limit_stretches(samplers)
    runs, empty = [], []
    for file, name, result, sampler in zip(
        files, distinct_names(files), results, samplers, strict=True
    ):
        trainings = [t for t in extract_trainings(result, sampler, x) if t.curves]
        runs += name_trainings(name, trainings, result.run)
        if not trainings:
            empty.append(file)
    return runs, empty


def _without_rows(result: LogResult) -> LogResult:
    segments = tuple(replace(segment, train=(), test=()) for segment in result.segments)
    return replace(result, segments=segments, batches=())
