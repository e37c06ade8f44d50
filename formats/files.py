"""Reading with a limit, and writing whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ..errors import FormatError, OutputError, printable

STDIN = "-"


def describe(error: OSError) -> str:
    """The reason of an OSError, without Python's number and quotes."""
    return (error.strerror or str(error)).lower()


def read_bytes(path: str | os.PathLike[str], limit: int | None = None) -> bytes:
    """The bytes of a file, or of standard input for `-`.

    Raises:
        FormatError: it can't be read, is a folder, or holds more than `limit` bytes.
    """
    name = os.fspath(path)
    size = -1 if limit is None else limit + 1
    try:
        if name == STDIN:
            data = sys.stdin.buffer.read(size)
        else:
            with open(name, "rb") as file:
                data = file.read(size)
    except IsADirectoryError:
        raise FormatError(f"{printable(name)}: is a folder; give a file in it") from None
    except (OSError, ValueError) as error:
        reason = describe(error) if isinstance(error, OSError) else str(error)
        raise FormatError(f"{printable(name)}: {reason}") from None
    if limit is not None and len(data) > limit:
        raise FormatError(
            f"{printable(name)}: larger than {limit >> 20} MiB, which no prototxt of layers is; "
            "weights belong in a .caffemodel"
        )
    return data


def _write_temporary(path: Path, data: bytes) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def write_files(files: Mapping[Path, bytes], force: bool = False) -> None:
    """Write every file whole, or none of them: temporary files, fsync, rename.

    Missing folders are made. A file that exists is refused unless `force`.

    Raises:
        OutputError: the first file that stands in the way, or can't be written.
    """
    if not force:
        for path in files:
            if os.path.lexists(path):
                raise OutputError(f"{printable(str(path))}: exists already; --force replaces it")
    temporaries: dict[Path, Path] = {}
    path = Path()
    try:
        for path, data in files.items():
            if path.is_dir():
                raise OutputError(f"{printable(str(path))}: is a folder; give a file's name")
            path.parent.mkdir(parents=True, exist_ok=True)
            temporaries[path] = _write_temporary(path, data)
        for path, temporary in temporaries.items():
            temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{printable(str(path))}: can't write: {describe(error)}") from None
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)
