"""Fetching a published file: resumable, and kept only if it is the published one."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO

import click

from ..errors import DownloadError, OutputError
from ..formats.files import error_reason, read_bytes, write_files
from ..text import bytes_text, printable

CHUNK = 1 << 16
TIMEOUT = 30.0  # seconds without a byte
HTTP_PARTIAL, HTTP_RANGE = 206, 416
COPY_LIMIT = 1 << 28
URL_LENGTH = 300  # as much of an address as a message shows


def git_blob_id(data: bytes) -> str:
    """What git calls a file's content: the SHA-1 of `blob <size>`, a zero byte and the bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def download(source: str, out: Path, git_blob: str, force: bool = False) -> bool:
    """Bring a file from an address or a path to `out`, if it is the one with this blob id.

    What has come so far of an address stays in a .part beside it, from where a later call goes on.

    Returns:
        False if `out` was there already, and the right one.

    Raises:
        DownloadError: it did not come whole, or is another file.
        FormatError: the source is a path that can't be read.
        OutputError: `out` holds something else and `force` is not set, or can't be written.
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
    part = out.with_name(f"{out.name}.{git_blob[:8]}.part")  # of this file, and no other's
    if not source.lower().startswith(("http://", "https://")):
        raise DownloadError(f"{printable(source)}: only http and https are fetched")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _fetch(source, part)
        try:
            _verify(part.read_bytes(), git_blob, source)
        except DownloadError:
            part.unlink()  # going on from it would only fail again
            raise
        part.replace(out)
    except OSError as error:
        name = printable(str(error.filename or out))
        raise OutputError(f"{name}: can't write: {error_reason(error)}") from None
    return True


def _verify(data: bytes, git_blob: str, source: str) -> None:
    got = git_blob_id(data)
    if got != git_blob:
        raise DownloadError(
            f"{printable(source, URL_LENGTH)}: not the published file: its git blob is {got},"
            f" not {git_blob}; nothing was kept"
        )


def _fetch(url: str, part: Path) -> None:
    """Append what is missing of `url` to `part`."""
    have = part.stat().st_size if part.exists() else 0
    response = _open(url, have)
    if response is None:
        return  # all of it is there; the check tells whether it is right
    with response:
        resumed = response.status == HTTP_PARTIAL
        have = have if resumed else 0
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() else None
        with open(part, "ab" if resumed else "wb") as out:
            _pump(_guarded(lambda: response.read(CHUNK), url), out, total, have)
    if total is not None and part.stat().st_size < total:
        raise DownloadError(_lost(url, "the connection ended early"))


def _open(url: str, have: int) -> Any:
    """The answer of the server; None if it has no more than what is there already."""
    headers = {"User-Agent": "sqgen", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http(s) was checked
        return urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310
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
    """A connection's errors are told apart from the disk's."""

    def guarded() -> bytes:
        try:
            return read()
        except (OSError, HTTPException) as error:
            raise DownloadError(_lost(url, error)) from None

    return guarded


def _lost(url: str, reason: object) -> str:
    why = error_reason(reason) if isinstance(reason, OSError) else str(reason)
    return (
        f"{printable(url, URL_LENGTH)}: {printable(why) or type(reason).__name__}; the same"
        " command goes on from where it stopped, and --from FILE takes a copy"
    )


def _pump(read: Callable[[], bytes], out: BinaryIO, total: int | None, done: int) -> None:
    with _progress(total, done) as advance:
        while chunk := read():
            out.write(chunk)
            advance(len(chunk))
        out.flush()
        os.fsync(out.fileno())


@contextmanager
def _progress(total: int | None, done: int) -> Iterator[Callable[[int], None]]:
    """A bar with rate and time left on a terminal; nothing in a pipe."""
    if not sys.stderr.isatty() or not total:
        yield lambda count: None
        return
    start, come = time.monotonic(), 0

    def rate(item: object) -> str:
        return f"{bytes_text(int(come / max(time.monotonic() - start, 1e-3)))}/s"

    with click.progressbar(length=total, file=sys.stderr, item_show_func=rate) as bar:
        bar.update(done)

        def advance(count: int) -> None:
            nonlocal come
            come += count
            bar.update(count, current_item=count)

        yield advance
