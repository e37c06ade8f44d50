"""`sqgen-caffe`: Caffe's command line (tools/caffe.cpp), and how it ends.

Nothing heavy is imported before the flags are read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import __version__
from ..errors import SqgenError, did_you_mean, printable
from . import glog
from .flags import CommandLine, FlagError, parse, usage

PROGRAM = "sqgen-caffe"
ACTIONS = ("device_query", "test", "time", "train")
INTERRUPTED = 130
LINE = 2000  # characters of an error that are shown
_PARTS = {"torch": "torch", "lmdb": "lmdb", "cv2": "opencv-python-headless"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    code = run(sys.argv[1:] if arguments is None else list(arguments))
    sys.stderr.flush()
    raise SystemExit(code)


def run(arguments: Sequence[str]) -> int:
    """Run the command line; the exit code."""
    try:
        line = parse(arguments)
        if line.on("version"):
            print(f"caffe version 1.0.0 ({PROGRAM} {__version__})")
            return 0
        if line.on("help"):
            print(usage(PROGRAM))
            return 0
        _set_log_level(line)
        return _act(line)
    except FlagError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return error.exit_code
    except SqgenError as error:
        glog.fatal(printable(str(error), LINE), _place(error))
        return error.exit_code
    except ModuleNotFoundError as error:
        if error.name not in _PARTS:
            raise
        glog.fatal(
            f"needs {_PARTS[error.name]}, which is not installed: pip install 'sqgen[engine]'"
        )
        return SqgenError.exit_code
    except MemoryError:
        glog.fatal("out of memory; use a smaller batch_size")
        return SqgenError.exit_code
    except KeyboardInterrupt:
        glog.error("interrupted")
        return INTERRUPTED


def _set_log_level(line: CommandLine) -> None:
    level = line.number("minloglevel")
    environment = os.environ.get("GLOG_minloglevel", "")  # noqa: SIM112
    if "minloglevel" not in line.given and environment.isdigit():
        level = int(environment)
    glog.set_threshold(level)


def _act(line: CommandLine) -> int:
    if len(line.words) != 1:
        print(usage(PROGRAM), file=sys.stderr)
        return FlagError.exit_code
    action = line.words[0]
    if action not in ACTIONS:
        glog.error("Available caffe actions:", "caffe.cpp:76")
        for name in ACTIONS:
            glog.error(f"\t{name}", "caffe.cpp:79")
        hint = did_you_mean(action, ACTIONS)
        glog.fatal(f"Unknown action: {printable(action)}{hint}", "caffe.cpp:81")
        return FlagError.exit_code
    from . import actions

    actions.run(action, line)
    return 0


def _place(error: SqgenError) -> str:
    """Where the error was raised, in our source."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
