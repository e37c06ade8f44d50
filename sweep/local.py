"""Runs on this machine: a few processes at a time, each with its share of the cores."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ..errors import DesignError
from ..formats.files import error_reason
from ..text import printable
from .launcher import Ended, Job, is_unfit, last_message
from .trial import GRACE, WITH_PARENT


class LocalLauncher:
    """Runs processes on this machine.

    A run ends with the study, also where that is killed: its standard input is a pipe that only the
    study holds open.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._waiting: deque[Path] = deque()
        self._running: dict[Path, subprocess.Popen[bytes]] = {}
        self._free_gpus = list(range(job.slots * job.resources.gpus))
        self._gpus: dict[Path, list[int]] = {}

    def submit(self, folders: Sequence[Path]) -> None:
        """Take runs, and start the first."""
        self._waiting.extend(folders)
        self._fill()

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._job.slots:
            folder = self._waiting.popleft()
            self._running[folder] = self._start(folder)

    def _start(self, folder: Path) -> subprocess.Popen[bytes]:
        env = dict(os.environ)
        count = self._job.resources.gpus
        if count:
            self._gpus[folder] = [self._free_gpus.pop(0) for _ in range(count)]
            env["CUDA_VISIBLE_DEVICES"] = _visible(self._gpus[folder])
        command = [self._job.python, "-m", "sqgen.sweep.trial", WITH_PARENT, str(folder)]
        try:
            return subprocess.Popen(  # noqa: S603
                command,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise DesignError(
                f"--python {printable(self._job.python)}: {error_reason(error)}"
            ) from None

    def ended(self) -> list[Ended]:
        """Return the runs that have ended since the last call; start others in their places."""
        found = []
        for folder, process in list(self._running.items()):
            if process.poll() is not None:
                del self._running[folder]
                self._free_gpus += self._gpus.pop(folder, [])
                found.append(_ended(folder, process))
        self._fill()
        return found

    def stop(self, *, cancel: bool) -> str:
        """End all runs; trainings write a snapshot first."""
        self._waiting.clear()
        for process in self._running.values():
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGTERM)
        end = time.monotonic() + GRACE
        for process in self._running.values():
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                with suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)
            _close(process)
        self._running.clear()
        return ""


def _visible(numbers: Sequence[int]) -> str:
    """Return the GPUs of these numbers among those that this process sees."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return ",".join(
        seen[number] if number < len(seen) and seen[0] else str(number) for number in numbers
    )


def _ended(folder: Path, process: subprocess.Popen[bytes]) -> Ended:
    assert process.stderr is not None
    last = last_message(process.stderr.read())
    _close(process)
    code = process.returncode
    if code < 0:
        name = signal.Signals(-code).name if -code in list(signal.Signals) else str(-code)
        return Ended(folder, f"killed by {name}")
    return Ended(folder, last or f"ended with exit code {code}", refused=is_unfit(code, last))


def _close(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stderr):
        if stream is not None:
            with suppress(OSError):
                stream.close()
