"""Reading logs: files, standard input, .gz, and files that are still growing."""

from __future__ import annotations

import gzip
import os
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ...errors import FormatError, printable
from ...formats.files import STDIN, describe
from .collect import Collector, Rows
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
    except (EOFError, zlib.error, gzip.BadGzipFile):
        collector.result.warnings.append("the compressed log is damaged or cut; read up to there")
    except IsADirectoryError:
        raise FormatError(f"{printable(str(name))}: is a folder; give a log in it") from None
    except (OSError, ValueError) as error:
        reason = describe(error) if isinstance(error, OSError) else str(error)
        raise FormatError(f"{printable(str(name))}: {reason}") from None
    parser.close()
    return collector.finish()


def _pieces(source: str | Path | IO[bytes], follow: bool) -> Iterator[bytes]:
    if not isinstance(source, str | Path):
        yield from iter(lambda: source.read(CHUNK), b"")
    elif str(source) == STDIN:
        # What has come is read at once, so that a live run is shown as it runs.
        yield from iter(lambda: os.read(sys.stdin.fileno(), CHUNK), b"")
    else:
        with open(source, "rb") as raw:
            if raw.read(2) == b"\x1f\x8b":
                raw.seek(0)
                with gzip.open(raw) as file:
                    yield from iter(lambda: file.read(CHUNK), b"")
                return
            raw.seek(0)
            while True:
                yield from iter(lambda: raw.read(CHUNK), b"")
                if not follow:
                    return
                yield b""
                time.sleep(POLL)
