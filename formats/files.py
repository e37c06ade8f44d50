"""Read files up to a size limit; write files atomically, all or none."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from io import DEFAULT_BUFFER_SIZE, BufferedWriter, FileIO
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import FormatError, OutputError
from ..text import printable

STDIN = "-"
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_WEB_PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html)\b", re.I | re.S
)
_HEAD = 4096  # bytes that show what a file is
BINARY_LIMIT = (1 << 31) - 1  # bytes: protobuf's own
_UNPACKED_ALWAYS, _UNPACKED_RATIO = 64 << 20, 100
_STEM = 230  # bytes of a name in its temporary one, which is longer; systems allow 255
_CHUNK = 1 << 20  # bytes read at a time where the size is unknown


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
            data = _read_up_to(sys.stdin.buffer, limit)
        else:
            with open(name, "rb") as file:
                status = os.fstat(file.fileno())
                size = status.st_size if stat.S_ISREG(status.st_mode) else None
                data = _read_up_to(file, limit, size)
    except IsADirectoryError:
        raise FormatError(f"{shown}: is a folder; give a file in it") from None
    except (OSError, ValueError) as error:
        hint = "; check the name"
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            from .near_path import missing_hint

            hint = missing_hint(name, "check the name", os.path.isfile)
        raise FormatError(f"{shown}: {error_reason(error)}{hint}") from None
    except MemoryError:
        raise FormatError(f"{shown}: does not fit into memory") from None
    if data is None:
        raise FormatError(f"{shown}: larger than {limit >> 20} MiB, which {kind} never is")
    check_stand_in(data, shown, kind)
    return data


def _read_up_to(file: BinaryIO, limit: int, size: int | None = None) -> bytes | None:
    """Return the bytes of a file, whose size may be known; None where it has more than `limit`.

    Reads in pieces, since `read(n)` allocates n bytes beforehand.
    """
    if size is not None and size > limit:
        return None
    pieces = [file.read(min(_CHUNK if size is None else size + 1, limit + 1))]
    total = len(pieces[0])
    while pieces[-1] and total <= limit:
        pieces.append(file.read(min(_CHUNK, limit + 1 - total)))
        total += len(pieces[-1])
    if total > limit:
        return None
    return pieces[0] if len(pieces) <= 2 else b"".join(pieces)


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


def unpacked_limit(size: int) -> int:
    """Return the most bytes that a file of weights of `size` bytes may take in memory.

    Weights pack to nine tenths, pruned ones to a tenth; a file that is to fill memory, to 1/1000.
    """
    return max(_UNPACKED_ALWAYS, _UNPACKED_RATIO * size)


def find_files(folder: str) -> Iterator[str]:
    """Yield the files below a folder, sorted, without those in or of names that begin with a dot.

    Raises:
        FormatError: a folder can't be read.
    """

    def refuse(error: OSError) -> None:
        raise unreadable_folder(error)

    for above, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield os.path.join(above, name)  # noqa: PTH118 - as the folder was typed


def unreadable_folder(error: OSError) -> FormatError:
    """Return the error of a folder that can't be listed."""
    name = printable(str(error.filename))
    return FormatError(f"{name}: {error_reason(error)}; check who may read it")


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

    Until then they have temporary names. Creates missing folders, and removes those that stay
    empty; follows links. A file that replaces another keeps its permissions.

    Raises:
        OutputError: a file can't be written, or exists and `force` is not set.
    """

    def __init__(self, force: bool = False) -> None:
        self._force = force
        self._files: dict[Path, _NewFile] = {}
        self._temporaries: dict[Path, Path] = {}
        self._folders: list[Path] = []

    def open(self, path: Path, buffer_size: int = DEFAULT_BUFFER_SIZE) -> BinaryIO:
        """Begin a file, whose methods raise an OutputError where it can't be written."""
        check_file_target(path, self._force)
        try:
            self._folders += missing_folders(path.parent)
            path.parent.mkdir(parents=True, exist_ok=True)
            target = link_target(path)
            stem = os.fsdecode(os.fsencode(target.name)[:_STEM])
            temporary = target.with_name(f".{stem}.{os.urandom(4).hex()}.tmp")
            self._files[path] = _NewFile(path, temporary, _mode(target), buffer_size)
        except FileExistsError as error:
            raise _no_folder(str(error.filename)) from None
        except OSError as error:
            raise _write_error(path, error) from None
        self._temporaries[path] = temporary
        return self._files[path]

    def discard(self, path: Path) -> None:
        """Remove a file that was begun."""
        with suppress(OutputError):  # what is not written yet may find no space
            self._files.pop(path).close()
        self._temporaries.pop(path).unlink(missing_ok=True)

    def __enter__(self) -> NewFiles:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                self._place()
        finally:
            for path in list(self._files):
                self.discard(path)
            remove_empty(self._folders)

    def _place(self) -> None:
        """Sync and rename all; without `force`, undo it if one of the files has appeared."""
        for file in self._files.values():
            file.sync()
        placed: list[Path] = []
        try:
            for path, temporary in self._temporaries.items():
                if self._force:
                    temporary.replace(link_target(path))
                else:
                    _link(temporary, path)
                    placed.append(path)
        except FileExistsError:
            for earlier in placed:
                earlier.unlink(missing_ok=True)
            name = printable(str(path))
            raise OutputError(f"{name}: exists already; --force replaces it") from None
        except OSError as error:
            raise _write_error(path, error) from None


class _NewFile(BufferedWriter):
    """A file under a temporary name; its errors are those of the file that it will be.

    Args:
        path: that file.
        temporary: the name until then.
        mode: permissions; None leaves them to the umask.
        buffer_size: bytes.
    """

    def __init__(self, path: Path, temporary: Path, mode: int | None, buffer_size: int) -> None:
        self._path = path
        created = 0o666 if mode is None else mode

        def create(name: str, flags: int) -> int:
            return os.open(name, flags, created)

        super().__init__(FileIO(temporary, "x", opener=create), buffer_size)
        if mode is not None:
            with suppress(OSError):  # a file system without permissions
                temporary.chmod(mode)

    def write(self, data: Any, /) -> int:
        """Write bytes."""
        try:
            return super().write(data)
        except OSError as error:
            raise _write_error(self._path, error) from None

    def close(self) -> None:
        """Close the file."""
        try:
            super().close()
        except OSError as error:
            raise _write_error(self._path, error) from None

    def sync(self) -> None:
        """Flush the file to disk and close it."""
        try:
            self.flush()
            os.fsync(self.fileno())
        except OSError as error:
            raise _write_error(self._path, error) from None
        self.close()


def _write_error(path: Path, error: OSError | ValueError) -> OutputError:
    name = printable(str(path))
    return OutputError(f"{name}: can't write: {error_reason(error)}; choose another place")


def missing_folders(folder: Path) -> list[Path]:
    """Return those of a folder and the folders above it that are not there, the deepest first."""
    return [each for each in (folder, *folder.parents) if not os.path.exists(each)]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove those of some folders that are empty; the deepest come first."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def check_file_target(path: Path, force: bool) -> None:
    """Check, before long work, that `write_files` can write to `path` later.

    Raises:
        OutputError: it can't.
    """
    name = printable(str(path))
    if not path.name:
        raise OutputError(f"'{name}' is not a file name")
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        _check_folder(path)
        return
    except (OSError, ValueError) as error:
        raise _write_error(path, error) from None
    if os.path.isdir(path):
        raise OutputError(f"{name}: is a folder; give a file's name")
    if not force:
        raise OutputError(f"{name}: exists already; --force replaces it")
    if os.path.exists(path) and not os.path.isfile(path):
        raise OutputError(f"{name}: is a device or a pipe, which would be replaced; use > {name}")


def _check_folder(path: Path) -> None:
    """Check that the folder of a file is one, or can be made, and takes files."""
    folder = next(each for each in (path.parent, *path.parent.parents) if os.path.exists(each))
    if not os.path.isdir(folder):
        raise _no_folder(folder)
    if not os.access(folder, os.W_OK):
        raise _write_error(path, OSError(errno.EACCES, os.strerror(errno.EACCES)))


def _no_folder(path: Path | str) -> OutputError:
    return OutputError(
        f"{printable(str(path))}: is a file; give a folder that exists or can be made"
    )


def link_target(path: Path) -> Path:
    """Return what a link names, or else the path itself."""
    return path.resolve() if os.path.islink(path) else path


def _mode(path: Path) -> int | None:
    """Return the permissions of a file; None where there is none."""
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        return None


def _link(temporary: Path, path: Path) -> None:
    """Rename without replacing anything, where the file system can."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        temporary.replace(path)
