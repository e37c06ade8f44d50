"""Output of commands: styled on a terminal, plain in a pipe; and sizes typed as 3x227x227."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import click

from ..errors import OutputError
from ..formats.files import error_reason
from ..text import escaped, printable

PIPE_CLOSED = 141  # a shell's exit code for a program that wrote to a closed pipe: 128 + SIGPIPE
WARNING = 300  # maximum characters of a warning


def write(text: str | bytes) -> None:
    """Print to standard output unchanged; exit with 141 if its reader has closed the pipe.

    Raises:
        OutputError: standard output is closed or full, or can't encode the text.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed")
    try:
        click.echo(text, nl=False)
    except UnicodeEncodeError as error:
        raise OutputError(
            f"standard output is {error.encoding}, which lacks some of the result's characters;"
            " set PYTHONIOENCODING=utf-8"
        ) from None
    except OSError as error:
        _refuse_output(error)


def flush() -> None:
    """Flush standard output; raises as `write` does."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _refuse_output(error)


def _refuse_output(error: OSError) -> NoReturn:
    """Turn the error of writing to standard output into an OutputError.

    Exits with 141 if its reader has closed the pipe.
    """
    if isinstance(error, BrokenPipeError):
        exit_on_closed_pipe()
    # The interpreter would flush the rest at its exit, and fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise OutputError(
        f"standard output: can't write: {error_reason(error)}; redirect it elsewhere"
    ) from None


def exit_on_closed_pipe() -> NoReturn:
    """Exit with 141; the interpreter flushes on exit, and would complain of standard output."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(PIPE_CLOSED) from None


def echo(text: str = "", **style: Any) -> None:
    """Print a line to standard output; styled only on a terminal, and never under NO_COLOR.

    Escapes control characters: a name in a file may hold an escape sequence.
    """
    text = escaped(text)
    coloured = sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    write((click.style(text, **style) if style and coloured else text) + "\n")


def print_lines(lines: Iterable[str]) -> None:
    """Print lines to standard output."""
    for line in lines:
        echo(line)


def terminal_width() -> int | None:
    """Return the columns of the terminal; None in a pipe, where nothing is shortened."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


def print_table(lines: Sequence[str]) -> None:
    """Print the lines of a table, its heads in bold."""
    echo(lines[0], bold=True)
    print_lines(lines[1:])


def print_json(plain: object) -> None:
    """Print plain data as JSON, in ASCII; nan and inf are the strings `nan`, `inf`, `-inf`."""
    from ..json_form import dumps  # slow to import

    write(dumps(plain))


def print_json_rows(rows: Iterable[object]) -> None:
    """Print plain data as a JSON list, each row as it comes."""
    from textwrap import indent

    from ..json_form import dumps  # slow to import

    before = "[\n"
    for row in rows:
        write(before + indent(dumps(row).rstrip(), "  "))
        before = ",\n"
    write("[]\n" if before == "[\n" else "\n]\n")


def print_csv_row(cells: Iterable[object]) -> None:
    """Print a row of CSV."""
    import csv
    import io

    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    write(line.getvalue())


def warn(*texts: str) -> None:
    """Print warnings to standard error."""
    for text in texts:
        click.echo(f"sqgen: warning: {printable(text, WARNING)}", err=True)


def parse_image(text: str | None) -> tuple[int, int, int] | None:
    """Parse `--image 3x227x227` into (channels, height, width); None stays None.

    Raises:
        click.UsageError: it is malformed.
    """
    if text is None:
        return None
    sides = _parse_sides(text)
    if len(sides) != 3:
        shown = printable(text)
        raise click.UsageError(f"--image {shown}: write channels, height and width as 3x227x227")
    return sides[0], sides[1], sides[2]


def _parse_sides(text: str) -> list[int]:
    """Parse numbers of up to six digits, joined by `x`; return none if one is malformed or 0."""
    sides = text.lower().split("x")
    if not all(re.fullmatch("[1-9][0-9]{0,5}", side) for side in sides):
        return []
    return [int(side) for side in sides]


def parse_size(text: str) -> tuple[int, int]:
    """Parse `--resize 256x256` into (height, width).

    Raises:
        click.UsageError: it is malformed.
    """
    sides = _parse_sides(text)
    if len(sides) != 2:
        raise click.UsageError(f"--resize '{printable(text)}' is no HxW, such as 256x256")
    from ..formats.images import check_size  # imports NumPy

    check_size(sides[0], sides[1], "--resize")
    return sides[0], sides[1]
