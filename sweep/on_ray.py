"""Runs as tasks of a Ray cluster that is there already; Ray is imported only here."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import DesignError
from ..extras import required
from ..text import printable
from .launcher import Ended, Job, is_unfit
from .trial import WITH_PARENT

ADDRESS = "RAY_ADDRESS"
CONNECT = 10.0  # seconds until a cluster answers
RETRIES = 20  # times that a run starts again because its machine was lost


class RayLauncher:
    """Runs each run as a task of Ray, which starts it again where a machine is lost.

    Args:
        job: what it is given.

    Raises:
        MissingExtraError: Ray is not installed.
        DesignError: no cluster answers, or it has another version of Ray or Python.
    """

    def __init__(self, job: Job) -> None:
        with required("ray", "--on ray"):
            import ray
        self._ray: Any = ray
        self._job = job
        self._waiting: deque[Path] = deque()
        self._running: dict[Any, Path] = {}
        self._connect()
        resources = job.resources
        self._task = ray.remote(_task()).options(
            num_cpus=resources.threads or 1, num_gpus=resources.gpus, max_retries=RETRIES
        )

    def _connect(self) -> None:
        address = os.environ.get(ADDRESS, "auto")
        handler = signal.getsignal(signal.SIGTERM)  # which Ray replaces
        try:
            _check_address(address)
            self._ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=False,
                ignore_reinit_error=True,
            )
        except ConnectionError:
            raise DesignError(
                f"--on ray: no Ray cluster answers at {printable(address)}; ray start --head starts"
                f" one, {ADDRESS} names another"
            ) from None
        except (RuntimeError, ValueError, OSError) as error:
            reason = " ".join(str(error).split())
            raise DesignError(f"--on ray: {printable(reason, 300)}") from None
        finally:
            signal.signal(signal.SIGTERM, handler)

    def submit(self, folders: Sequence[Path]) -> None:
        """Take runs, and start as many as may run at a time."""
        self._waiting.extend(folders)
        self._fill()

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._job.slots:
            folder = self._waiting.popleft()
            words = [self._job.python, "-m", "sqgen.sweep.trial", WITH_PARENT, str(folder)]
            self._running[self._task.remote(words)] = folder

    def ended(self) -> list[Ended]:
        """Return the runs that have ended since the last call; start others in their places."""
        if not self._running:
            return []
        count = len(self._running)
        done, _ = self._ray.wait(list(self._running), num_returns=count, timeout=0)
        found = [self._ended(reference) for reference in done]
        self._fill()
        return found

    def _ended(self, reference: Any) -> Ended:
        folder = self._running.pop(reference)
        try:
            code, last = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            reason = " ".join(str(error).split())
            return Ended(folder, f"Ray lost it: {printable(reason, 200)}")
        if code < 0:
            return Ended(folder, f"killed by signal {-code}")
        return Ended(folder, last or f"ended with exit code {code}", refused=is_unfit(code, last))

    def stop(self, *, cancel: bool) -> str:
        """End all runs, as Ray would when this process is gone."""
        self._waiting.clear()
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._ray.shutdown()
        return ""


def _check_address(address: str) -> None:
    """Check that something listens at `host:port`: Ray would try for minutes.

    Raises:
        ConnectionError: nothing does.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT).close()
    except (OSError, OverflowError):
        raise ConnectionError from None


def _task() -> Any:
    """Return the function of a task. It goes to workers by value, which may lack sqgen."""

    def run_words(words: list[str]) -> tuple[int, str]:
        import platform
        import subprocess

        host = platform.node()
        try:
            process = subprocess.Popen(  # noqa: S603
                words,
                stdin=subprocess.PIPE,  # at whose end the run ends, as where this worker is killed
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            return 127, f"{words[0]}: {error.strerror} on {host}"
        with process:
            assert process.stderr is not None
            text = process.stderr.read().decode(errors="replace").strip()
        last = text.rpartition("\n")[2].removeprefix("sqgen: ")
        return process.returncode, f"{last} on {host}" if last else ""

    return run_words
