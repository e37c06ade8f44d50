"""Progress on standard error: a bar on a terminal, a line now and then in a pipe."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import click

from ..text import escaped, printable, wrapped
from .sparkline import BARS, NOT_FINITE, sparkline

COLUMNS = 80  # assumed width of a terminal that does not report one
LINE = 600  # maximum characters of a note
PLAIN_INTERVAL = 30.0  # seconds between two lines in a pipe
BAR_WIDTH = 16  # characters
AROUND_BAR = 24  # characters around the bar: the percentage and the time left
_CLEAR = "\r\x1b[K"


def on_terminal() -> bool:
    """Return whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def print_note(text: str) -> None:
    """Print a line to standard error, in place of a bar there; on a terminal, cut at spaces."""
    line = printable(text, LINE)
    if on_terminal():
        line = _CLEAR + "\n".join(wrapped(line, _columns()))
    click.echo(line, err=True)


@contextmanager
def item_progress(total: int, items: str) -> Iterator[Callable[[], None]]:
    """Show a bar with a rate; a `StartProgress`. In a pipe it prints nothing.

    Args:
        total: number of items.
        items: their plural noun.

    Yields:
        A function to call once per item.
    """
    with ProgressBar(total, plain_interval=None) as bar:
        start, count = time.monotonic(), 0

        def advance() -> None:
            nonlocal count
            count += 1
            bar.update(count, f"{count / max(time.monotonic() - start, 1e-3):.0f} {items}/s")

        yield advance


class ProgressBar:
    """A progress bar of a known number of steps; a context manager.

    Args:
        total: number of steps; 0 shows nothing.
        plain_interval: seconds between two lines in a pipe; None prints none.
    """

    def __init__(self, total: int, plain_interval: float | None = PLAIN_INTERVAL) -> None:
        self._total = total
        self._plain_interval = plain_interval
        self._bar: Any = None
        self._step = 0
        self._start = self._last_line = time.monotonic()

    def __enter__(self) -> ProgressBar:
        if on_terminal() and self._total:
            self._bar = click.progressbar(
                length=self._total,
                file=sys.stderr,
                width=_bar_width(),
                item_show_func=_fit_to_line,
                update_min_steps=max(1, min(100, self._total // 100)),
            )
            self._bar.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        if self._bar is not None:
            with suppress(OSError):
                self._bar.__exit__(*details)

    def update(self, step: int, text: str, trend: Sequence[float] = ()) -> None:
        """Move to `step` and show `text` beside the bar; ignore a terminal that went away.

        On a terminal, a sparkline of `trend` goes before the text.
        """
        with suppress(OSError):
            self._update(step, text, trend)

    def _update(self, step: int, text: str, trend: Sequence[float]) -> None:
        if self._bar is not None:
            spark = sparkline(trend) if len(trend) > 1 and can_print(BARS + NOT_FINITE) else ""
            self._bar.update(step - self._step, f"{spark} {text}".lstrip())
            self._step = step
        elif self._plain_interval is not None and self._total and not on_terminal():
            now = time.monotonic()
            if now - self._last_line >= self._plain_interval:
                self._last_line = now
                left = (now - self._start) * (self._total - step) / max(step, 1)
                print_note(f"{step} of {self._total}: {text}, {_duration_text(left)} left")


def can_print(characters: str) -> bool:
    """Return whether standard error's encoding has these characters."""
    try:
        characters.encode(sys.stderr.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _fit_to_line(text: str | None) -> str | None:
    """Escape the text, and cut it to the terminal's width: a bar that wraps can't be redrawn."""
    room = _columns() - _bar_width() - AROUND_BAR
    return text if text is None else escaped(text)[: max(0, room)]


def _bar_width() -> int:
    return max(1, min(BAR_WIDTH, _columns() - AROUND_BAR))


def _columns() -> int:
    """Return the width of standard error's terminal; `shutil` asks standard output's."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or COLUMNS
    except (OSError, ValueError):
        return COLUMNS


def _duration_text(seconds: float) -> str:
    """Format a duration in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
