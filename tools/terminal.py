"""Tables, numbers and colour on a terminal, plain text in a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click


def echo(text: str = "", **style: Any) -> None:
    """Print a line to standard output; styled only on a terminal, and never under NO_COLOR."""
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    click.echo(click.style(text, **style) if style and coloured else text)


def warn(text: str) -> None:
    """Print a line to standard error."""
    click.echo(f"sqgen: warning: {text}", err=True)


def table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()
) -> list[str]:
    """The lines of a table: columns two spaces apart, those in `right` flush right."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = []
    for row in (heads, *rows):
        cells = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def bytes_text(count: int) -> str:
    """A size as a person says it: decimal units, as papers and disks use."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"


def parse_image(text: str | None) -> tuple[int, int, int] | None:
    """`--image 3x227x227` as (channels, height, width).

    Raises:
        click.UsageError: it is something else.
    """
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) != 3 or not all(side.isdecimal() and 0 < int(side) < 1 << 20 for side in sides):
        raise click.UsageError(f"--image {text}: write channels, height and width as 3x227x227")
    return (int(sides[0]), int(sides[1]), int(sides[2]))
