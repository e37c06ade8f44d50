"""Parse lists of images: a line a file, with a space and its label."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import FormatError
from ..text import printable

LIST_LIMIT = 1 << 30  # bytes
_LABEL = re.compile(r"\s*([+-]?)0*(\d+)", re.ASCII)
_DIGITS = 18  # of a label; a longer one is cut, and stays too large


class ListLine(NamedTuple):
    """A line of a list.

    Attributes:
        file: the image's name, empty if missing.
        label: 0 if missing.
        labelled: whether the line has a label.
        is_whole: whether the label is a whole number, of which nothing is cut off.
    """

    file: str
    label: int
    labelled: bool
    is_whole: bool


def parse_list(text: bytes, source: str) -> list[ListLine]:
    """Split each line of a list at its last space into file and label.

    Reads a label as Caffe does with C's atoi: 0 if it begins with no number.

    Args:
        text: the bytes of the list.
        source: its name, for the error.

    Raises:
        FormatError: the list has no lines, or a label of more than 32 bits.
    """
    lines = text.decode("utf-8", "surrogateescape").split("\n")
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise FormatError(f"{source}: an empty list; a line is: file label")
    return [_line(line, source, number) for number, line in enumerate(lines, 1)]


def _line(line: str, source: str, number: int) -> ListLine:
    file, space, last = line.rpartition(" ")
    label = _LABEL.match(last)
    if label is None:
        return ListLine(file if space else line, 0, False, False)
    is_whole = not last[label.end() :].strip()
    value = int(label[1] + label[2][:_DIGITS])
    if not -(1 << 31) <= value < 1 << 31:
        shown = printable(label.group().strip(), 40)
        raise FormatError(f"{source}: line {number}: label {shown}; Caffe takes 32 bits")
    return ListLine(file if space else line, value, True, is_whole)


def label_warnings(lines: Sequence[ListLine], source: str) -> list[str]:
    """Return warnings about labels that Caffe reads as other numbers than are written."""
    missing = [i for i, line in enumerate(lines, 1) if not line.labelled and line.file.strip()]
    cut = [i for i, line in enumerate(lines, 1) if line.labelled and not line.is_whole]
    warnings = []
    if missing:
        warnings.append(
            f"{source}: {len(missing)} lines don't end in a number, the first is line"
            f" {missing[0]}; their label is 0, as in Caffe"
        )
    if cut:
        warnings.append(
            f"{source}: {len(cut)} labels are no whole numbers, the first is in line {cut[0]} and"
            f" counts as {lines[cut[0] - 1].label}, as in Caffe"
        )
    return warnings
