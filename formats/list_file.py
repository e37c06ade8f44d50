"""Lists of images, a line each: the file, a space, the label."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..errors import FormatError

LIST_LIMIT = 1 << 30  # bytes of a list
_LABEL = re.compile(r"\s*[+-]?\d+", re.ASCII)


class ListLine(NamedTuple):
    """A line: the file's name (empty where there is none), its label, and whether one is there."""

    file: str
    label: int
    labelled: bool


def parse_list(text: bytes, shown: str) -> list[ListLine]:
    """The lines of a list: what is before and after the last space of each.

    As in Caffe, a label is what C's atoi makes of it: 0 where there is no number.

    Args:
        text: the file's bytes.
        shown: its name in messages.

    Raises:
        FormatError: there are no lines.
    """
    lines = text.decode("utf-8", "surrogateescape").split("\n")
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise FormatError(f"{shown}: an empty list; a line is: file label")
    return [_line(line) for line in lines]


def _line(line: str) -> ListLine:
    file, space, last = line.rpartition(" ")
    found = _LABEL.match(last)
    return ListLine(file if space else line, int(found.group()) if found else 0, bool(found))
