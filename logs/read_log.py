"""Read logs: files, standard input, .gz, UTF-16, and files that still grow."""

from __future__ import annotations

import codecs
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from ..errors import FormatError
from ..formats.files import STDIN, error_reason
from ..text import printable
from .collector import Collector
from .parser import Parser
from .result import LogResult
from .rows import RowSink

CHUNK = 1 << 20
POLL = 0.25  # seconds between reads of a growing file


def parse_log(source: str | Path | IO[bytes]) -> LogResult:
    """Read a Caffe log, of `caffe train`, `test` or `time`.

    Args:
        source: a path (also of a `.gz`), `-` for standard input, or a binary file object.

    Raises:
        FormatError: the file can't be read. Its content is never an error.
    """
    return read_log(source)


def read_log(
    source: str | Path | IO[bytes],
    rows: RowSink | None = None,
    keep_rows: bool = True,
    follow: bool = False,
) -> LogResult:
    """Read a Caffe log as `parse_log` does.

    Args:
        source: as for `parse_log`.
        rows: receives the rows.
        keep_rows: keep the rows in the result, if there is no `rows`.
        follow: read on as the file grows, until the run is over.

    Raises:
        FormatError: the file can't be read.
    """
    name = source if isinstance(source, str | Path) else getattr(source, "name", "log")
    collector = Collector(str(name), rows, keep_rows)
    parser = Parser(collector)
    try:
        for data in _unpacked_chunks(source, str(name), follow):
            parser.feed(data)
            if follow and not data and collector.over:
                break
    except zlib.error:
        collector.warn("the compressed log is damaged or cut; read up to there")
    parser.close()
    return collector.finish()


def _unpacked_chunks(source: str | Path | IO[bytes], name: str, follow: bool) -> Iterator[bytes]:
    """Yield the bytes of a log as they come, unpacked."""
    unpack: Callable[[bytes], bytes] | None = None
    for data in _read_chunks(source, name, follow):
        if unpack is None and data:
            unpack = _choose_unpacker(data[:2])
        yield unpack(data) if unpack is not None and data else data
    if isinstance(unpack, _Gzip) and not unpack.whole:
        raise zlib.error


def _choose_unpacker(start: bytes) -> Callable[[bytes], bytes]:
    if start == b"\x1f\x8b":
        return _Gzip()
    if start in (b"\xff\xfe", b"\xfe\xff"):  # what PowerShell writes
        decoder = codecs.getincrementaldecoder("utf-16")(errors="replace")
        return lambda data: decoder.decode(data).encode()
    return lambda data: data


class _Gzip:
    """Unpacks a .gz, or several in one file, as it comes."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)

    @property
    def whole(self) -> bool:
        """Whether the packed data came to its end."""
        return self._member.eof

    def __call__(self, data: bytes) -> bytes:
        """Unpack `data`."""
        unpacked = self._member.decompress(data)
        while self._member.eof and self._member.unused_data.startswith(b"\x1f\x8b"):
            rest = self._member.unused_data
            self._member = zlib.decompressobj(wbits=31)
            unpacked += self._member.decompress(rest)
        return unpacked


def _read_chunks(source: str | Path | IO[bytes], name: str, follow: bool) -> Iterator[bytes]:
    try:
        yield from _raw_chunks(source, follow)
    except IsADirectoryError:
        raise FormatError(f"{printable(name)}: is a folder; give a log in it") from None
    except (OSError, ValueError) as error:
        raise FormatError(f"{printable(name)}: {error_reason(error)}") from None


def _raw_chunks(source: str | Path | IO[bytes], follow: bool) -> Iterator[bytes]:
    if not isinstance(source, str | Path):
        while data := source.read(CHUNK):
            yield data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    elif str(source) == STDIN:
        if sys.stdin is None:
            raise FormatError("standard input is closed")
        # os.read returns what has come, so that a live run is shown as it runs.
        yield from iter(lambda: os.read(sys.stdin.fileno(), CHUNK), b"")
    else:
        with open(source, "rb") as raw:
            while True:
                yield from iter(lambda: raw.read(CHUNK), b"")
                if not follow:
                    return
                yield b""
                time.sleep(POLL)
