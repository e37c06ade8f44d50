"""Read logs: files, standard input, .gz, UTF-16, and files that still grow."""

from __future__ import annotations

import codecs
import os
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO

from ..errors import FormatError
from ..formats.files import STDIN, error_reason
from ..formats.near_path import missing_hint
from ..text import printable
from .collector import Collector
from .parser import Parser
from .result import LogResult
from .rows import RowSink

CHUNK = 1 << 20
POLL = 0.25  # seconds between reads of a growing file
_SLICE = 1 << 12  # bytes of a .gz to unpack at a time: zlib copies those that a member leaves over
# Packed logs have a tenth of their size, and the dullest a twentieth; what unpacks to far more was
# made to fill memory and time.
_MAX_RATIO, _MIN_SUSPECT = 100, 1 << 22


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
    chunks = _read_chunks(source, name, follow)
    start = b""
    for start in chunks:
        if start:
            break
    chunks = chain((start,), chunks)
    if start.startswith(b"\x1f\x8b"):
        yield from _unpack_gzip(chunks, name)
    elif start.startswith((b"\xff\xfe", b"\xfe\xff")):  # what PowerShell writes
        decoder = codecs.getincrementaldecoder("utf-16")(errors="replace")
        yield from (decoder.decode(data).encode() for data in chunks)
    else:
        yield from chunks


def _unpack_gzip(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Unpack a .gz, or several in one file, as it comes.

    Raises:
        FormatError: it unpacks to more than a log can be.
        zlib.error: it is damaged or cut.
    """
    member = zlib.decompressobj(wbits=31)
    packed = unpacked = 0
    for chunk in chunks:
        packed += len(chunk)
        for start in range(0, len(chunk), _SLICE):
            data = chunk[start : start + _SLICE]
            while data:
                if member.eof:
                    data = data.lstrip(b"\0")  # padding
                    member = zlib.decompressobj(wbits=31) if data else member
                    continue
                piece = member.decompress(data, CHUNK)
                unpacked += len(piece)
                if piece:
                    yield piece
                data = member.unused_data if member.eof else member.unconsumed_tail
            if unpacked > max(_MIN_SUSPECT, _MAX_RATIO * packed):
                raise FormatError(
                    f"{printable(name)}: unpacks to more than {_MAX_RATIO} times its size, which no"
                    " log does; unpack it, and look at it first"
                )
        if not chunk:
            yield b""
    if not member.eof:
        raise zlib.error


def _read_chunks(source: str | Path | IO[bytes], name: str, follow: bool) -> Iterator[bytes]:
    try:
        yield from _raw_chunks(source, follow)
    except IsADirectoryError:
        raise FormatError(f"{printable(name)}: is a folder; give a log in it") from None
    except FileNotFoundError as error:
        hint = missing_hint(name, "check the name")
        raise FormatError(f"{printable(name)}: {error_reason(error)}{hint}") from None
    except (OSError, ValueError) as error:
        raise FormatError(f"{printable(name)}: {error_reason(error)}; check the name") from None


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
