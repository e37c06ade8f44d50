"""How far a command is: a bar on a terminal, now and then a line in a pipe; with the time left."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

import click

from ..text import printable

COLUMNS = 80  # where a terminal does not tell
LINE = 600  # characters of a note that are shown
PLAIN_EVERY = 30.0  # seconds between two lines in a pipe
BAR = 24  # characters
AROUND = 24  # characters around the bar: the percentage and the time left
_CLEAR = "\r\x1b[K"


def on_terminal() -> bool:
    """Whether standard error is one."""
    return sys.stderr is not None and sys.stderr.isatty()


def note(text: str) -> None:
    """A line on standard error, in place of a bar that is there."""
    click.echo((_CLEAR if on_terminal() else "") + printable(text, LINE), err=True)


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[], None]]:
    """Gives the function to call once an item; `what` are the items, in the plural.

    In a pipe it says nothing.
    """
    with Progress(total, plain_every=None) as bar:
        start, done = time.monotonic(), 0

        def advance() -> None:
            nonlocal done
            done += 1
            bar.to(done, f"{done / max(time.monotonic() - start, 1e-3):.0f} {what}/s")

        yield advance


class Progress:
    """A bar of `total` steps; a context manager.

    Args:
        total: steps; 0 shows nothing.
        plain_every: seconds between two lines where standard error is no terminal; None is never.
    """

    def __init__(self, total: int, plain_every: float | None = PLAIN_EVERY) -> None:
        self._total = total
        self._plain_every = plain_every
        self._bar: Any = None
        self._at = 0
        self._start = self._told = time.monotonic()

    def __enter__(self) -> Progress:
        if on_terminal() and self._total:
            self._bar = click.progressbar(
                length=self._total,
                file=sys.stderr,
                width=_bar_width(),
                item_show_func=_fitting,
                update_min_steps=max(1, min(100, self._total // 100)),
            )
            self._bar.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            with suppress(OSError):
                self._bar.__exit__(kind, error, at)

    def to(self, done: int, text: str) -> None:
        """Stand at step `done`; `text` is what is worth knowing there.

        A terminal that has gone away is no error.
        """
        with suppress(OSError):
            self._to(done, text)

    def _to(self, done: int, text: str) -> None:
        if self._bar is not None:
            self._bar.update(done - self._at, text)
            self._at = done
        elif self._plain_every is not None and self._total and not on_terminal():
            now = time.monotonic()
            if now - self._told >= self._plain_every:
                self._told = now
                left = (now - self._start) * (self._total - done) / max(done, 1)
                note(f"{done} of {self._total}: {text}, {_duration(left)} left")


def _fitting(text: str | None) -> str | None:
    """As much of a text as the terminal's line has room for: a longer line could not be redrawn."""
    room = _columns() - _bar_width() - AROUND
    return text if text is None else text[: max(0, room)]


def _bar_width() -> int:
    return max(1, min(BAR, _columns() - AROUND))


def _columns() -> int:
    """Of the terminal that the bar is on; `shutil` knows that of standard output alone."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or COLUMNS
    except (OSError, ValueError):
        return COLUMNS


def _duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
