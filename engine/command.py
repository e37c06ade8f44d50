"""`sqgen-caffe`: Caffe's command line (tools/caffe.cpp), and how it ends.

Nothing heavy is imported before the flags are read.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import SqgenError
from ..extras import required
from ..formats.files import error_reason
from ..text import did_you_mean, printable
from ..version import __version__
from . import glog
from .flags import CommandLine, FlagError, parse, usage

PROGRAM = "sqgen-caffe"
ACTIONS = ("device_query", "test", "time", "train")
INTERRUPTED = 130
TRACEBACK = "SQGEN_TRACEBACK"  # an environment variable
LINE = 2000  # characters of an error that are shown


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    _open_closed_streams()
    raise SystemExit(run(sys.argv[1:] if arguments is None else list(arguments)))


def _open_closed_streams() -> None:
    """Give a standard stream that was closed the null device.

    Otherwise the next file that is opened gets its number, and what libraries print lands there.
    """
    if sys.stdin is None:
        os.open(os.devnull, os.O_RDONLY)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115


def run(arguments: Sequence[str]) -> int:
    """Run the command line; the exit code."""
    try:
        line = parse(arguments)
        if line.on("version"):
            return _say(f"caffe version 1.0.0 ({PROGRAM} {__version__})")
        if line.on("help"):
            return _say(usage(PROGRAM))
        _set_log_level(line)
        return _act(line)
    except FlagError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return error.exit_code
    except SqgenError as error:
        glog.fatal(printable(str(error), LINE), _place(error))
        return error.exit_code
    except MemoryError:
        glog.fatal("out of memory; use a smaller batch_size")
        return SqgenError.exit_code
    except KeyboardInterrupt:
        glog.error("interrupted")
        return INTERRUPTED
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        glog.fatal(_unforeseen(error), _place(error))
        return SqgenError.exit_code


def _say(text: str) -> int:
    """Print to standard output; the exit code."""
    try:
        print(text, flush=True)
    except OSError as error:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - what waits would fail again at the end
        if not isinstance(error, BrokenPipeError):
            raise SqgenError(
                f"standard output: {error_reason(error)}; give it another place"
            ) from None
    return 0


def _unforeseen(error: Exception) -> str:
    """One line about an error that no check of ours caught."""
    text = str(error)
    if isinstance(error, RuntimeError) and re.search("allocate memory|out of memory", text):
        return "out of memory; use a smaller batch_size"
    what = printable(f"{type(error).__name__}: {text}", LINE)
    return f"{what}; this is a defect of sqgen, please report it ({TRACEBACK}=1 shows more)"


def _set_log_level(line: CommandLine) -> None:
    level = line.number("minloglevel")
    environment = os.environ.get("GLOG_minloglevel", "")  # noqa: SIM112
    if "minloglevel" not in line.given and re.fullmatch("[0-9]{1,9}", environment):
        level = int(environment)
    glog.set_threshold(level)


def _act(line: CommandLine) -> int:
    if len(line.words) != 1:
        print(usage(PROGRAM), file=sys.stderr)
        if line.words:
            words = printable(" ".join(line.words))
            raise FlagError(f"'{words}': give one action, and flags that start with --")
        return FlagError.exit_code
    action = line.words[0]
    if action not in ACTIONS:
        glog.error("Available caffe actions:", "caffe.cpp:76")
        for name in ACTIONS:
            glog.error(f"\t{name}", "caffe.cpp:79")
        hint = did_you_mean(action, ACTIONS)
        glog.fatal(f"Unknown action: {printable(action)}{hint}", "caffe.cpp:81")
        return FlagError.exit_code
    with _leaving_at_once(), required("torch", PROGRAM):
        from . import actions
    actions.run(action, line)
    return 0


@contextmanager
def _leaving_at_once() -> Iterator[None]:
    """Ctrl-C ends the process here and now: a library that is being loaded may swallow it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: object) -> None:
        glog.error("interrupted")
        os._exit(INTERRUPTED)

    before = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _place(error: Exception) -> str:
    """Where the error was raised, in our source."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
