"""A caffe as a guarded child process: its output as it is printed, signals, exit code.

The child never outlives sqgen, however sqgen dies. The child leads its own session, so that a
terminal's Ctrl-C reaches only sqgen. A guard in a third session blocks on a pipe that only sqgen
holds open; when the pipe closes, the guard kills the child's process group. The child does not
start before the guard runs.
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
from types import FrameType

from ..errors import SqgenError
from ..formats.files import error_reason
from ..text import printable

Handler = Callable[[int, FrameType | None], object] | int | None  # what signal.signal returns
CHUNK = 1 << 16
POLL_SECONDS = 0.2  # between checks for the child's exit and for silence
GRACE_SECONDS = 1.0  # in which processes that the child left behind may still print
LAST_LINES = 3
STALL_TIMEOUT = 600.0  # seconds of silence before it is reported
CANNOT_EXECUTE = (126, 127)  # a shell's exit codes for a program that can't be run or found
SIGNAL_EXIT_BASE = 128  # a shell or docker adds the signal's number to this for an exit code
# The child waits for `go`, sent once the guard runs; end of file means that sqgen has died.
_CHILD_SCRIPT = 'read go && exec "$@"'
_GUARD_SCRIPT = 'read forever; kill -s KILL -- "-$1"'
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


@contextlib.contextmanager
def _default_sigint() -> Iterator[None]:
    """Let children react to SIGINT even if a script's `&` made sqgen ignore it."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if not ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    # exec resets a handler to the default, but keeps SIG_IGN.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


class GuardedProcess:
    """A running caffe; a context manager that leaves no process of it behind.

    Attributes:
        pid: its process id and group id.
        stop_signal: the first signal that asked sqgen to stop, or None.
        killed: whether sqgen killed it, for not stopping or for its silence.
        exit_code: negative for a signal; None while it runs.
    """

    def __init__(self, command: Sequence[str], on_stop: Callable[[int, bool], None]) -> None:
        """Start the process and its guard; the command itself starts on `__enter__`.

        Args:
            command: the program and its arguments.
            on_stop: called with a signal that sqgen received, and whether it is a repeated one.

        Raises:
            SqgenError: it can't be started.
        """
        self.stop_signal: int | None = None
        self.killed = False
        self.exit_code: int | None = None
        self._on_stop = on_stop
        self._previous_handlers: dict[int, Handler] = {}
        self._last: deque[bytes] = deque([b""], LAST_LINES + 1)
        try:
            with _default_sigint():
                self._process = subprocess.Popen(  # noqa: S603 - the user's own command
                    ["/bin/sh", "-c", _CHILD_SCRIPT, "sh", *command],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self.pid = self._process.pid
            self._guard = subprocess.Popen(  # noqa: S603
                ["/bin/sh", "-c", _GUARD_SCRIPT, "sh", str(self.pid)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = error_reason(error)
            raise SqgenError(f"{printable(command[0])}: can't be started: {reason}") from None

    def __enter__(self) -> GuardedProcess:
        # Python sets handlers in the main thread only.
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                    self._previous_handlers[number] = signal.signal(number, self._handle_signal)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(b"go\n")
            self._process.stdin.close()
        return self

    def __exit__(self, *details: object) -> None:
        if self.exit_code is None:  # an exception interrupted read_output
            self.kill()
            self._clean_up()
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:
        """Forward the first signal, so that a training can snapshot; kill at the second."""
        repeated = self.stop_signal is not None
        if repeated:
            self.kill()
        else:
            self.stop_signal = number
            # Always SIGINT: a training takes it as "snapshot and stop".
            self.send(signal.SIGINT)
        self._on_stop(number, repeated)

    def send(self, number: int) -> None:
        """Send a signal to the process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """Kill the process group."""
        self.killed = True
        self.send(signal.SIGKILL)

    @property
    def last_lines(self) -> list[str]:
        """The last lines of the output."""
        lines = [line.decode(errors="replace").strip() for line in self._last]
        return [printable(line) for line in lines if line][-LAST_LINES:]

    def read_output(self) -> Iterator[bytes]:
        """Yield output as it is printed, until the process exits.

        Yields `b""` every `POLL_SECONDS` in which nothing is printed.
        """
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        os.set_blocking(pipe, False)
        deadline: float | None = None
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            # Its own children may keep the pipe open: wait for its exit, not for end of file.
            while deadline is None or time.monotonic() < deadline:
                if deadline is None and self._process.poll() is not None:
                    deadline = time.monotonic() + GRACE_SECONDS
                data = self._read(pipe) if selector.select(POLL_SECONDS) else None
                if data == b"":
                    break
                if data:
                    self._remember(data)
                yield data or b""
        # It may close its output and go on.
        while self._process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(POLL_SECONDS)
            yield b""
        self._clean_up()

    @staticmethod
    def _read(pipe: int) -> bytes | None:
        """Read available bytes; `b""` at end of file, None if there are none yet."""
        try:
            return os.read(pipe, CHUNK)
        except BlockingIOError:
            return None

    def _remember(self, data: bytes) -> None:
        """Keep the last lines of the output."""
        first, *rest = data.split(b"\n")
        self._last[-1] = (self._last[-1] + first)[-CHUNK:]
        self._last.extend(rest)

    def _clean_up(self) -> None:
        """Reap the process, kill its group and its guard, and close all pipes."""
        if self.exit_code is not None:
            return
        self.exit_code = self._process.wait()
        self.send(signal.SIGKILL)
        self._guard.kill()
        self._guard.wait()
        for process in (self._process, self._guard):
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()
