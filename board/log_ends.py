"""What the ends of a log say: a log may have gigabytes, and a list of runs can't read them all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

from ..errors import FormatError
from ..formats.files import error_reason
from ..logs.collector import Collector
from ..logs.lines import parse_number
from ..logs.parser import Parser
from ..logs.read_log import read_log
from ..logs.result import LogResult, Segment
from ..logs.rows import LastLosses
from ..text import printable
from .places import open_file

HEAD, TAIL = 1 << 13, 1 << 15  # bytes: the solver, and displays since the last test
PACKED = 1 << 18  # of what has no end without all before it
# What `read_log` unpacks: gzip, and UTF-16, which PowerShell writes.
ENCODED = (b"\x1f\x8b", b"\xff\xfe", b"\xfe\xff")


class LastRows(LastLosses):
    """Stores the losses that each segment displayed last, and the numbers of batches.

    Attributes:
        first_batch: the first one read; None before it.
        batches: how many a test has done.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first_batch: int | None = None
        self.batches = 0

    def batch(self, index: str, name: str, value: str) -> None:
        """Count a batch of `caffe test`."""
        self.batches = int(index) + 1
        if self.first_batch is None:
            self.first_batch = self.batches

    def restart_batches(self) -> None:
        """Count from 0."""
        self.first_batch, self.batches = None, 0

    @property
    def loss(self) -> float | None:
        """The training loss displayed last."""
        if not self.by_segment:
            return None
        text = self.by_segment[max(self.by_segment)][0]
        return parse_number(text) if text else None


class LogEnds(NamedTuple):
    """The result of a log's ends, its last rows, and whether the run printed its last line."""

    result: LogResult
    rows: LastRows
    over: bool


def read_ends(path: Path) -> LogEnds:
    """Read the beginning and the end of a log.

    Raises:
        FormatError: it can't be read.
    """
    try:
        with open_file(path) as file:
            head = file.read(HEAD)
            if head.startswith(ENCODED):
                return _read_packed(path.name, head + file.read(PACKED - len(head) + 1))
            size = file.seek(0, io.SEEK_END)
            file.seek(max(len(head), size - TAIL))
            gap = file.tell() > len(head)
            tail = file.read(TAIL)
    except OSError as error:
        raise FormatError(f"{printable(path.name)}: {error_reason(error)}") from None
    if gap:  # whole lines on both sides
        head, tail = head[: head.rfind(b"\n") + 1], tail[tail.find(b"\n") + 1 :]
    return _parse(path.name, head, tail)


def read_rate(path: Path) -> float | None:
    """Return how many iterations or batches a second the end of a log shows; None if none."""
    try:
        with open_file(path) as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(max(0, size - TAIL))
            ends = _parse(path.name, file.read(TAIL))
    except OSError:
        return None
    last = ends.result.segments[-1] if ends.result.segments else Segment()
    steps = (last.last_iteration or 0) - (last.first_iteration or 0)
    if ends.rows.first_batch is not None:
        steps = ends.rows.batches - ends.rows.first_batch
    return steps / last.seconds if last.seconds and steps > 0 else None


def _parse(name: str, *parts: bytes) -> LogEnds:
    rows = LastRows()
    collector = Collector(name, rows)
    parser = Parser(collector)
    for part in parts:
        parser.feed(part)
    over = collector.over
    parser.close()
    return LogEnds(collector.finish(), rows, over)


def _read_packed(name: str, data: bytes) -> LogEnds:
    if len(data) > PACKED:
        raise FormatError(f"{printable(name)}: is packed, or UTF-16, and large; its page reads it")
    rows = LastRows()
    result = read_log(io.BytesIO(data), rows)
    return LogEnds(result, rows, over=True)
