"""The ranks of one machine as child processes: their output by whole lines, their ends.

Each leads a session of its own, so that a terminal's Ctrl-C reaches only the launcher, which passes
it on once. A rank ends with its launcher (`watch.follow_launcher`).
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import IO

from ...errors import SqgenError
from ...formats.files import error_reason
from ...text import GLOG_PREFIX, printable
from .. import glog
from . import environment
from .judge import Fault, fault_of_exit
from .watch import Report

CHUNK = 1 << 16
LINE_LIMIT = 1 << 20  # bytes of a line; what is longer is cut
# Until ranks that lost another are killed: one that saves what was learned gets longer.
END_SECONDS, SAVING_SECONDS = 2.0, 60.0
SNAPSHOT = "snapshot"  # the phase
_FATAL = re.compile(rf"(?:\[rank [0-9]+\] )?{GLOG_PREFIX}(.*)", re.DOTALL)


class RankProcess:
    """A rank as a child process.

    Args:
        command: the program and its arguments.
        variables: of its environment, beside those of this process; they place it.
        stdin: its standard input; None for none.
        store: the listening socket that it inherits; None for none.
        speaks: whether its lines go through as they are, or with its rank before each.

    Attributes:
        rank: its number.
        who: its name in messages.
        at_end: those of its pipes that it has closed.
        report: what it did last.

    Raises:
        SqgenError: it can't be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        variables: Mapping[str, str],
        stdin: IO[bytes] | None,
        store: int | None,
        speaks: bool,
    ) -> None:
        self.rank = int(variables[environment.RANK])
        self._lead = "" if speaks else f"[rank {self.rank}] "
        self._output, output = os.pipe()
        self._activity, activity = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this program again
                command,
                stdin=stdin or subprocess.DEVNULL,
                stdout=None if speaks else output,
                stderr=output,
                env={
                    **os.environ,
                    **variables,
                    environment.LAUNCHER: str(os.getpid()),
                    environment.ACTIVITY_FD: str(activity),
                },
                pass_fds=[activity] if store is None else [activity, store],
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            self._close()
            raise SqgenError(
                f"rank {self.rank} can't be started: {printable(command[0])}: {error_reason(error)}"
            ) from None
        finally:
            os.close(output)
            os.close(activity)
        for pipe in (self._output, self._activity):
            os.set_blocking(pipe, False)
        self.who = f"rank {self.rank} (process {self._process.pid})"
        self.at_end: set[int] = set()
        self._rest = {self._output: b"", self._activity: b""}
        self._fatal: tuple[str, str] | None = None
        self._last_line = ""
        self.report = Report()

    @property
    def pipes(self) -> tuple[int, ...]:
        """The pipes to wait for."""
        return self._output, self._activity

    def send(self, number: int) -> None:
        """Send a signal to it."""
        with suppress(OSError):
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it and what it started."""
        if self._process.poll() is None:
            with suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def read(self) -> Report | None:
        """Pass on the lines that came, but for a fatal one; return the newest report."""
        for line in self._lines(self._output):
            self._pass_on(line)
        reports = [Report.decode(line) for line in self._lines(self._activity)]
        newest = next((report for report in reversed(reports) if report is not None), None)
        self.report = newest or self.report
        return newest

    def poll(self) -> int | None:
        """Return its exit code, once it has ended and all of its lines are passed on."""
        code = self._process.poll()
        if code is not None:
            self.read()
            if self._rest[self._output]:
                self._pass_on(self._rest[self._output])
                self._rest[self._output] = b""
        return code

    def fault(self, code: int) -> Fault | None:
        """Return the fault that its exit code means; None if it completed."""
        return fault_of_exit(self.rank, self.who, code, self._fatal, self._last_line)

    def close(self) -> None:
        """Kill it, if it lives, wait for its end, and close the pipes."""
        self.kill()
        self._process.wait()
        self.poll()
        self._close()

    def _close(self) -> None:
        os.close(self._output)
        os.close(self._activity)

    def _lines(self, pipe: int) -> list[bytes]:
        """Read what a pipe holds; return its whole lines."""
        data = self._rest[pipe]
        with suppress(BlockingIOError):
            while len(data) < LINE_LIMIT:
                piece = os.read(pipe, CHUNK)
                if not piece:
                    self.at_end.add(pipe)
                    break
                data += piece
        *lines, self._rest[pipe] = data.split(b"\n")
        if len(self._rest[pipe]) >= LINE_LIMIT:
            lines.append(self._rest[pipe])
            self._rest[pipe] = b""
        return lines

    def _pass_on(self, raw: bytes) -> None:
        line = raw.decode(errors="backslashreplace").rstrip("\r")
        match = _FATAL.match(line)
        if match is not None and match[1] == "F":
            self._fatal = f"{match[5]}:{match[6]}", match[7]
            return
        if line.strip():
            self._last_line = printable(line)
        glog.pass_on(line if line.startswith(self._lead) else f"{self._lead}{line}")


class LocalRanks:
    """The ranks of this machine in one attempt; a context manager that leaves none behind."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._ranks: list[RankProcess] = []
        self._codes: dict[int, int] = {}

    def __enter__(self) -> LocalRanks:
        return self

    def __exit__(self, *details: object) -> None:
        for process in self._ranks:
            process.kill()
        for process in self._ranks:
            self._unregister(process.pipes)
            process.close()
        self._ranks = []

    def _unregister(self, pipes: Iterable[int]) -> None:
        for pipe in pipes:
            with suppress(KeyError):
                self._selector.unregister(pipe)

    def add(self, process: RankProcess) -> None:
        """Watch a process that was started."""
        self._ranks.append(process)
        for pipe in process.pipes:
            self._selector.register(pipe, selectors.EVENT_READ)

    @property
    def names(self) -> dict[int, str]:
        """Rank -> its name in messages."""
        return {process.rank: process.who for process in self._ranks}

    @property
    def first_code(self) -> int:
        """The exit code of the first rank, which has ended."""
        return self._codes[self._ranks[0].rank]

    def send(self, number: int) -> None:
        """Send a signal to all that live."""
        for process in self._ranks:
            process.send(number)

    def kill(self, rank: int | None = None) -> None:
        """Kill a rank, if it is here, or all that live."""
        for process in self._ranks:
            if rank in (None, process.rank):
                process.kill()

    def reports(self) -> list[tuple[int, Report]]:
        """Pass on what they printed; return rank and newest report of those that sent one."""
        found = [(process.rank, process.read()) for process in self._ranks]
        for process in self._ranks:
            self._unregister(process.at_end)  # it would always be ready
        return [(rank, report) for rank, report in found if report is not None]

    def new_ends(self) -> list[tuple[int, Fault | None]]:
        """Return rank and fault of those that ended since the last call."""
        found = []
        for process in self._ranks:
            if process.rank in self._codes:
                continue
            code = process.poll()
            if code is not None:
                self._codes[process.rank] = code
                found.append((process.rank, process.fault(code)))
                self._unregister(process.pipes)
        return found

    def wait(self, meanwhile: Callable[[], None]) -> None:
        """Wait for ends that a fault elsewhere causes, longer while a rank writes a snapshot.

        Calls `meanwhile` ten times a second or more.
        """
        start = time.monotonic()
        while len(self._codes) < len(self._ranks):
            is_saving = any(
                process.report.phase == SNAPSHOT and process.rank not in self._codes
                for process in self._ranks
            )
            if time.monotonic() - start > (SAVING_SECONDS if is_saving else END_SECONDS):
                return
            self._selector.select(0.1)
            meanwhile()
            self.reports()
            self.new_ends()
