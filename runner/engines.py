"""Which program runs: a real caffe, or the embedded engine, and why that one."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ..errors import FormatError, MissingExtraError, SqgenError, StoppedError
from ..extras import missing_for_engine
from ..text import printable
from .subprocess_guard import NOT_RUN, SIGNALLED, Child

AUTO, CAFFE, TORCH = CHOICES = ("auto", "caffe", "torch")
OURS = "sqgen-caffe"
ITERATIONS = 50  # of `caffe time`, where nothing is said
ANSWER_TIMEOUT = 60  # seconds for `--version`; a container may have to start
ANSWER_LIMIT = 1 << 20  # bytes of it


@dataclass(frozen=True)
class Engine:
    """A program that answers to Caffe's command line.

    Attributes:
        kind: `caffe` or `torch`.
        command: what is typed before the action.
        why: in words, how it was chosen.
        version: as it tells itself; empty where it tells nothing.
    """

    kind: str
    command: tuple[str, ...]
    why: str
    version: str = ""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return OURS if self.kind == TORCH else shlex.join(self.command)

    def __str__(self) -> str:
        version = f" ({self.version})" if self.version else ""
        return f"{self.name}{version}: {self.why}"


def choose(asked: str = AUTO, caffe: str | None = None) -> Engine:
    """The engine for `--engine` and `--caffe`.

    Args:
        asked: `auto`, `caffe` or `torch`.
        caffe: a command line that runs a caffe, or None.

    Raises:
        SqgenError: there is none, or it can't be started.
    """
    if caffe is not None:
        if asked == TORCH:
            raise SqgenError("--engine torch runs the embedded engine, so it takes no --caffe")
        return _answering(_words(caffe), "given by --caffe")
    if asked == TORCH:
        return _embedded("asked for by --engine torch")
    found, missing = _found()
    if found is not None:
        return found
    if asked == CAFFE:
        raise SqgenError(f"no caffe to run: {missing}; give --caffe COMMAND, or --engine torch")
    return _embedded(f"{missing}, so it is the embedded engine")


def _words(caffe: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(caffe))
    except ValueError as error:
        raise SqgenError(f"--caffe {printable(caffe)}: {str(error).lower()}") from None
    if not words:
        raise SqgenError("--caffe: an empty command; give a caffe, such as 'docker run ... caffe'")
    return words


def _found() -> tuple[Engine | None, str]:
    """The caffe of CAFFE_ROOT or of the PATH; or where there is none."""
    root = os.environ.get("CAFFE_ROOT")
    why, missing = "the one on the PATH", "no caffe on the PATH"
    if root:
        program = Path(root) / "build" / "tools" / "caffe"
        if os.access(program, os.X_OK) and program.is_file():
            return _answering((str(program),), "the one of CAFFE_ROOT"), ""
        none = f"no build/tools/caffe in CAFFE_ROOT ({printable(root)})"
        why, missing = f"{why}: {none}", f"{none}, none on the PATH"
    on_path = shutil.which("caffe")
    if on_path is not None:
        return _answering((on_path,), why), ""
    return None, missing


def _embedded(why: str) -> Engine:
    missing = missing_for_engine()
    if missing:
        raise MissingExtraError(
            f"{why}, which needs {', '.join(missing)}: pip install 'sqgen[engine]' brings it"
        )
    from ..version import __version__

    # A random.py in the user's folder is not to be imported in place of Python's.
    here = {"", os.getcwd()} & set(sys.path)  # noqa: PTH109 - as sys.path has it
    safe = ("-P",) if sys.version_info >= (3, 11) and not here else ()
    return Engine(TORCH, (sys.executable, *safe, "-m", "sqgen.engine"), why, __version__)


def _answering(command: tuple[str, ...], why: str) -> Engine:
    """The engine of a command, once it has said its version: ours says that it is ours."""
    shown = f"{printable(shlex.join(command))} ({why})"
    if shutil.which(command[0]) is None:
        raise FormatError(f"{shown}: can't be run: no program {printable(command[0])}")
    code, text = _ask(command, shown)
    lines = [line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()]
    if code in NOT_RUN:
        reason = lines[-1] if lines else f"exit code {code}"
        raise FormatError(f"{shown}: can't be run: {printable(reason)}")
    version = next((line for line in lines if "caffe version" in line), "") if not code else ""
    kind = TORCH if OURS in version else CAFFE
    return Engine(kind, command, why, printable(version.removeprefix("caffe version ")))


def _ask(command: tuple[str, ...], shown: str) -> tuple[int, bytes]:
    """The exit code of `--version`, and what it prints."""
    text, end = b"", time.monotonic() + ANSWER_TIMEOUT
    with Child([*command, "--version"], lambda number, again: None) as child:
        for data in child.output():
            text += data
            if time.monotonic() > end or len(text) > ANSWER_LIMIT:
                child.kill()
    if child.asked is not None:
        stopped = StoppedError("stopped before anything was run")
        stopped.exit_code = SIGNALLED + child.asked
        raise stopped
    if child.killed:
        raise SqgenError(f"{shown}: no answer to --version in {ANSWER_TIMEOUT} s")
    return child.code or 0, text
