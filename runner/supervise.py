"""Supervise one run of an engine: write its log, parse it, show progress, report trouble."""

from __future__ import annotations

import contextlib
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import IO

from ..errors import DivergedError, ResourceError, StallError
from ..formats.files import error_reason
from ..logs.collector import Collector
from ..logs.parser import Parser
from ..logs.read_result import LOG
from ..logs.result import LogResult
from ..logs.trouble import DIVERGED
from ..text import printable
from .engines import Engine
from .live_progress import LiveProgress, ProgressSteps
from .options import RunOptions
from .outcome import outcome_error
from .run_folder import RunFolder
from .subprocess_guard import GuardedProcess

LogLine = Callable[[str], None]
Watch = Callable[[Collector], bool]


def supervise(
    engine: Engine,
    arguments: Sequence[str],
    folder: RunFolder,
    steps: ProgressSteps,
    options: RunOptions,
    log_name: str = LOG,
    watch: Watch | None = None,
) -> LogResult:
    """Run the engine until it exits.

    Args:
        engine: the engine.
        arguments: the words after its command.
        folder: where its log is written.
        steps: the steps that the progress bar counts.
        options: what to do about silence, and where to log and to show progress.
        log_name: file name of its log.
        watch: gets the collector of the log whenever the engine prints, and at the end; True
            makes it stop the run, which then counts as completed.

    Returns:
        The parsed log of a run that completed.

    Raises:
        RunError: it did not complete; `result` is its parsed log.
    """
    path = folder.file_path(log_name)
    collector = Collector(path)
    parser = Parser(collector)

    ended_early = False
    with folder.open_log(log_name) as file, options.progress(steps.count) as bar:
        log_file = _LogFile(file, path)
        live = LiveProgress(collector, bar, steps)
        monitor = _Monitor(collector, options, _unless_gone(options.log_problem))
        stop_log = _StopLog(_unless_gone(options.log_line))
        with GuardedProcess([*engine.command, *arguments], stop_log) as process:
            for data in process.read_output():
                if data:
                    log_file.write(data, process)
                    parser.feed(data)
                    if watch is not None and watch(collector) and not ended_early:
                        ended_early = True
                        process.send(signal.SIGINT)
                    live.update()
                monitor.check(process, bool(data))
                stop_log.flush()
        stop_log.flush()
    parser.close()
    if watch is not None:
        watch(collector)
    result = collector.finish()
    error = (
        log_file.error(result)
        or monitor.stall_error(result, path)
        or monitor.diverged_error(result, path)
        or outcome_error(engine, process, result, path, may_stop=ended_early)
    )
    if error is not None:
        raise error
    return result


class _LogFile:
    """Writes the log; when that fails, asks the run to stop, as its output would be lost."""

    def __init__(self, file: IO[bytes], path: str) -> None:
        self._file, self._path = file, path
        self._failure: str | None = None

    def write(self, data: bytes, process: GuardedProcess) -> None:
        """Write all of `data`."""
        if self._failure is not None:
            return
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._failure = error_reason(error)
            process.send(signal.SIGINT)  # so that a training can snapshot

    def error(self, result: LogResult) -> ResourceError | None:
        """Return the error of a run whose log could not be written, or None."""
        if self._failure is None:
            return None
        error = ResourceError(
            f"{printable(self._path)}: can't write: {self._failure}; sqgen stopped the run"
        )
        error.result = result
        return error


def _unless_gone(log: LogLine) -> LogLine:
    """Return a function whose terminal may go away without an end of the run."""

    def log_line(line: str) -> None:
        with contextlib.suppress(OSError):
            log(line)

    return log_line


class _StopLog:
    """Reports signals from the loop: a handler may have interrupted a write to the same stream."""

    def __init__(self, log_line: LogLine) -> None:
        self._log_line = log_line
        self._lines: deque[str] = deque()

    def __call__(self, number: int, repeated: bool) -> None:
        """Note a signal that was forwarded, or that killed the run."""
        name = signal.Signals(number).name
        self._lines.append(
            f"{name} again: killed"
            if repeated
            else f"{name}: passed on; waiting for it to stop (again kills it)"
        )

    def flush(self) -> None:
        """Report the signals noted since the last call."""
        while self._lines:
            self._log_line(self._lines.popleft())


class _Monitor:
    """Reports each trouble once, and silence once until the run prints again."""

    def __init__(self, collector: Collector, options: RunOptions, log_line: LogLine) -> None:
        self._collector = collector
        self._options = options
        self._log_line = log_line
        self._reported: set[str] = set()
        self._last_output = time.monotonic()
        self._is_silent = False
        self._stalled_lines: list[str] | None = None
        self._has_stopped_diverged = False

    def check(self, process: GuardedProcess, printed: bool) -> None:
        """Report new trouble if the run `printed` something, else a silence past the timeout."""
        if printed:
            self._last_output, self._is_silent = time.monotonic(), False
            self._report_troubles()
            goes_on = not self._collector.over
            if goes_on and self._collector.has_diverged and not self._options.keep_going:
                self._has_stopped_diverged = True
                process.kill()  # a snapshot of such weights would be the newest to resume from
            return
        timeout = self._options.stall_timeout
        if not timeout or self._is_silent or time.monotonic() - self._last_output < timeout:
            return
        self._is_silent = True
        self._log_line(f"silent for {timeout:g} s; its last lines: {_join(process.last_lines)}")
        if self._options.stop_stalled:
            self._stalled_lines = process.last_lines
            process.kill()

    def _report_troubles(self) -> None:
        for trouble in self._collector.troubles_so_far():
            if trouble.name not in self._reported:
                self._reported.add(trouble.name)
                self._log_line(f"trouble: {trouble.message}; {trouble.remedy}")

    def stall_error(self, result: LogResult, log: str) -> StallError | None:
        """Return the error of a run that was ended for its silence, or None."""
        if self._stalled_lines is None:
            return None
        error = StallError(
            f"silent for {self._options.stall_timeout:g} s, so sqgen ended it; its last lines:"
            f" {_join(self._stalled_lines)}; its log: {printable(log)}"
        )
        error.result = result
        return error

    def diverged_error(self, result: LogResult, log: str) -> DivergedError | None:
        """Return the error of a training that was ended for its loss, or None."""
        if not self._has_stopped_diverged or result.completed:
            return None
        trouble = next(one for one in result.troubles if one.name == DIVERGED)
        error = DivergedError(
            f"{trouble.message}, so sqgen ended the training; {trouble.remedy} (--keep-going lets"
            f" it run); its log: {printable(log)}"
        )
        error.result = result
        return error


def _join(lines: list[str]) -> str:
    return " | ".join(lines) or "none"
