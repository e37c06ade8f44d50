"""A log that is read on as it grows, a piece at a time, in memory that does not grow with it."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO

from ..errors import FormatError
from ..formats.files import error_reason
from ..logs.collector import Collector
from ..logs.parser import Parser
from ..logs.read_log import read_log
from ..logs.result import LogResult
from ..report.curve_sampler import CurveSampler
from ..report.curves import Training, extract_trainings
from ..text import printable
from .log_ends import ENCODED
from .places import open_file

PIECE = 1 << 20  # bytes that are parsed at a time
SECONDS = 0.5  # of parsing, before the page gets an answer that says how far it is
STRETCHES = 200  # of a curve; a page is no wider than some of them have pixels
MAX_LOGS = 32  # that are remembered


class FollowedLog:
    """A log as far as it was read; safe to use from several threads.

    Args:
        path: of the log.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._beginnings = 0
        self._begin(0)

    def _begin(self, inode: int) -> None:
        self._inode, self._offset, self._size = inode, 0, 0
        self._beginnings += 1
        self._sampler = CurveSampler(stretches=STRETCHES)
        self._collector = Collector(printable(self._path.name), self._sampler)
        self._parser = Parser(self._collector)
        self._packed: LogResult | None = None

    def read_on(self, seconds: float = SECONDS) -> float:
        """Read what is new, for about that long; return which share of the log is read.

        Raises:
            FormatError: it can't be read.
        """
        with self._lock:
            try:
                with open_file(self._path) as file:
                    status = os.fstat(file.fileno())
                    if status.st_ino != self._inode or status.st_size < self._offset:
                        self._begin(status.st_ino)  # another file took its place
                    self._size = status.st_size
                    self._read(file, time.monotonic() + seconds)
            except OSError as error:
                name = printable(self._path.name)
                raise FormatError(f"{name}: {error_reason(error)}") from None
            return self._offset / self._size if self._size else 1.0

    def _read(self, file: BinaryIO, deadline: float) -> None:
        if self._offset == 0 and file.read(2) in ENCODED:
            file.seek(0)
            self._packed = read_log(file, self._sampler)
            self._offset = self._size
            return
        file.seek(self._offset)
        while data := file.read(min(PIECE, self._size - self._offset)):
            self._parser.feed(data)
            self._offset += len(data)
            if time.monotonic() > deadline:
                break

    @property
    def identity(self) -> tuple[int, int]:
        """What changes when another file takes the log's place."""
        return self._inode, self._beginnings

    def trainings(self, x: str) -> list[Training]:
        """Return the trainings so far, with their curves over `x` as in `extract_trainings`.

        Raises:
            DesignError: `x` is time, and the log has none.
        """
        with self._lock:
            result = self._packed or self._collector.result_so_far()
            return extract_trainings(result, self._sampler, x)


class FollowedLogs:
    """The logs that pages look at; the one longest not looked at is forgotten first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logs: OrderedDict[Path, FollowedLog] = OrderedDict()

    def get(self, path: Path) -> FollowedLog:
        """Return a log, as far as it was read."""
        with self._lock:
            log = self._logs.pop(path, None) or FollowedLog(path)
            self._logs[path] = log
            while len(self._logs) > MAX_LOGS:
                self._logs.popitem(last=False)
            return log
