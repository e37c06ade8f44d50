"""Select the program to run, a real caffe or the embedded engine, and record why."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from ..errors import FormatError, SqgenError, StoppedError
from ..extras import require_engine
from ..host import python_words
from ..text import printable, shell_join
from .subprocess_guard import CANNOT_EXECUTE, SIGNAL_EXIT_BASE, GuardedProcess

AUTO, CAFFE, TORCH = CHOICES = ("auto", "caffe", "torch")
EMBEDDED_NAME = "sqgen-caffe"
TIME_ITERATIONS = 50  # default of `caffe time`
VERSION_TIMEOUT = 60  # seconds for `--version`; a container may have to start
VERSION_LIMIT = 1 << 20  # bytes read of its output


@dataclass(frozen=True)
class Engine:
    """A program with Caffe's command line.

    Attributes:
        kind: `caffe` or `torch`.
        command: the words before the action.
        why: the reason it was selected, in words.
        version: as it reports it; empty if it reports none.
    """

    kind: str
    command: tuple[str, ...]
    why: str
    version: str = ""

    @property
    def name(self) -> str:
        """Its name in messages."""
        return EMBEDDED_NAME if self.kind == TORCH else shell_join(self.command)

    def __str__(self) -> str:
        version = f" ({self.version})" if self.version else ""
        return f"{self.name}{version}: {self.why}"


def select_engine(kind: str = AUTO, caffe: str | None = None) -> Engine:
    """Return the engine for `--engine` and `--caffe`.

    Args:
        kind: `auto`, `caffe` or `torch`.
        caffe: a command line that runs a caffe, or None.

    Raises:
        SqgenError: there is no such engine, or it can't be started.
    """
    if caffe is not None:
        if kind == TORCH:
            raise SqgenError("--engine torch runs the embedded engine, so it takes no --caffe")
        return _probe_engine(_split_command(caffe), "given by --caffe")
    if kind == TORCH:
        return _embedded_engine("the embedded engine")
    engine, missing = _find_caffe()
    if engine is not None:
        return engine
    if kind == CAFFE:
        raise SqgenError(f"no caffe to run: {missing}; give --caffe COMMAND, or --engine torch")
    return _embedded_engine(f"{missing}, so it is the embedded engine")


def _split_command(caffe: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(caffe))
    except ValueError as error:
        raise SqgenError(f"--caffe {printable(caffe)}: {str(error).lower()}") from None
    if not words:
        raise SqgenError("--caffe: an empty command; give a caffe, such as 'docker run ... caffe'")
    return words


def _find_caffe() -> tuple[Engine | None, str]:
    """Return the caffe of CAFFE_ROOT or of the PATH, or None and where it was looked for."""
    root = os.environ.get("CAFFE_ROOT")
    why, missing = "the one on the PATH", "no caffe on the PATH"
    if root:
        program = Path(root) / "build" / "tools" / "caffe"
        if os.access(program, os.X_OK) and os.path.isfile(program):
            return _probe_engine((str(program),), "the one of CAFFE_ROOT"), ""
        none = f"no build/tools/caffe in CAFFE_ROOT ({printable(root)})"
        why, missing = f"{why}: {none}", f"{none}, none on the PATH"
    on_path = shutil.which("caffe")
    if on_path is not None:
        return _probe_engine((on_path,), why), ""
    return None, missing


def _embedded_engine(why: str) -> Engine:
    require_engine(f"{why}, which")
    from ..version import __version__

    return Engine(TORCH, (*python_words(), "-m", "sqgen.engine"), why, __version__)


def _probe_engine(command: tuple[str, ...], why: str) -> Engine:
    """Run a command's `--version`; an answer that names sqgen-caffe makes it a `torch` engine."""
    shown = f"{printable(shell_join(command))} ({why})"
    if shutil.which(command[0]) is None:
        raise FormatError(f"{shown}: can't be run: no program {printable(command[0])}")
    code, text = _query_version(command, shown)
    lines = [line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()]
    if code in CANNOT_EXECUTE:
        reason = lines[-1] if lines else f"exit code {code}"
        raise FormatError(f"{shown}: can't be run: {printable(reason)}")
    version = next((line for line in lines if "caffe version" in line), "") if not code else ""
    kind = TORCH if EMBEDDED_NAME in version else CAFFE
    return Engine(kind, command, why, printable(version.removeprefix("caffe version ")))


def _query_version(command: tuple[str, ...], shown: str) -> tuple[int, bytes]:
    """Return the exit code and the output of `--version`."""
    text, deadline, exceeded = b"", time.monotonic() + VERSION_TIMEOUT, ""
    with GuardedProcess([*command, "--version"], lambda number, repeated: None) as process:
        for data in process.read_output():
            text += data
            if len(text) > VERSION_LIMIT:
                exceeded = f"more than {VERSION_LIMIT >> 20} MiB in answer to --version"
            elif time.monotonic() > deadline:
                exceeded = f"no answer to --version in {VERSION_TIMEOUT} s"
            if exceeded:
                process.kill()
    if process.stop_signal is not None:
        error = StoppedError("stopped before the run started")
        error.exit_code = SIGNAL_EXIT_BASE + process.stop_signal
        raise error
    if exceeded:
        raise SqgenError(f"{shown}: {exceeded}")
    return process.exit_code or 0, text
