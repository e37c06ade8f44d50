"""How far a command is: a bar with rate and time left on a terminal, nothing in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from ...errors import printable

LINE = 600  # characters of a note that are shown
_CLEAR = "\r\x1b[K"


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[], None]]:
    """Gives the function to call once an item; `what` are the items, in the plural."""
    if not _on_terminal() or not total:
        yield lambda: None
        return
    start, done = time.monotonic(), 0
    bar: Any
    with click.progressbar(
        length=total,
        file=sys.stderr,
        item_show_func=lambda count: f"{count or 0:.0f} {what}/s",
        update_min_steps=max(1, min(100, total // 100)),
    ) as bar:

        def advance() -> None:
            nonlocal done
            done += 1
            bar.update(1, done / max(time.monotonic() - start, 1e-3))

        yield advance


def note(text: str) -> None:
    """A line on standard error, in place of a bar that is there."""
    click.echo((_CLEAR if _on_terminal() else "") + printable(text, LINE), err=True)


def _on_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()
