"""Reading with a limit, and writing whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ..errors import FormatError, OutputError
from ..text import printable

STDIN = "-"


def describe(error: Exception) -> str:
    """Why a file can't be opened: an OSError's reason without Python's number and quotes, or what
    else Python says, as of a name with a null."""
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return str(error)


def read_bytes(path: str | os.PathLike[str], limit: int, what: str = "a prototxt") -> bytes:
    """The bytes of a file, or of standard input for `-`.

    Args:
        path: the file.
        limit: bytes that it may have.
        what: what is expected of it, for the message that it has more.

    Raises:
        FormatError: it can't be read, is a folder, or holds more than `limit` bytes.
    """
    name = os.fspath(path)
    shown = "standard input" if name == STDIN else printable(name)
    try:
        if name == STDIN:
            if sys.stdin is None:
                raise FormatError("standard input is closed")
            data = sys.stdin.buffer.read(limit + 1)
        else:
            with open(name, "rb") as file:
                data = file.read(limit + 1)
    except IsADirectoryError:
        raise FormatError(f"{shown}: is a folder; give a file in it") from None
    except (OSError, ValueError) as error:
        reason = describe(error)
        raise FormatError(f"{shown}: {reason}; check the name") from None
    except MemoryError:
        raise FormatError(f"{shown}: does not fit into memory") from None
    if len(data) > limit:
        raise FormatError(f"{shown}: larger than {limit >> 20} MiB, which {what} never is")
    return data


def is_text(data: bytes) -> bool:
    """Whether bytes begin as text does, whatever its encoding."""
    head = data[:4096]
    return b"\0" not in head and all(byte >= 32 or byte in b"\t\n\r\f" for byte in head)


def write_files(files: Mapping[Path, bytes], force: bool = False) -> None:
    """Write every file whole, or none of them: temporary files, fsync, rename.

    Missing folders are made. A file that exists is refused unless `force`; a link is followed.

    Raises:
        OutputError: the first file that stands in the way, or can't be written.
    """
    temporaries: dict[Path, Path] = {}
    path = Path()
    try:
        for path in files:
            check_target(path, force)
        for path, data in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporaries[path] = _write_temporary(path, data)
        _put_in_place(temporaries, force)
    except FileExistsError as error:
        there = printable(str(error.filename or path))
        raise OutputError(f"{there}: is a file; give a folder that is, or can be made") from None
    except OSError as error:
        name = printable(str(path))
        raise OutputError(f"{name}: can't write: {describe(error)}; choose another place") from None
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def check_target(path: Path, force: bool) -> None:
    """Whether a file may be written there; `write_files` looks too, at the end of what it takes.

    Raises:
        OutputError: it may not.
    """
    name = printable(str(path))
    if not path.name:
        raise OutputError(f"'{name}' is no file's name")
    if path.is_dir():
        raise OutputError(f"{name}: is a folder; give a file's name")
    if os.path.lexists(path) and not force:
        raise OutputError(f"{name}: exists already; --force replaces it")
    if path.exists() and not path.is_file():
        raise OutputError(f"{name}: is a device or a pipe, and would be replaced; use > {name}")


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
    """Rename all; without `force`, a file that somebody made meanwhile undoes it."""
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
    """A rename that replaces nothing, where the file system can do that."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        temporary.replace(path)
