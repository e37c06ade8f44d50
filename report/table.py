"""Plain-text tables."""

from __future__ import annotations

from collections.abc import Sequence

from ..text import printable

CELL = 300  # characters; a longer cell is shortened


def table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()
) -> list[str]:
    """Return the lines of a table: columns two spaces apart, those in `right` flush right."""
    rows = [[printable(cell, CELL) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = []
    for row in (heads, *rows):
        cells = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
