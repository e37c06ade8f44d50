"""Progress callbacks: long tasks take one; `tools/` passes bars, and the default shows nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

# (number of items, their plural noun) -> context manager of a function to call once per item.
StartProgress = Callable[[int, str], AbstractContextManager[Callable[[], None]]]


class Bar(Protocol):
    """A progress bar with a known number of steps."""

    def update(self, step: int, text: str, trend: Sequence[float] = ()) -> None:
        """Move to `step` and show `text` beside the bar, and where there is room, a trend."""


# Number of steps (0 shows nothing) -> context manager of a bar.
StartBar = Callable[[int], AbstractContextManager[Bar]]


@contextmanager
def no_progress(total: int, items: str) -> Iterator[Callable[[], None]]:
    """Show nothing; a `StartProgress`."""
    yield lambda: None


class _NoBar:
    def update(self, step: int, text: str, trend: Sequence[float] = ()) -> None:
        pass


@contextmanager
def no_bar(total: int) -> Iterator[Bar]:
    """Show nothing; a `StartBar`."""
    yield _NoBar()
