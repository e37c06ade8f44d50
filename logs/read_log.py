"""Reading logs: files, standard input, .gz, and files that are still growing."""

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
from .collector import Collector, Rows
from .parser import Parser
from .result import LogResult

CHUNK = 1 << 20
POLL = 0.25  # seconds between looks at a growing file


def parse_log(source: str | Path | IO[bytes]) -> LogResult:
    """Everything that a Caffe log says.

    Args:
        source: a path (`.gz` is read too), `-` for standard input, or a file open for bytes.

    Raises:
        FormatError: it can't be read. What it says is never an error.
    """
    return read_log(source)


def read_log(
    source: str | Path | IO[bytes],
    rows: Rows | None = None,
    keep_rows: bool = True,
    follow: bool = False,
) -> LogResult:
    """As `parse_log`; rows go to `rows`, or into the result if `keep_rows`.

    With `follow`, a file is read on as it grows, until the run is over.
    """
    name = source if isinstance(source, str | Path) else getattr(source, "name", "log")
    collector = Collector(str(name), rows, keep_rows)
    parser = Parser(collector)
    try:
        for data in _pieces(source, follow):
            parser.feed(data)
            if follow and not data and collector.over:
                break
    except zlib.error:
        collector.result.warnings.append("the compressed log is damaged or cut; read up to there")
    except IsADirectoryError:
        raise FormatError(f"{printable(str(name))}: is a folder; give a log in it") from None
    except (OSError, ValueError) as error:
        reason = error_reason(error)
        raise FormatError(f"{printable(str(name))}: {reason}") from None
    parser.close()
    return collector.finish()


def _pieces(source: str | Path | IO[bytes], follow: bool) -> Iterator[bytes]:
    """The bytes of a log as they come, whatever they are packed in."""
    unpack: Callable[[bytes], bytes] | None = None
    for data in _raw_pieces(source, follow):
        if unpack is None and data:
            unpack = _unpacker(data[:2])
        yield unpack(data) if unpack is not None and data else data
    if isinstance(unpack, _Gzip) and not unpack.whole:
        raise zlib.error


def _unpacker(start: bytes) -> Callable[[bytes], bytes]:
    if start == b"\x1f\x8b":
        return _Gzip()
    if start in (b"\xff\xfe", b"\xfe\xff"):  # what PowerShell writes
        decoder = codecs.getincrementaldecoder("utf-16")(errors="replace")
        return lambda data: decoder.decode(data).encode()
    return lambda data: data


class _Gzip:
    """Unpacks .gz as it comes, several appended ones too."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)

    @property
    def whole(self) -> bool:
        """Whether the end of the packed data was seen."""
        return self._member.eof

    def __call__(self, data: bytes) -> bytes:
        """The bytes that these pack."""
        found = self._member.decompress(data)
        while self._member.eof and self._member.unused_data.startswith(b"\x1f\x8b"):
            rest = self._member.unused_data
            self._member = zlib.decompressobj(wbits=31)
            found += self._member.decompress(rest)
        return found


def _raw_pieces(source: str | Path | IO[bytes], follow: bool) -> Iterator[bytes]:
    if not isinstance(source, str | Path):
        while data := source.read(CHUNK):
            yield data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    elif str(source) == STDIN:
        if sys.stdin is None:
            raise FormatError("standard input is closed")
        # What has come is read at once, so that a live run is shown as it runs.
        yield from iter(lambda: os.read(sys.stdin.fileno(), CHUNK), b"")
    else:
        with open(source, "rb") as raw:
            while True:
                yield from iter(lambda: raw.read(CHUNK), b"")
                if not follow:
                    return
                yield b""
                time.sleep(POLL)
