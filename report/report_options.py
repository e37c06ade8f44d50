"""What a report is asked to show, besides its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..text import escaped
from .page import Section


@dataclass(frozen=True)
class ReportOptions:
    """Options of `sqgen report`.

    Attributes:
        sources: files and folders as typed.
        class_names: of the net's classes in their order, or None.
        more: sections on what is reported beside the runs.
    """

    sources: Sequence[str] = ()
    class_names: Sequence[str] | None = None
    more: Sequence[Section] = ()

    def class_text(self, number: int) -> str:
        """Return a class's number and its name, if known."""
        names = self.class_names
        return (
            str(number)
            if names is None or number >= len(names)
            else f"{number} {escaped(names[number])}"
        )
