"""Read files up to a size limit; write files atomically, all or none."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from ..errors import FormatError, OutputError
from ..text import printable

STDIN = "-"
BINARY_LIMIT = (1 << 31) - 1  # bytes: protobuf's own


def error_reason(error: Exception) -> str:
    """Return why a file can't be opened: an OSError's text without its number and file name."""
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return str(error)


def display_name(path: str | os.PathLike[str]) -> str:
    """Return the name of a file for messages."""
    name = os.fspath(path)
    return "standard input" if name == STDIN else printable(name)


def read_bytes(path: str | os.PathLike[str], limit: int, kind: str = "a prototxt") -> bytes:
    """Read a file, or standard input for `-`.

    Args:
        path: the file.
        limit: the most bytes to accept.
        kind: what the file should be, for the error that it is too large.

    Raises:
        FormatError: the file can't be read, is a folder, or has more than `limit` bytes.
    """
    name = os.fspath(path)
    shown = display_name(path)
    try:
        if name == STDIN:
            if sys.stdin is None:
                raise FormatError("standard input is closed")
            data = sys.stdin.buffer.read(limit + 1)
        else:
            with open(name, "rb") as file:
                status = os.fstat(file.fileno())
                is_short = stat.S_ISREG(status.st_mode) and status.st_size <= limit
                # A limit allocates as many bytes before the first is read.
                data = file.read() if is_short else file.read(limit + 1)
    except IsADirectoryError:
        raise FormatError(f"{shown}: is a folder; give a file in it") from None
    except (OSError, ValueError) as error:
        reason = error_reason(error)
        raise FormatError(f"{shown}: {reason}; check the name") from None
    except MemoryError:
        raise FormatError(f"{shown}: does not fit into memory") from None
    if len(data) > limit:
        raise FormatError(f"{shown}: larger than {limit >> 20} MiB, which {kind} never is")
    return data


def is_text(data: bytes) -> bool:
    """Check whether bytes begin like text, in any encoding."""
    head = data[:4096]
    return b"\0" not in head and all(byte >= 32 or byte in b"\t\n\r\f" for byte in head)


def write_files(files: Mapping[Path, bytes], force: bool = False) -> None:
    """Write every file completely, or none of them: temporary files, fsync, rename.

    Creates missing folders and follows links.

    Raises:
        OutputError: a file can't be written, or exists and `force` is not set.
    """
    temporaries: dict[Path, Path] = {}
    path = Path()
    try:
        for path in files:
            check_file_target(path, force)
        for path, data in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporaries[path] = _write_temporary(path, data)
        _put_in_place(temporaries, force)
    except FileExistsError as error:
        name = printable(str(error.filename or path))
        raise OutputError(f"{name}: is a file; give a folder that exists or can be made") from None
    except OSError as error:
        name = printable(str(path))
        raise OutputError(
            f"{name}: can't write: {error_reason(error)}; choose another place"
        ) from None
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def check_file_target(path: Path, force: bool) -> None:
    """Check, before long work, that `write_files` can write to `path` later.

    Raises:
        OutputError: it can't.
    """
    name = printable(str(path))
    if not path.name:
        raise OutputError(f"'{name}' is not a file name")
    if path.is_dir():
        raise OutputError(f"{name}: is a folder; give a file's name")
    if os.path.lexists(path) and not force:
        raise OutputError(f"{name}: exists already; --force replaces it")
    if path.exists() and not path.is_file():
        raise OutputError(f"{name}: is a device or a pipe, which would be replaced; use > {name}")


def _write_temporary(path: Path, data: bytes) -> Path:
    target = path.resolve() if path.is_symlink() else path
    temporary = target.with_name(f".{target.name}.{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _put_in_place(temporaries: Mapping[Path, Path], force: bool) -> None:
    """Rename all; without `force`, undo it if one of the files has appeared meanwhile."""
    placed: list[Path] = []
    try:
        for path, temporary in temporaries.items():
            if force:
                temporary.replace(path.resolve() if path.is_symlink() else path)
            else:
                _link(temporary, path)
                placed.append(path)
    except FileExistsError:
        for path in placed:
            path.unlink(missing_ok=True)
        raise OutputError(f"{printable(str(path))}: exists already; --force replaces it") from None


def _link(temporary: Path, path: Path) -> None:
    """Rename without replacing anything, where the file system can."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        temporary.replace(path)
