"""Read results from a log, from their JSON form, or from a run folder."""

from __future__ import annotations

import codecs
import io
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import cast

from ..errors import FormatError
from ..formats.files import STDIN, display_name, read_bytes
from ..json_form import loads
from ..text import printable
from .read_log import read_log
from .result import LogResult
from .rows import RowSink

JSON_LIMIT = 1 << 28
LOG, RESULT, VERDICT = "caffe.log", "result.json", "gate.json"  # of a run folder


def read_result(source: str, keep_rows: bool = True, rows: RowSink | None = None) -> LogResult:
    """Read a result.

    Args:
        source: a log, the output of `sqgen log parse --json`, a run folder, or `-` for standard
            input.
        keep_rows: keep the rows of a log in the result, if there is no `rows`.
        rows: receives the rows of a log.

    Raises:
        FormatError: it can't be read, or is none of these.
    """
    folder = Path(source)
    if source != STDIN and os.path.isdir(folder):
        finished = folder / RESULT
        source = str(finished) if os.path.isfile(finished) else find_log(source)
    if _looks_like_json(source):
        return _read_json(source)
    return read_caffe_log(source, rows, keep_rows)


def find_runs(source: str) -> list[str]:
    """Return the run folders in the folder of a study; of any other source, itself."""
    folder = Path(source)
    if source == STDIN or not folder.is_dir() or _is_run(folder):
        return [source]
    try:
        return sorted(str(path) for path in folder.iterdir() if _is_run(path))
    except OSError:
        return []


def _is_run(folder: Path) -> bool:
    return (folder / LOG).is_file() or (folder / RESULT).is_file()


def find_log(source: str) -> str:
    """Return the log of a run folder, and any other source as it is.

    Raises:
        FormatError: the folder has none.
    """
    if source == STDIN or not os.path.isdir(source):
        return source
    log = Path(source) / LOG
    if not os.path.isfile(log):
        raise FormatError(f"{printable(source)}: is a folder without {LOG}; give a log")
    return str(log)


def read_caffe_log(
    source: str, rows: RowSink | None = None, keep_rows: bool = True, follow: bool = False
) -> LogResult:
    """Read a log as `read_log` does, and refuse a file that is none.

    Raises:
        FormatError: it can't be read, or has nothing that Caffe prints.
    """
    # What `_looks_like_json` peeked at is in the buffer; a live run needs the descriptor itself.
    is_buffered = source == STDIN and sys.stdin is not None and not follow
    result = read_log(sys.stdin.buffer if is_buffered else source, rows, keep_rows, follow)
    if is_buffered:
        result = replace(result, source=STDIN)
    found = result.command != "unknown" or result.segments or result.fatal or result.signals
    # An empty file may be the log of a run that just died.
    if not found and (source == STDIN or Path(source).stat().st_size):
        raise FormatError(
            f"{display_name(source)}: is neither a log of Caffe nor a result of sqgen; check the"
            " name"
        )
    return result


def _read_json(source: str) -> LogResult:
    name = display_name(source)
    try:
        plain = loads(read_bytes(source, JSON_LIMIT, "a result"))
    except ValueError as error:
        reason = printable(str(error))
        raise FormatError(f"{name}: begins like JSON, but is invalid: {reason}") from None
    if not isinstance(plain, dict):
        raise FormatError(f"{name}: holds several results; give one")
    try:
        return LogResult.from_dict(plain)
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from None


def _looks_like_json(source: str) -> bool:
    if source == STDIN:
        if sys.stdin is None:
            raise FormatError("standard input is closed")
        start = cast(io.BufferedReader, sys.stdin.buffer).peek(64)[:64]
    else:
        try:
            with open(source, "rb") as file:
                start = file.read(64)
        except (OSError, ValueError):
            return False
    return start.removeprefix(codecs.BOM_UTF8).lstrip().startswith((b"{", b"["))
