"""Log lines in glog's form: `I1123 02:37:54.721964 12187 solver.cpp:239] text`.

A line that Caffe logs too carries Caffe's file:line (BVLC master 9b89154), which log parsers look
for; a line of our own carries ours. Shapes print as C++ streams print them.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Sequence
from math import prod
from pathlib import Path

INFO, WARNING, ERROR, FATAL = range(4)
_LETTERS = "IWEF"

# Line breaks, control characters but for the tabs that Caffe prints, marks of direction.
_CONTROL = re.compile(r"[\0-\x08\x0a-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")

_lock = threading.Lock()
_threshold = INFO
_lead = ""  # before each line of a rank whose log is not the run's


def set_threshold(severity: int) -> int:
    """Omit less severe lines, as glog's `--minloglevel` does; fatal lines always show.

    Returns:
        The threshold before.
    """
    global _threshold
    before, _threshold = _threshold, min(severity, FATAL)
    return before


def set_rank(rank: int | None) -> None:
    """Put the rank before each line, `[rank 1] W1127 ...`; None for no rank."""
    global _lead
    _lead = "" if rank is None else f"[rank {rank}] "


def format_shape(shape: Sequence[int]) -> str:
    """Format a shape as Blob::shape_string does: `32 3 227 227 (4946784)`."""
    return "".join(f"{axis} " for axis in shape) + f"({prod(shape)})"


def info(text: str, at: str = "", body: str = "") -> None:
    """Write an `I` line, and below it the lines of `body`.

    `at` is Caffe's file:line, or by default the caller's.
    """
    _write(INFO, text, at, body)


def warning(text: str, at: str = "") -> None:
    """Write a `W` line."""
    _write(WARNING, text, at)


def error(text: str, at: str = "") -> None:
    """Write an `E` line."""
    _write(ERROR, text, at)


def fatal(text: str, at: str = "") -> None:
    """Write an `F` line; unlike glog, don't end the process."""
    _write(FATAL, text, at)


def pass_on(line: str) -> None:
    """Write a line of another process, which has its prefix."""
    if sys.stderr is not None:
        _emit(f"{line}\n")


def _escape(text: str) -> str:
    """Escape what makes a name another line, or a command to the terminal."""
    return text if text.isprintable() else _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


def _write(severity: int, text: str, at: str, body: str = "") -> None:
    if severity < _threshold or sys.stderr is None:
        return
    if not at:
        frame = sys._getframe(2)
        at = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
    now = time.time()
    stamp = time.strftime("%m%d %H:%M:%S", time.localtime(now))
    prefix = f"{_LETTERS[severity]}{stamp}.{int(now % 1 * 1e6):06d} {threading.get_native_id()}"
    lines = "\n".join(_lead + _escape(line) if line else "" for line in body.split("\n"))
    _emit(f"{_lead}{prefix} {at}] {_escape(text)}\n{lines}")


def _emit(text: str) -> None:
    try:
        with _lock:
            assert sys.stderr is not None
            sys.stderr.write(text)
            sys.stderr.flush()
    except (OSError, ValueError) as problem:
        # A run of days must not end because of its log. A closed pipe stays closed; a full disk may
        # take later lines, but not before the stream's buffer, which is therefore dropped.
        closed = isinstance(problem, BrokenPipeError | ValueError)
        with _lock:
            if closed:
                sys.stderr = open(os.devnull, "w")  # noqa: SIM115
            else:
                sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
