"""The names of classes in a text file, a line each, by label."""

from __future__ import annotations

import os

from ..text import printable
from .files import read_bytes

CLASS_NAMES_LIMIT = 16 << 20  # bytes


def read_class_names(path: str | os.PathLike[str]) -> list[str]:
    """Read the names, printable; bytes that are not UTF-8 are replaced.

    Raises:
        FormatError: the file can't be read.
    """
    lines = read_bytes(path, CLASS_NAMES_LIMIT, "a list of classes").splitlines()
    return [printable(line.decode(errors="replace").strip()) for line in lines]
