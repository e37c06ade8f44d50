"""Download a published file: resume partial downloads, and verify the result by its git blob id."""

from __future__ import annotations

import hashlib
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO

from ..errors import DownloadError, OutputError
from ..formats.files import error_reason, read_bytes, write_files
from ..progress import StartBar, no_bar
from ..text import bytes_text, printable

CHUNK = 1 << 16
TIMEOUT = 30.0  # seconds without data
HTTP_PARTIAL, HTTP_RANGE = 206, 416
COPY_LIMIT = 1 << 28
URL_LENGTH = 300  # characters of an address in messages


def git_blob_id(data: bytes) -> str:
    """Return git's id of contents: the SHA-1 of `blob <size>`, a zero byte and the bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def download(
    source: str, out: Path, git_blob: str, force: bool = False, progress: StartBar = no_bar
) -> bool:
    """Download or copy a file to `out`, and verify it.

    A partial download stays beside `out` as a .part, which the next call resumes.

    Args:
        source: an http or https address, or a path.
        out: where to write the file.
        git_blob: its git blob id.
        force: replace another file at `out`.
        progress: starts a bar of bytes; 0 if their number is unknown.

    Returns:
        False if `out` exists already and is the right file.

    Raises:
        DownloadError: the download is incomplete or is another file.
        FormatError: the source is a path that can't be read.
        OutputError: `out` is another file and `force` is not set, or can't be written.
    """
    if os.path.lexists(out) and not force:
        if out.is_file() and git_blob_id(out.read_bytes()) == git_blob:
            return False
        raise OutputError(f"{printable(str(out))}: exists and is another file; --force replaces it")
    if re.match(r"[a-z]+://", source, re.IGNORECASE) is None:
        data = read_bytes(source, COPY_LIMIT, "a published file")
        _verify(data, git_blob, source)
        write_files({out: data}, force=True)
        return True
    part = out.with_name(f"{out.name}.{git_blob[:8]}.part")  # distinct for every published file
    if not source.lower().startswith(("http://", "https://")):
        raise DownloadError(f"{printable(source)}: give an http or https address")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _fetch(source, part, progress)
        try:
            _verify(part.read_bytes(), git_blob, source)
        except DownloadError:
            part.unlink()  # resuming from it would fail again
            raise
        part.replace(out)
    except OSError as error:
        name = printable(str(error.filename or out))
        raise OutputError(f"{name}: can't write: {error_reason(error)}") from None
    return True


def _verify(data: bytes, git_blob: str, source: str) -> None:
    actual = git_blob_id(data)
    if actual != git_blob:
        raise DownloadError(
            f"{printable(source, URL_LENGTH)}: not the published file: its git blob is {actual},"
            f" not {git_blob}; nothing was kept"
        )


def _fetch(url: str, part: Path, progress: StartBar) -> None:
    """Append the missing bytes of `url` to `part`."""
    have = part.stat().st_size if part.exists() else 0
    response = _open(url, have)
    if response is None:
        return  # `part` is complete; `_verify` checks it
    with response:
        resumed = response.status == HTTP_PARTIAL
        have = have if resumed else 0
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() else None
        with open(part, "ab" if resumed else "wb") as out:
            _copy(_guarded(lambda: response.read(CHUNK), url), out, total, have, progress)
    if total is not None and part.stat().st_size < total:
        raise DownloadError(_lost(url, "the connection ended early"))


def _open(url: str, have: int) -> HTTPResponse | None:
    """Request the bytes after the first `have`; return None if there are none."""
    headers = {"User-Agent": "sqgen", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http(s) was checked
        response: HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310
        return response
    except urllib.error.HTTPError as error:
        if error.code == HTTP_RANGE and have:
            return None
        reason = printable(f"{error.code} {error.reason}")
        raise DownloadError(f"{printable(url, URL_LENGTH)}: {reason}; check the address") from None
    except urllib.error.URLError as error:
        raise DownloadError(_lost(url, error.reason)) from None
    except (OSError, HTTPException, ValueError) as error:
        raise DownloadError(_lost(url, error)) from None


def _guarded(read: Callable[[], bytes], url: str) -> Callable[[], bytes]:
    """Wrap `read` to raise DownloadError, so that errors of the connection and the disk differ."""

    def guarded() -> bytes:
        try:
            return read()
        except (OSError, HTTPException) as error:
            raise DownloadError(_lost(url, error)) from None

    return guarded


def _lost(url: str, reason: object) -> str:
    why = error_reason(reason) if isinstance(reason, OSError) else str(reason)
    return (
        f"{printable(url, URL_LENGTH)}: {printable(why) or type(reason).__name__}; run the"
        " same command to resume, or copy the file with --from FILE"
    )


def _copy(
    read: Callable[[], bytes], out: BinaryIO, total: int | None, start: int, progress: StartBar
) -> None:
    began, received = time.monotonic(), 0
    with progress(total or 0) as bar:
        while chunk := read():
            out.write(chunk)
            received += len(chunk)
            rate = received / max(time.monotonic() - began, 1e-3)
            bar.update(start + received, f"{bytes_text(int(rate))}/s")
        out.flush()
        os.fsync(out.fileno())
