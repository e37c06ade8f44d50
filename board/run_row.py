"""A row of the board's table: what a list of runs says of each."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import FormatError
from ..evaluation.intervals import standard_error
from ..json_form import loads
from ..logs.read_result import LOG, RESULT, VERDICT
from ..logs.result import LogResult, Segment
from ..logs.scores import LOSS, Score
from ..logs.trouble import DIVERGED
from ..runner.run_folder import COMMAND
from ..text import printable
from .log_ends import LogEnds, read_ends
from .places import LINK, LOG_FILE, RUN, Place, open_file
from .short_result import read_short_result

RUNNING, DONE, FAILED = "running", "done", "failed"
STOPPED, CUT_OFF, NO_RESULT, DAMAGED = "stopped", "cut off", "no result", "damaged"
STATES = (RUNNING, DONE, FAILED, STOPPED, CUT_OFF, NO_RESULT, DAMAGED)
# Not over, and nothing more is known of who writes it: `catalog.py` decides.
OPEN = "open"
_TIME = re.compile(r"(?:.*/)?(\d{8}-\d{6})-")
_STOP = re.compile("(?:stopped|killed) by SIG")  # of `runner/outcome.py`
_LARGE = 1e15  # for a number of a table
_VERDICT_LIMIT = 1 << 20
_COMMAND_LIMIT = 1 << 16


@dataclass(frozen=True)
class ScoreCell:
    """A score of the table: its value, standard error, and whether it means anything."""

    value: float
    error: float | None = None
    valid: bool = True


@dataclass(frozen=True)
class RunRow:
    """A row of the board's table.

    Attributes:
        id, name, kind: of its place.
        state: one of `STATES`.
        start: when it began, seconds since 1970; None if nothing tells.
        command: `train`, `test`, `time`, `unknown`, or empty.
        net: its name.
        done, total, unit: how far it is: iterations, batches or images; None if unknown.
        loss: of the last test, else of the last display.
        top1, top5: of the last test, of the first test net.
        gate: whether a test passed its checks; None without any.
        seconds: how long it took; None while it runs.
        runner: who runs it, such as `process 4711`.
        notes: what is odd about it: its error, troubles, damage.
    """

    id: str
    name: str
    kind: str
    state: str
    start: float | None = None
    command: str = ""
    net: str = ""
    done: int | None = None
    total: int | None = None
    unit: str = ""
    loss: ScoreCell | None = None
    top1: ScoreCell | None = None
    top5: ScoreCell | None = None
    gate: bool | None = None
    seconds: float | None = None
    runner: str = ""
    notes: tuple[str, ...] = ()


def read_row(place: Place) -> RunRow:
    """Return the row of a place; whatever is wrong with it is a note."""
    row = RunRow(place.id, printable(place.name), place.kind, NO_RESULT)
    try:
        return _read_row(place, row)
    except Exception as error:  # a fault of ours must not take the other runs with it
        note = f"sqgen can't read it, which is a fault: {type(error).__name__}: {error}"
        return replace(row, state=DAMAGED, notes=(printable(note, 600),))


def _read_row(place: Place, row: RunRow) -> RunRow:
    if place.kind == LINK:
        return replace(row, notes=("is a link, which the board does not follow",))
    if place.kind not in (RUN, LOG_FILE):
        return replace(row, notes=("can't be read: check who may",))
    row = replace(row, start=_start_time(place))
    if place.kind == LOG_FILE:
        return _with_log(row, place.path)
    if RESULT in place.files:
        try:
            result = read_short_result(place.path / RESULT)
        except FormatError as error:
            row = replace(row, notes=(str(error),))
            row = _with_log(row, place.path / LOG) if LOG in place.files else row
            return replace(row, state=DAMAGED)
        return replace(_with_result(row, result), gate=_verdict(place))
    if LOG in place.files:
        row = _with_log(row, place.path / LOG)
        return replace(row, total=row.total or _iterations(place))
    return row


def _start_time(place: Place) -> float | None:
    """Return when a run began: by its name, or when its command was written."""
    match = _TIME.match(place.name)
    if match is not None:
        try:
            return time.mktime(time.strptime(match[1], "%Y%m%d-%H%M%S"))
        except (ValueError, OverflowError):
            pass
    name = next((name for name in (COMMAND, RESULT, LOG) if name in place.files), "")
    try:
        return (place.path / name).lstat().st_mtime
    except OSError:
        return None


def _with_log(row: RunRow, path: Path) -> RunRow:
    """Fill in what the ends of a log say."""
    try:
        ends = read_ends(path)
    except FormatError as error:
        return replace(row, state=NO_RESULT, notes=(*row.notes, str(error)))
    if row.kind == LOG_FILE and not _is_caffe(ends.result):
        return replace(row, state=NO_RESULT, notes=("has nothing that Caffe prints",))
    row = _with_scores(row, ends.result, ends.rows.loss)
    if ends.result.command == "test" and ends.rows.batches:
        row = replace(row, done=ends.rows.batches, unit="batches")
    state = _state(ends.result) if ends.over or ends.result.completed else OPEN
    return replace(row, state=state, seconds=_seconds(ends))


def _is_caffe(result: LogResult) -> bool:
    return result.command != "unknown" or bool(result.segments or result.fatal or result.signals)


def _seconds(ends: LogEnds) -> float | None:
    times = [segment.seconds for segment in ends.result.segments if segment.seconds is not None]
    return sum(times) if times else None


def _with_result(row: RunRow, result: LogResult) -> RunRow:
    losses = [one.loss for segment in result.segments for one in segment.train]
    row = _with_scores(row, result, next((x for x in reversed(losses) if x is not None), None))
    run = result.run
    seconds = _number(run.get("seconds"))
    error = run.get("error")
    notes = (*((printable(error, 600),) if isinstance(error, str) else ()), *row.notes)
    return replace(row, state=_state(result), seconds=seconds, notes=notes)


def _number(value: Any) -> float | None:
    """Return a number of a stranger's file, if it is one."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < _LARGE else None


def _count(value: Any) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return int(value) if is_count and 0 <= value < _LARGE else None


def _state(result: LogResult) -> str:
    """Return the state of a run that is over, or that nobody runs any more."""
    if result.fatal is not None or any(one.name == DIVERGED for one in result.troubles):
        return FAILED
    if result.completed:
        return DONE
    error = result.run.get("error")
    if result.run and error is None:
        return DONE  # stopped early, as asked for
    if result.stops or (isinstance(error, str) and _STOP.match(error)):
        return STOPPED
    return FAILED if result.run else CUT_OFF


def _with_scores(row: RunRow, result: LogResult, train_loss: float | None) -> RunRow:
    """Fill in what results and logs have in common."""
    last = result.segments[-1] if result.segments else Segment()
    max_iter = result.solver.get("max_iter")
    row = replace(
        row,
        command=result.command,
        net=printable(result.net),
        notes=(*row.notes, *(printable(one.message) for one in result.troubles)),
        loss=_score(result, LOSS, None) or (None if train_loss is None else ScoreCell(train_loss)),
        top1=_score(result, None, 1),
        top5=_score(result, None, 5),
    )
    if result.command == "test":
        coverage = result.run.get("coverage")
        records = coverage.get("records") if isinstance(coverage, dict) else None
        return replace(row, done=result.images, total=_count(records), unit="images")
    if result.command == "train":
        done, total = last.last_iteration, _count(max_iter)
        return replace(row, done=done, total=total, unit="iterations")
    return row


def _score(result: LogResult, role: str | None, k: int | None) -> ScoreCell | None:
    """Return the last score of a role, or of a k, of the first test net."""

    def fits(score: Score) -> bool:
        return score.net == 0 and (score.role == role if role else score.k == k)

    # Of a net with several classifiers, the last is the one that counts.
    score = next(filter(fits, reversed(result.scores)), None)
    if score is None:
        return None
    error = standard_error(score.value, result.images) if score.k else None
    return ScoreCell(score.value, error, score.valid)


def _verdict(place: Place) -> bool | None:
    if VERDICT not in place.files:
        return None
    try:
        with open_file(place.path / VERDICT) as file:
            plain = loads(file.read(_VERDICT_LIMIT))
    except (OSError, ValueError):
        return None
    passed = plain.get("passed") if isinstance(plain, dict) else None
    return passed if isinstance(passed, bool) else None


def _iterations(place: Place) -> int | None:
    """Return the number of batches that the command of a test asks for."""
    try:
        with open_file(place.path / COMMAND) as file:
            match = re.search(rb"--iterations=([0-9]{1,9})\b", file.read(_COMMAND_LIMIT))
    except OSError:
        return None
    return int(match[1]) if match is not None else None
