"""What a rank does at the moment, sent to who watches it.

A rank that hangs can't say so: a thread sends its last mark once a second. `judge.py` finds the
rank that is silent, and the training in which no rank makes progress.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from . import environment

SECONDS = 1.0  # between two reports
START = "start-up"  # the phase before the first mark
_PR_SET_PDEATHSIG = 1  # prctl(2)


class Report(NamedTuple):
    """What a rank did last.

    Attributes:
        phase: such as `gradients`.
        iteration: of the training.
        marks: how many things it did so far; a rank that makes progress raises it.
    """

    phase: str = START
    iteration: int = 0
    marks: int = 0

    def encode(self) -> bytes:
        """Return it as a line of JSON."""
        return json.dumps(self).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Report | None:
        """Return the report of a line; None if it is none."""
        with suppress(ValueError):
            plain = json.loads(line)
            if isinstance(plain, list) and list(map(type, plain)) == [str, int, int]:
                return cls(*plain)
        return None


class Activity:
    """What this process does last."""

    def __init__(self) -> None:
        self._report = Report()

    def mark(self, phase: str, iteration: int) -> None:
        """Note what begins now; costs a microsecond."""
        self._report = Report(phase, iteration, self._report.marks + 1)

    @contextmanager
    def marked(self, phase: str) -> Iterator[None]:
        """Note what happens inside the block, and that it is over."""
        before = self._report
        self.mark(phase, before.iteration)
        yield
        self._report = before._replace(marks=self._report.marks + 1)

    def report(self) -> Report:
        """Return the last mark."""
        return self._report


ACTIVITY = Activity()  # of this process


def follow_launcher() -> None:
    """Report to sqgen's launcher once a second, and end when it does, however it ends.

    Does nothing in a process that it did not start.
    """
    descriptor = os.environ.get(environment.ACTIVITY_FD, "")
    launcher = os.environ.get(environment.LAUNCHER, "")
    if not (descriptor.isdecimal() and launcher.isdecimal()):
        return
    pipe = int(descriptor)
    os.set_inheritable(pipe, False)
    os.set_blocking(pipe, False)
    _die_with(int(launcher))
    send_reports(lambda report: _write(pipe, report))


def send_reports(send: Callable[[Report], None]) -> None:
    """Call a function with this process's report once a second, from a thread of its own."""

    def loop() -> None:
        while True:
            send(ACTIVITY.report())
            time.sleep(SECONDS)

    threading.Thread(target=loop, name="reports", daemon=True).start()


def _die_with(launcher: int) -> None:
    """Let the kernel kill this process, even a stopped one, when its launcher ends."""
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != launcher:  # it ended before
        os._exit(128 + signal.SIGKILL)


def _write(pipe: int, report: Report) -> None:
    try:
        os.write(pipe, report.encode())
    except BlockingIOError:
        pass  # the launcher is stopped
    except OSError:
        os._exit(128 + signal.SIGKILL)  # nobody reads: where the kernel does not, the pipe tells
