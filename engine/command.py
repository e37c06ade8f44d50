"""`sqgen-caffe`: Caffe's command line (tools/caffe.cpp), its errors and exit codes.

PyTorch is imported only once the flags are valid.
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

from ..errors import ResourceError, SqgenError
from ..extras import importing, required
from ..formats.files import error_reason
from ..host import CoreMeter
from ..text import did_you_mean, printable
from ..version import __version__
from . import glog
from .distributed import watch
from .distributed.environment import find_placement
from .distributed.job import requested_job
from .flags import CommandLine, FlagError, parse, usage

PROGRAM = "sqgen-caffe"
ACTIONS = ("device_query", "test", "time", "train")
INTERRUPTED = 130  # exit code
TRACEBACK, TORCH_LOG = "SQGEN_TRACEBACK", "TORCH_CPP_LOG_LEVEL"  # environment variables
OUT_OF_MEMORY = "out of memory; use a smaller batch_size"
MESSAGE_LIMIT = 2000  # characters shown of an error


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    _open_closed_streams()
    code = run(sys.argv[1:] if arguments is None else list(arguments))
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # else Python's end may print a traceback
    raise SystemExit(code)


def _open_closed_streams() -> None:
    """Open the null device in place of a closed standard stream.

    Otherwise the next file opened gets its descriptor, and libraries print into that file.
    """
    if sys.stdin is None:
        os.open(os.devnull, os.O_RDONLY)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115


def run(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    try:
        watch.follow_launcher()
        line = parse(arguments)
        if line.on("version"):
            return _print(f"caffe version 1.0.0 ({PROGRAM} {__version__})")
        if line.on("help"):
            return _print(usage(PROGRAM))
        _set_log(line)
        return _dispatch(line)
    except FlagError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return error.exit_code
    except SqgenError as error:
        glog.fatal(printable(str(error), MESSAGE_LIMIT), _place(error))
        return error.exit_code
    except MemoryError:
        glog.fatal(OUT_OF_MEMORY)
        return ResourceError.exit_code
    except KeyboardInterrupt:
        glog.error("interrupted")
        return INTERRUPTED
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        if _is_out_of_memory(error):
            glog.fatal(OUT_OF_MEMORY, _place(error))
            return ResourceError.exit_code
        glog.fatal(_describe_defect(error), _place(error))
        return SqgenError.exit_code


def _print(text: str) -> int:
    """Print to standard output; return the exit code."""
    try:
        print(text, flush=True)
    except OSError as error:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the buffer would fail again at exit
        if not isinstance(error, BrokenPipeError):
            raise SqgenError(
                f"standard output: {error_reason(error)}; redirect it elsewhere"
            ) from None
    return 0


def _is_out_of_memory(error: Exception) -> bool:
    """Whether it is PyTorch's error of an allocation that failed."""
    return isinstance(error, RuntimeError) and bool(
        re.search("allocate memory|out of memory", str(error))
    )


def _describe_defect(error: Exception) -> str:
    """Describe an exception that no check raised: a defect of ours."""
    description = printable(f"{type(error).__name__}: {error}", MESSAGE_LIMIT)
    return f"{description}; this is a defect of sqgen, please report it ({TRACEBACK}=1 shows more)"


def _set_log(line: CommandLine) -> None:
    """Set the least severity, and the rank that lines carry; other ranks than the first only warn.

    Raises:
        NetError: the environment's rank is none.
    """
    placement = find_placement()
    is_first = placement is None or placement.speaks
    glog.set_rank(None if placement is None or is_first else placement.rank)
    level = line.integer("minloglevel")
    environment = os.environ.get("GLOG_minloglevel", "")  # noqa: SIM112
    if "minloglevel" not in line.explicit:
        if re.fullmatch("[0-9]{1,9}", environment):
            level = int(environment)
        level = level if is_first else max(level, glog.WARNING)
    glog.set_threshold(level)


def _dispatch(line: CommandLine) -> int:
    if len(line.words) != 1:
        print(usage(PROGRAM), file=sys.stderr)
        if line.words:
            words = printable(" ".join(line.words))
            raise FlagError(f"'{words}': give one action, and flags that start with --")
        return FlagError.exit_code
    action = line.words[0]
    if action not in ACTIONS:
        glog.error("Available caffe actions:", "caffe.cpp:78")
        for name in ACTIONS:
            glog.error(f"\t{name}", "caffe.cpp:81")
        hint = did_you_mean(action, ACTIONS)
        glog.fatal(f"Unknown action: {printable(action)}{hint}", "caffe.cpp:83")
        return FlagError.exit_code
    job = requested_job(action, line)
    if job is not None:
        from .distributed.launch import launch

        return launch(job)
    if find_placement() is not None:
        os.environ.setdefault(TORCH_LOG, "ERROR")  # else each lost connection prints a stack
    meter = CoreMeter()  # while PyTorch loads
    with _exiting_on_interrupt(), required("torch", PROGRAM), importing():
        from . import actions
    actions.dispatch(action, line, meter.busy_cores())
    return 0


@contextmanager
def _exiting_on_interrupt() -> Iterator[None]:
    """Exit at once on Ctrl-C: a library that is being imported may swallow the exception."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def exit_now(number: int, frame: object) -> None:
        glog.error("interrupted")
        os._exit(INTERRUPTED)

    previous = signal.signal(signal.SIGINT, exit_now)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _place(error: Exception) -> str:
    """Return the file:line in our source that raised the error."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
