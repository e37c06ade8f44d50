"""A caffe as a child process: what it prints as it comes, signals, silence, and its end.

The child never outlives us, however we die. It leads a session of its own, so that a terminal's
Ctrl-C reaches us alone, and a guard beside it, in a third session, reads a pipe that only we hold
open: when that closes, the guard kills the child's whole group. The child does not start before the
guard is there.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import FrameType, TracebackType
from typing import Any

from ..errors import SqgenError
from ..formats.files import error_reason
from ..text import printable

CHUNK = 1 << 16
LOOK = 0.2  # seconds between looks at whether it has ended, or is silent
GRACE = 1.0  # seconds that what a child left behind may still print
LAST_LINES = 3
STALL_TIMEOUT = 600.0  # seconds of silence, until it is said
NOT_RUN = (126, 127)  # a shell's codes for a program that can't be run, or is not there
SIGNALLED = 128  # what a shell, or docker, adds to the number of a signal for an exit code
# `go` comes when the guard is there; end of file instead means that we are gone.
_START = 'read go && exec "$@"'
_GUARD = 'read forever; kill -s KILL -- "-$1"'
STOPPING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


@contextlib.contextmanager
def _sigint_not_ignored() -> Iterator[None]:
    """What is started here knows SIGINT, even behind a script's `&`, which has us ignore it."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if not ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, lambda number, frame: None)  # exec makes the default of it
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


class Child:
    """A running caffe; a context manager, behind which nothing of it runs any more.

    Attributes:
        pid: its number, which is its group's too.
        asked: the signal that asked us to stop, or None.
        killed: whether it was killed for not stopping, or for its silence.
        code: its exit code, negative for a signal; None while it runs.
    """

    def __init__(self, command: Sequence[str], on_stop: Callable[[int, bool], None]) -> None:
        """Start it.

        Args:
            command: the program and its arguments.
            on_stop: told of a signal that came to us, and whether it was the second.

        Raises:
            SqgenError: it can't be started.
        """
        self.asked: int | None = None
        self.killed = False
        self.code: int | None = None
        self._on_stop = on_stop
        self._before: dict[int, Any] = {}
        self._last: deque[bytes] = deque([b""], LAST_LINES + 1)
        try:
            with _sigint_not_ignored():
                self._process = subprocess.Popen(  # noqa: S603 - what the user wants to run
                    ["/bin/sh", "-c", _START, "sh", *command],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self.pid = self._process.pid
            self._guard = subprocess.Popen(  # noqa: S603
                ["/bin/sh", "-c", _GUARD, "sh", str(self.pid)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = error_reason(error)
            raise SqgenError(f"{printable(command[0])}: can't be started: {reason}") from None

    def __enter__(self) -> Child:
        # Elsewhere than in the main thread Python takes no handlers.
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                    self._before[number] = signal.signal(number, self._stop)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(b"go\n")
            self._process.stdin.close()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self.code is None:  # an error took us out of reading
            self.kill()
            self._finish()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Pass the first one on, so that a training can snapshot; kill at the second."""
        again = self.asked is not None
        if not again:
            self.asked = number
        if again:
            self.kill()
        else:
            # Whatever came: a training knows SIGINT as "snapshot and stop".
            self.send(signal.SIGINT)
        self._on_stop(number, again)

    def send(self, number: int) -> None:
        """A signal to all of its group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.killed = True
        self.send(signal.SIGKILL)

    @property
    def last_lines(self) -> list[str]:
        """The last lines that it printed."""
        lines = [line.decode(errors="replace").strip() for line in self._last]
        return [printable(line) for line in lines if line][-LAST_LINES:]

    def output(self) -> Iterator[bytes]:
        """What it prints, as it comes, to its end; `b""` every `LOOK` seconds without anything."""
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        os.set_blocking(pipe, False)
        left: float | None = None
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            # What it leaves behind may keep the pipe open: its own end is what counts.
            while left is None or time.monotonic() < left:
                if left is None and self._process.poll() is not None:
                    left = time.monotonic() + GRACE
                data = self._read(pipe) if selector.select(LOOK) else None
                if data == b"":
                    break
                if data:
                    self._remember(data)
                yield data or b""
        # It may close what it prints to, and go on.
        while self._process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(LOOK)
            yield b""
        self._finish()

    @staticmethod
    def _read(pipe: int) -> bytes | None:
        """What there is; nothing at the end of file, None where there is nothing yet."""
        try:
            return os.read(pipe, CHUNK)
        except BlockingIOError:
            return None

    def _remember(self, data: bytes) -> None:
        first, *rest = data.split(b"\n")
        self._last[-1] = (self._last[-1] + first)[-CHUNK:]
        self._last.extend(rest)

    def _finish(self) -> None:
        """Take leave of it and of its guard, and end whom it left behind."""
        if self.code is not None:
            return
        self.code = self._process.wait()
        self.send(signal.SIGKILL)
        self._guard.kill()
        self._guard.wait()
        for process in (self._process, self._guard):
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()
