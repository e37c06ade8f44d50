"""Plain-text tables."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import zip_longest
from textwrap import wrap

from ..text import printable

CELL = 300  # characters; a longer cell is shortened
HEAD = 10  # characters that the head of a column of numbers keeps
GAP = "  "  # between columns
MINIMUM = 12  # characters that a column of text keeps, where it has to be narrowed


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[int] = (),
    width: int | None = None,
    optional: Sequence[int] = (),
) -> list[str]:
    """Return the lines of a table; see `table_rows`."""
    return [line for lines in table_rows(heads, rows, right, width, optional) for line in lines]


def table_rows(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[int] = (),
    width: int | None = None,
    optional: Sequence[int] = (),
) -> list[list[str]]:
    """Return the lines of each row of a table, its heads first.

    Args:
        heads: of the columns.
        rows: of cells.
        right: numbers of the columns that are flush right: those of numbers, which stay whole.
        width: of the terminal. To fit it, text is wrapped, and words are shortened in the middle.
        optional: numbers of the columns to leave out before that, the first first.
    """
    cells = [[printable(cell, CELL) for cell in row] for row in (heads, *rows)]
    columns = [
        _Column([row[index] for row in cells], index in right) for index in range(len(heads))
    ]
    if width is not None:
        shown = dict(enumerate(columns))
        for index in optional:
            if _excess(shown.values(), width) > 0:
                del shown[index]
        columns = list(shown.values())
        _narrow(columns, width)
    return [_row_lines(row, columns) for row in range(len(cells))]


class _Column:
    """A column: its cells, head first, how wide it is, and how narrow it may become."""

    def __init__(self, cells: Sequence[str], right: bool) -> None:
        self.cells, self.right = cells, right
        self.width = max(map(len, cells))
        head = min(len(cells[0]), HEAD)
        self.minimum = max([head, *map(len, cells[1:])]) if right else MINIMUM


def _excess(columns: Collection[_Column], width: int) -> int:
    return sum(column.width + len(GAP) for column in columns) - len(GAP) - width


def _narrow(columns: Sequence[_Column], width: int) -> None:
    """Take from the widest columns what is too much, as far as their minimums allow."""
    for _ in range(_excess(columns, width)):
        widest = max(columns, key=lambda column: column.width * (column.width > column.minimum))
        if widest.width <= max(1, widest.minimum):
            return
        widest.width -= 1


def _row_lines(row: int, columns: Sequence[_Column]) -> list[str]:
    wrapped = [_wrap(column.cells[row], column.width) for column in columns]
    lines = []
    for parts in zip_longest(*wrapped, fillvalue=""):
        padded = [
            part.rjust(column.width) if column.right else part.ljust(column.width)
            for part, column in zip(parts, columns, strict=True)
        ]
        lines.append(GAP.join(padded).rstrip())
    return lines


def _wrap(cell: str, width: int) -> list[str]:
    if len(cell) <= width:
        return [cell]
    return wrap(" ".join(_shorten(word, width) for word in cell.split()), width)


def _shorten(word: str, width: int) -> str:
    """Leave out the middle of a word that is too long."""
    if len(word) <= width:
        return word
    kept = max(width - 2, 1)  # beside two dots
    return f"{word[: (kept + 1) // 2]}..{word[len(word) - kept // 2 :]}"[:width]
