"""A run of a report: what is known of it, from its folder, its result or its log."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FormatError
from ..formats.files import STDIN, display_name, read_bytes
from ..json_form import loads
from ..logs.kept_predictions import read_kept_predictions
from ..logs.read_result import LOG, RESULT, VERDICT, read_caffe_log, read_result
from ..logs.result import LogResult
from ..runner.run_lock import find_runner
from .curve_sampler import LOSS_CURVE, CurveSampler
from .curves import ITERATIONS, Training, extract_trainings, limit_stretches
from .names import distinct_names

if TYPE_CHECKING:
    from ..evaluation.evaluate import Evaluation
    from ..formats.predictions import Predictions

LARGE_RESULT = 1 << 25  # bytes from which on the log is read instead, as it comes
VERDICT_LIMIT = 1 << 24  # bytes of gate.json
_TAIL = 1 << 22  # bytes of a large result that hold the record of its run


@dataclass(frozen=True)
class ReportedRun:
    """A run, or a log.

    Attributes:
        name: what tells it from the others of the report.
        source: as typed.
        folder: the run folder, or None for a log or a result elsewhere.
        result: without its rows; `result.run` is the record of the runner, empty for a bare log.
        trainings: the curves of its trainings, sampled.
        speed: iterations per second from the first display to the last, or None.
        verdict: the content of gate.json, or None.
        runner: who runs it now, in words; empty if it was cut off; None where nothing tells.
        omitted: trainings at the beginning of the log that are not drawn.
    """

    name: str
    source: str
    folder: Path | None
    result: LogResult
    trainings: tuple[Training, ...]
    speed: float | None = None
    verdict: Mapping[str, Any] | None = None
    runner: str | None = None
    omitted: int = 0

    @cached_property
    def predictions(self) -> Predictions | None:
        """The predictions that a test kept; None where it kept none, or they are gone."""
        try:
            return read_kept_predictions(self.result, self.source)
        except FormatError:
            return None

    @cached_property
    def evaluation(self) -> Evaluation | None:
        """What the predictions say; None without them."""
        if self.predictions is None:
            return None
        from ..evaluation.evaluate import evaluate_predictions  # imports NumPy

        return evaluate_predictions(self.predictions)


@dataclass
class _Reading:
    """A run while the others are read."""

    source: str
    folder: Path | None
    result: LogResult
    sampler: CurveSampler = field(default_factory=CurveSampler)


def read_runs(sources: Sequence[str]) -> list[ReportedRun]:
    """Read the runs of a report, each log in one pass and bounded memory.

    Raises:
        SqgenError: one can't be read, or is no run.
    """
    readings = [_read(source) for source in sources]
    limit_stretches([each.sampler for each in readings])
    names = distinct_names(sources)
    return [_finish(name, each) for name, each in zip(names, readings, strict=True)]


def _read(source: str) -> _Reading:
    sampler = CurveSampler()
    folder = Path(source) if source != STDIN and os.path.isdir(source) else None
    if folder is not None and _is_large(folder / RESULT) and os.path.isfile(folder / LOG):
        # The log has the rows as well, and is read as it comes.
        result = read_caffe_log(str(folder / LOG), sampler, keep_rows=False)
        result = replace(result, run=_read_record(folder / RESULT))
    else:
        result = read_result(source, keep_rows=False, rows=sampler)
        sampler.add_rows(result)
    if result.command == "unknown" and not (result.segments or result.fatal or result.signals):
        raise FormatError(f"{display_name(source)}: is empty, or ended before the run began")
    segments = tuple(replace(segment, train=(), test=()) for segment in result.segments)
    return _Reading(source, folder, replace(result, segments=segments, batches=()), sampler)


def _is_large(path: Path) -> bool:
    try:
        return path.stat().st_size > LARGE_RESULT
    except OSError:
        return False


def _read_record(path: Path) -> Mapping[str, Any]:
    """Return the record of the run from the end of a large result, as sqgen writes it."""
    with open(path, "rb") as file:
        file.seek(-min(_TAIL, path.stat().st_size), os.SEEK_END)
        tail = file.read().decode(errors="replace")
    start = tail.rfind('\n  "run": {')
    try:
        record = json.JSONDecoder().raw_decode(tail[start + len('\n  "run": ') :])[0]
    except (ValueError, RecursionError):
        return {}
    return record if start >= 0 and isinstance(record, dict) else {}


def _finish(name: str, reading: _Reading) -> ReportedRun:
    result, sampler, folder = reading.result, reading.sampler, reading.folder
    trainings = extract_trainings(result, sampler, ITERATIONS)
    return ReportedRun(
        name,
        reading.source,
        folder,
        result,
        tuple(each for each in trainings if each.curves),
        _speed(sampler),
        None if folder is None else _read_verdict(folder / VERDICT),
        None if folder is None else find_runner(folder),
        trainings[0].number - 1 if trainings else 0,
    )


def _speed(sampler: CurveSampler) -> float | None:
    """Return iterations per second of all runs together, tests included."""
    iterations, seconds = 0, 0.0
    for key, curve in sampler.curves.items():
        points = curve.points()
        first, last = points[0], points[-1]
        if key.kind == LOSS_CURVE and first.seconds is not None and last.seconds is not None:
            iterations += last.iteration - first.iteration
            seconds += last.seconds - first.seconds
    return iterations / seconds if seconds > 0 and iterations > 0 else None


def _read_verdict(path: Path) -> Mapping[str, Any] | None:
    """Return the verdict of a test; None without one that can be read."""
    if not os.path.isfile(path):
        return None
    try:
        plain = loads(read_bytes(path, VERDICT_LIMIT, "a verdict"))
    except (FormatError, ValueError):
        return None
    return plain if isinstance(plain, dict) and isinstance(plain.get("checks"), list) else None
