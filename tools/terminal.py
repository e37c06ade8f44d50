"""Tables, numbers and colour on a terminal, plain text in a pipe."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from ..errors import OutputError
from ..text import printable

PIPE_CLOSED = 141  # what a shell says of a program that wrote to a closed pipe: 128 + SIGPIPE


def write(text: str | bytes) -> None:
    """Print to standard output as it is; ends the program where nobody reads any more.

    Raises:
        OutputError: standard output is closed.
    """
    if sys.stdout is None:
        raise OutputError("can't write the result: standard output is closed")
    try:
        click.echo(text, nl=False)
    except UnicodeEncodeError as error:
        raise OutputError(
            f"can't write the result: standard output is {error.encoding}, which has not all its"
            " characters; set PYTHONIOENCODING=utf-8"
        ) from None
    except BrokenPipeError:
        # No message, and none from the interpreter's exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(PIPE_CLOSED) from None


def echo(text: str = "", **style: Any) -> None:
    """Print a line to standard output; styled only on a terminal, and never under NO_COLOR."""
    coloured = sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    write((click.style(text, **style) if style and coloured else text) + "\n")


def warn(text: str) -> None:
    """Print a line to standard error."""
    click.echo(f"sqgen: warning: {printable(text, CELL)}", err=True)


CELL = 300  # characters of a cell that are shown


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


def parse_size(text: str) -> tuple[int, int]:
    """`--resize 256x256` as (height, width).

    Raises:
        click.UsageError: it is something else.
    """
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(s.isdecimal() and 0 < int(s) < 1 << 16 for s in sides):
        raise click.UsageError(f"--resize '{printable(text)}' is no HxW, such as 256x256")
    return int(sides[0]), int(sides[1])
