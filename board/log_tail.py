"""The last lines of a log, as text that is safe to show."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from ..logs.read_result import LOG
from ..text import printable
from .log_ends import ENCODED
from .places import LOG_FILE, Place, open_file

LINES = 200
LINE = 500  # characters of a line
_BYTES = 1 << 16


class Tail(NamedTuple):
    """The last lines of a log; None if they are as they were seen.

    `seen` says so the next time.
    """

    tail: list[str] | None
    seen: str


def log_path(place: Place) -> Path:
    """Return the path of a place's log, which may not be there."""
    return place.path if place.kind == LOG_FILE else place.path / LOG


def read_tail(place: Place, seen: str) -> Tail:
    """Return the last lines of a log, at most `LINES`, with control characters escaped."""
    try:
        with open_file(log_path(place)) as file:
            status = os.fstat(file.fileno())
            now = f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"
            if now == seen:
                return Tail(None, now)
            if file.read(2) in ENCODED:
                return Tail([], now)
            start = max(0, status.st_size - _BYTES)
            file.seek(start)
            data = file.read(_BYTES)
    except OSError:
        return Tail([], "none")
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    if start:
        del lines[0]
    if lines and not lines[-1]:
        del lines[-1]
    return Tail([_shown(line) for line in lines[-LINES:]], now)


def _shown(line: str) -> str:
    return printable(line.removesuffix("\r").expandtabs(), LINE)
