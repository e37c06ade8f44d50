"""Log lines as glog writes them: `I1123 02:37:54.721964 12187 solver.cpp:239] text`.

Lines that Caffe has carry Caffe's own place (BVLC master 9b89154), because tools look for it;
lines of ours carry the place in our source. Numbers print as C++ streams print floats.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

INFO, WARNING, ERROR, FATAL = range(4)
_LETTERS = "IWEF"
NEWLINE = "\n"

_lock = threading.Lock()
_threshold = INFO


def set_threshold(severity: int) -> None:
    """Leave out what is less severe; as glog's `--minloglevel`. Fatal lines always show."""
    global _threshold
    _threshold = min(severity, FATAL)


def number(value: float) -> str:
    """A number as `std::ostream << float` prints it: 6 significant digits, `nan`, `inf`."""
    return f"{value:g}"


def info(text: str, at: str = "") -> None:
    """An `I` line; `at` is Caffe's place, and the caller's own where it is left out."""
    _write(INFO, text, at)


def warning(text: str, at: str = "") -> None:
    """A `W` line."""
    _write(WARNING, text, at)


def error(text: str, at: str = "") -> None:
    """An `E` line."""
    _write(ERROR, text, at)


def fatal(text: str, at: str = "") -> None:
    """An `F` line. Ending the process is the caller's."""
    _write(FATAL, text, at)


def _write(severity: int, text: str, at: str) -> None:
    if severity < _threshold or sys.stderr is None:
        return
    if not at:
        frame = sys._getframe(2)
        at = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
    now = time.time()
    stamp = time.strftime("%m%d %H:%M:%S", time.localtime(now))
    prefix = f"{_LETTERS[severity]}{stamp}.{int(now % 1 * 1e6):06d} {threading.get_native_id()}"
    try:
        with _lock:
            sys.stderr.write(f"{prefix} {at}] {text.removesuffix(NEWLINE)}\n")
            sys.stderr.flush()
    except (OSError, ValueError) as problem:
        # A run of days must not end because of its log. Whoever read it is gone for good; a full
        # disk may have room for later lines, but what waits in the buffer would come first.
        gone = isinstance(problem, BrokenPipeError | ValueError)
        with _lock:
            if gone:
                sys.stderr = open(os.devnull, "w")  # noqa: SIM115
            else:
                sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
