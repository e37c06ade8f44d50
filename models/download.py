"""Download a published file: resume partial downloads, and verify the result by its git blob id."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO

from ..errors import DownloadError, OutputError
from ..formats.files import error_reason, missing_folders, read_bytes, remove_empty, write_files
from ..progress import StartBar, no_bar
from ..text import bytes_text, printable

CHUNK = 1 << 16
TIMEOUT = 30.0  # seconds without data
SLOW_BYTES, SLOW_SECONDS = 1 << 14, 30.0  # a download ends that gets fewer bytes in this time
LIMIT = 1 << 26  # bytes: ten times the largest published file
HTTP_PARTIAL, HTTP_RANGE = 206, 416
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
        if _is_file_of(out, git_blob):
            return False
        raise OutputError(f"{printable(str(out))}: exists and is another file; --force replaces it")
    if re.match(r"[a-z]+://", source, re.IGNORECASE) is None:
        data = read_bytes(source, LIMIT, "a published file")
        _verify(data, git_blob, source)
        write_files({out: data}, force=True)
        return True
    part = out.with_name(f"{out.name}.{git_blob[:8]}.part")  # distinct for every published file
    if not source.lower().startswith(("http://", "https://")):
        raise DownloadError(f"{printable(source)}: give an http or https address")
    new_folders = missing_folders(out.parent)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with _open_part(part) as file:
            try:
                _fetch(source, file, progress)
                file.seek(0)
                _verify(file.read(), git_blob, source)
            except DownloadError as error:
                if isinstance(error, _WrongFileError) or not file.seek(0, os.SEEK_END):
                    part.unlink()  # resuming from it would fail again, or gain nothing
                raise
        if out.is_file():
            shutil.copymode(out, part)
        part.replace(out)
    except OSError as error:
        name = printable(str(error.filename or out))
        raise OutputError(f"{name}: can't write: {error_reason(error)}") from None
    finally:
        remove_empty(new_folders)
    return True


class _WrongFileError(DownloadError):
    """The bytes that came are not those of the published file."""


def _is_file_of(path: Path, git_blob: str) -> bool:
    """Whether a file has that git blob id."""
    return (
        path.is_file()
        and path.stat().st_size <= LIMIT
        and git_blob_id(path.read_bytes()) == git_blob
    )


def _open_part(path: Path) -> BinaryIO:
    """Open a partial download, or begin one: a file of the user's own, never what a link names.

    Raises:
        OutputError: something else has its name.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if not path.is_symlink():
        descriptor = os.open(path, flags, 0o666)
        status = os.fstat(descriptor)
        is_own = status.st_uid == getattr(os, "getuid", lambda: status.st_uid)()
        if is_own and stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            return open(descriptor, "r+b")
        os.close(descriptor)
    raise OutputError(f"{printable(str(path))}: is not a partial download of yours; remove it")


def _verify(data: bytes, git_blob: str, source: str) -> None:
    actual = git_blob_id(data)
    if actual != git_blob:
        raise _WrongFileError(
            f"{printable(source, URL_LENGTH)}: not the published file: its git blob is {actual},"
            f" not {git_blob}; nothing was kept"
        )


def _fetch(url: str, part: BinaryIO, progress: StartBar) -> None:
    """Append the missing bytes of `url` to `part`."""
    have = part.seek(0, os.SEEK_END)
    if have > LIMIT:
        raise _too_large(url)
    response = _open(url, have)
    if response is None:
        return  # `part` is complete; `_verify` checks it
    with response:
        if response.status == HTTP_PARTIAL:
            _check_range(url, response, have)
        else:
            have = 0
        total = _total(url, response, have)
        part.truncate(part.seek(have))
        got = have + _copy(_chunks(response, url, have), part, total, have, progress)
    if total is not None and got < total:
        raise DownloadError(_lost(url, "the connection ended early"))


def _total(url: str, response: HTTPResponse, have: int) -> int | None:
    """Return the bytes of the whole file, from the length of the answer; None without one."""
    length = response.headers.get("Content-Length", "").strip()
    if not length:
        return None
    if re.fullmatch("[0-9]+", length) is None:
        raise DownloadError(_lost(url, f"answers a Content-Length of '{printable(length, 20)}'"))
    if len(length) > len(str(LIMIT)) or have + int(length) > LIMIT:
        raise _too_large(url)
    return have + int(length)


def _check_range(url: str, response: HTTPResponse, have: int) -> None:
    """Check that a partial answer continues the bytes that are there."""
    answered = response.headers.get("Content-Range", "")
    if answered and re.match(rf"bytes {have}-", answered, re.IGNORECASE) is None:
        raise _WrongFileError(
            _lost(url, f"answers bytes '{printable(answered, 40)}' instead of those from {have} on")
        )


def _too_large(url: str) -> DownloadError:
    return _WrongFileError(
        f"{printable(url, URL_LENGTH)}: not the published file: larger than {LIMIT >> 20} MiB;"
        " nothing was kept"
    )


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener of http and https, also behind redirections and a proxy."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _open(url: str, have: int) -> HTTPResponse | None:
    """Request the bytes after the first `have`; return None if there are none."""
    headers = {"User-Agent": "sqgen", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http(s) was checked
        response: HTTPResponse = _opener().open(request, timeout=TIMEOUT)
        return response
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == HTTP_RANGE and have:
            return None
        reason = printable(f"{error.code} {error.reason.splitlines()[0] if error.reason else ''}")
        raise DownloadError(f"{printable(url, URL_LENGTH)}: {reason}; check the address") from None
    except urllib.error.URLError as error:
        raise DownloadError(_lost(url, error.reason)) from None
    except (OSError, HTTPException, ValueError) as error:
        raise DownloadError(_lost(url, error)) from None


def _chunks(response: HTTPResponse, url: str, have: int) -> Iterator[bytes]:
    """Yield what arrives, as it arrives.

    All errors are DownloadErrors, so that those of the connection and of the disk differ.
    """
    received, counted, since = 0, 0, time.monotonic()  # counted: received `since` the last check
    while True:
        try:
            chunk = response.read1(CHUNK)
        except (OSError, HTTPException) as error:
            raise DownloadError(_lost(url, error)) from None
        if not chunk:
            return
        received += len(chunk)
        counted += len(chunk)
        if have + received > LIMIT:
            raise _too_large(url)
        if time.monotonic() - since > SLOW_SECONDS:
            if counted < SLOW_BYTES:
                raise DownloadError(_lost(url, f"{counted} bytes in {SLOW_SECONDS:g} s"))
            counted, since = 0, time.monotonic()
        yield chunk


def _lost(url: str, reason: object) -> str:
    why = error_reason(reason) if isinstance(reason, OSError) else str(reason)
    return (
        f"{printable(url, URL_LENGTH)}: {printable(why) or type(reason).__name__}; run the"
        " same command to resume, or copy the file with --from FILE"
    )


def _copy(
    chunks: Iterator[bytes], out: BinaryIO, total: int | None, start: int, progress: StartBar
) -> int:
    """Write all chunks; return the number of bytes."""
    began, received = time.monotonic(), 0
    with progress(total or 0) as bar:
        for chunk in chunks:
            out.write(chunk)
            received += len(chunk)
            rate = received / max(time.monotonic() - began, 1e-3)
            bar.update(start + received, f"{bytes_text(int(rate))}/s")
        out.flush()
        os.fsync(out.fileno())
    return received
