"""The names of classes in a text file, a line each, by label."""

from __future__ import annotations

import os
from pathlib import Path

from ..text import printable
from .files import read_bytes
from .lmdb_reader import LABELS_FILE

_LIMIT = 16 << 20  # bytes


def read_class_names(path: str | os.PathLike[str]) -> list[str]:
    """Read the names, printable; bytes that are not UTF-8 are replaced.

    Raises:
        FormatError: the file can't be read.
    """
    lines = read_bytes(path, _LIMIT, "a list of classes").splitlines()
    return [printable(line.decode(errors="replace").strip()) for line in lines]


def read_lmdb_class_names(lmdb: str | os.PathLike[str]) -> list[str] | None:
    """Read the names that `sqgen data create` wrote beside an LMDB; None without any.

    Raises:
        FormatError: the file can't be read.
    """
    path = Path(lmdb) / LABELS_FILE
    return read_class_names(path) if path.is_file() else None
