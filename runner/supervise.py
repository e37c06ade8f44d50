"""One run of an engine: started, read as it prints, kept, and what came of it."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

from ..errors import ResourceError, StallError
from ..formats.files import error_reason
from ..logs.collector import Collector
from ..logs.parser import Parser
from ..logs.result import LogResult
from ..progress import StartBar
from ..text import printable
from .engines import Engine
from .live_progress import View
from .outcome import error_of
from .run_folder import LOG, RunFolder
from .subprocess_guard import STALL_TIMEOUT, Child

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Patience:
    """What is done about a run that goes silent.

    Attributes:
        seconds: without a line, until it is said; 0 is never.
        stop: whether it is then ended too.
    """

    seconds: float = STALL_TIMEOUT
    stop: bool = False


@dataclass(frozen=True)
class Steps:
    """What a bar counts.

    Attributes:
        total: batches of a test, iterations of a training; 0 shows none.
        images: in each.
        start: the iteration that a training resumes from.
    """

    total: int
    images: int
    start: int = 0


def run(
    engine: Engine,
    arguments: Sequence[str],
    folder: RunFolder,
    steps: Steps,
    patience: Patience,
    tell: Tell | None,
    progress: StartBar,
    log: str = LOG,
) -> LogResult:
    """Run the engine to its end.

    Args:
        engine: what runs.
        arguments: behind its command.
        folder: where the log goes.
        steps: what is shown of its progress.
        patience: with its silence.
        tell: given what happens while it runs, a line each; None reports nothing.
        progress: shows how far it is.
        log: the name of the log.

    Returns:
        What its log says; the run has come to its end.

    Raises:
        RunError: it has not; `result` is what its log says.
    """
    path = folder.file(log)
    collector = Collector(path)
    parser = Parser(collector)

    def said(line: str) -> None:
        # The terminal may have gone away: a run does not end for that.
        with contextlib.suppress(OSError):
            if tell is not None:
                tell(line)

    with folder.open_log(log) as file, progress(steps.total) as bar:
        kept = _Kept(file, path)
        view = View(collector, bar, steps.images, steps.start)
        watch = _Watch(collector, patience, said)
        with Child([*engine.command, *arguments], _on_stop(said)) as child:
            for data in child.output():
                if data:
                    kept.write(data, child)
                    parser.feed(data)
                    view.update()
                watch.look(child, bool(data))
    parser.close()
    result = collector.finish()
    ended = error_of(engine, child, result, path)
    error = kept.error(result) or watch.stalled(result, path) or ended
    if error is not None:
        raise error
    return result


class _Kept:
    """The log, as long as it can be written; a run that goes unrecorded is asked to stop."""

    def __init__(self, log: IO[bytes], path: str) -> None:
        self._log, self._path = log, path
        self._reason: str | None = None

    def write(self, data: bytes, child: Child) -> None:
        """Write all of `data`."""
        if self._reason is not None:
            return
        left = memoryview(data)
        try:
            while left:
                left = left[self._log.write(left) :]
        except OSError as error:
            self._reason = error_reason(error)
            child.send(signal.SIGINT)  # so that a training can snapshot

    def error(self, result: LogResult) -> ResourceError | None:
        """The error of a run whose log could not be written: the disk is full, or is gone."""
        if self._reason is None:
            return None
        error = ResourceError(
            f"{printable(self._path)}: can't write: {self._reason}; the run was ended for it"
        )
        error.result = result
        return error


def _on_stop(said: Tell) -> Callable[[int, bool], None]:
    def stop(number: int, again: bool) -> None:
        name = signal.Signals(number).name
        # A signal that comes while a line is being written can't write another into it.
        with contextlib.suppress(RuntimeError):
            said(
                f"{name} again: killed"
                if again
                else f"{name}: passed on; waiting for it to stop (again kills it)"
            )

    return stop


class _Watch:
    """Says trouble once, and silence once until the run speaks again."""

    def __init__(self, collector: Collector, patience: Patience, said: Tell) -> None:
        self._collector = collector
        self._patience = patience
        self._said = said
        self._known: set[str] = set()
        self._heard = time.monotonic()
        self._silent = False
        self._stalled: list[str] | None = None

    def look(self, child: Child, spoke: bool) -> None:
        if spoke:
            self._heard, self._silent = time.monotonic(), False
            for trouble in self._collector.troubles_so_far():
                if trouble.name not in self._known:
                    self._known.add(trouble.name)
                    self._said(f"trouble: {trouble.message}; {trouble.remedy}")
            return
        seconds = self._patience.seconds
        if not seconds or self._silent or time.monotonic() - self._heard < seconds:
            return
        self._silent = True
        self._said(f"silent for {seconds:g} s; its last lines: {_joined(child.last_lines)}")
        if self._patience.stop:
            self._stalled = child.last_lines
            child.kill()

    def stalled(self, result: LogResult, log: str) -> StallError | None:
        """The error of a run that was ended for its silence."""
        if self._stalled is None:
            return None
        error = StallError(
            f"silent for {self._patience.seconds:g} s, and stopped for it; its last lines:"
            f" {_joined(self._stalled)}; its log: {printable(log)}"
        )
        error.result = result
        return error


def _joined(lines: list[str]) -> str:
    return " | ".join(lines) or "none"
