"""Progress as callbacks: what a long task reports, and a listener that shows nothing.

Rooms that work take one of these; `tools/` passes what draws a bar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

# Given the number of items and what they are, in the plural; gives a function to call once an item.
StartProgress = Callable[[int, str], AbstractContextManager[Callable[[], None]]]


class Bar(Protocol):
    """A bar of a known number of steps."""

    def to(self, done: int, text: str) -> None:
        """Move to step `done`; `text` is worth knowing there."""


# Given the number of steps; 0 shows nothing.
StartBar = Callable[[int], AbstractContextManager[Bar]]


@contextmanager
def no_progress(total: int, items: str) -> Iterator[Callable[[], None]]:
    """A `StartProgress` that shows nothing."""
    yield lambda: None


class _NoBar:
    def to(self, done: int, text: str) -> None:
        pass


@contextmanager
def no_bar(total: int) -> Iterator[Bar]:
    """A `StartBar` that shows nothing."""
    yield _NoBar()
