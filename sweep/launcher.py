"""Where runs go: what an engine does with them. All else about a run is in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from .study_file import Resources


class Ended(NamedTuple):
    """A run that no longer runs.

    Attributes:
        folder: of the run.
        why: what ended it, if it left no outcome.
        refused: whether the machine could not run it, as no other would: the study ends.
    """

    folder: Path
    why: str = ""
    refused: bool = False


class Job(NamedTuple):
    """What an engine is given.

    Attributes:
        root: folder of the study.
        title: of the study.
        resources: that each run takes.
        slots: how many may run at a time.
        python: the interpreter of the machines that run them.
    """

    root: Path
    title: str
    resources: Resources
    slots: int
    python: str


class Launcher(Protocol):
    """Starts `python -m sqgen.sweep.trial FOLDER` for each run, and says which have ended.

    It may die at any time: a run is in its folder, and may be started again.
    """

    def submit(self, folders: Sequence[Path]) -> None:
        """Take runs; none of them has ended.

        Raises:
            SqgenError: there is no such engine, or it refuses them.
        """

    def ended(self) -> list[Ended]:
        """Return the runs that have ended since the last call; start others in their places."""

    def stop(self) -> str:
        """End, after an interruption; return what goes on, in words, or nothing."""
