"""Read files up to a size limit; write files atomically, all or none."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from io import DEFAULT_BUFFER_SIZE
from pathlib import Path
from typing import BinaryIO

from ..errors import FormatError, OutputError
from ..text import printable

STDIN = "-"
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_WEB_PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html)\b", re.I | re.S
)
_HEAD = 4096  # bytes that show what a file is
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
        FormatError: the file can't be read, is a folder, has more than `limit` bytes, or is a
            pointer or web page in place of the file.
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
    check_stand_in(data, shown, kind)
    if len(data) > limit:
        raise FormatError(f"{shown}: larger than {limit >> 20} MiB, which {kind} never is")
    return data


def check_stand_in(head: bytes, shown: str, kind: str) -> None:
    """Refuse what often lies in place of a file that was not fetched right.

    Args:
        head: the first bytes of the file.
        shown: its name, for messages.
        kind: what it should be.

    Raises:
        FormatError: it is the pointer of Git LFS, or a web page.
    """
    if head.startswith(_LFS_POINTER):
        raise FormatError(
            f"{shown}: is a pointer of Git LFS, not {kind}; fetch the file: git lfs pull"
        )
    if _WEB_PAGE.match(head[:_HEAD]):
        raise FormatError(
            f"{shown}: is a web page, not {kind}; download the file itself (on GitHub: Raw)"
        )


def is_text(data: bytes) -> bool:
    """Check whether bytes begin like text, in any encoding."""
    head = data[:_HEAD]
    return b"\0" not in head and all(byte >= 32 or byte in b"\t\n\r\f" for byte in head)


def write_files(files: Mapping[Path, bytes], force: bool = False) -> None:
    """Write every file completely, or none of them, as `NewFiles` does.

    Raises:
        OutputError: a file can't be written, or exists and `force` is not set.
    """
    for path in files:
        check_file_target(path, force)
    with NewFiles(force) as new:
        for path, data in files.items():
            new.open(path).write(data)


class NewFiles:
    """Files that appear together at the end of a `with` block, or not at all if it raises.

    Until then they have temporary names. Creates missing folders and follows links. An OSError of
    the block is that of writing.

    Raises:
        OutputError: a file can't be written, or exists and `force` is not set.
    """

    def __init__(self, force: bool = False) -> None:
        self._force = force
        self._files: dict[Path, BinaryIO] = {}
        self._temporaries: dict[Path, Path] = {}
        self._folders: list[Path] = []  # those that were missing, the outermost first
        self._latest = Path()

    def open(self, path: Path, buffer_size: int = DEFAULT_BUFFER_SIZE) -> BinaryIO:
        """Begin a file."""
        check_file_target(path, self._force)
        self._latest = path
        self._folders += reversed([folder for folder in path.parents if not folder.exists()])
        path.parent.mkdir(parents=True, exist_ok=True)
        target = _target(path)
        temporary = target.with_name(f".{target.name}.{os.urandom(4).hex()}.tmp")
        self._files[path] = open(temporary, "xb", buffer_size)  # noqa: SIM115 - discard closes it
        self._temporaries[path] = temporary
        return self._files[path]

    def discard(self, path: Path) -> None:
        """Remove a file that was begun."""
        with suppress(OSError):  # what is not written yet may find no space
            self._files.pop(path).close()
        self._temporaries.pop(path).unlink(missing_ok=True)

    def __enter__(self) -> NewFiles:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                self._place()
            elif isinstance(error, OSError):
                raise error
        except FileExistsError as exists:
            name = printable(str(exists.filename or self._latest))
            raise OutputError(
                f"{name}: is a file; give a folder that exists or can be made"
            ) from None
        except OSError as failed:
            name = printable(str(self._latest))
            raise OutputError(
                f"{name}: can't write: {error_reason(failed)}; choose another place"
            ) from None
        finally:
            for path in list(self._files):
                self.discard(path)
            for folder in reversed(self._folders):
                with suppress(OSError):  # it has files
                    folder.rmdir()

    def _place(self) -> None:
        """Sync and rename all; without `force`, undo it if one of the files has appeared."""
        for path, file in self._files.items():
            self._latest = path
            file.flush()
            os.fsync(file.fileno())
            file.close()
        placed: list[Path] = []
        try:
            for path, temporary in self._temporaries.items():
                if self._force:
                    temporary.replace(_target(path))
                else:
                    _link(temporary, path)
                    placed.append(path)
        except FileExistsError:
            for earlier in placed:
                earlier.unlink(missing_ok=True)
            name = printable(str(path))
            raise OutputError(f"{name}: exists already; --force replaces it") from None


def check_file_target(path: Path, force: bool) -> None:
    """Check, before long work, that `write_files` can write to `path` later.

    Raises:
        OutputError: it can't.
    """
    name = printable(str(path))
    if not path.name:
        raise OutputError(f"'{name}' is not a file name")
    if os.path.isdir(path):
        raise OutputError(f"{name}: is a folder; give a file's name")
    if os.path.lexists(path) and not force:
        raise OutputError(f"{name}: exists already; --force replaces it")
    if os.path.exists(path) and not os.path.isfile(path):
        raise OutputError(f"{name}: is a device or a pipe, which would be replaced; use > {name}")


def _target(path: Path) -> Path:
    """Return where a file is written: links are followed."""
    return path.resolve() if os.path.islink(path) else path


def _link(temporary: Path, path: Path) -> None:
    """Rename without replacing anything, where the file system can."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        temporary.replace(path)
