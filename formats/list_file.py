"""Parse lists of images: a line a file, with a space and its label."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..errors import FormatError

LIST_LIMIT = 1 << 30  # bytes
_LABEL = re.compile(r"\s*([+-]?)0*(\d+)", re.ASCII)
_DIGITS = 18  # of a label; a longer one is cut, and stays too large for any use


class ListLine(NamedTuple):
    """A line of a list.

    Attributes:
        file: the image's name, empty if missing.
        label: 0 if missing.
        labelled: whether the line has a label.
    """

    file: str
    label: int
    labelled: bool


def parse_list(text: bytes, source: str) -> list[ListLine]:
    """Split each line of a list at its last space into file and label.

    Reads a label as Caffe does with C's atoi: 0 if it begins with no number.

    Args:
        text: the bytes of the list.
        source: its name, for the error.

    Raises:
        FormatError: the list has no lines.
    """
    lines = text.decode("utf-8", "surrogateescape").split("\n")
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise FormatError(f"{source}: an empty list; a line is: file label")
    return [_line(line) for line in lines]


def _line(line: str) -> ListLine:
    file, space, last = line.rpartition(" ")
    label = _LABEL.match(last)
    value = int(label[1] + label[2][:_DIGITS]) if label else 0
    return ListLine(file if space else line, value, bool(label))
