"""Where runs go: what an engine does with them. All else about a run is in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from .study_tables import Resources


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

    def stop(self, *, cancel: bool) -> str:
        """End, after an interruption or an error.

        Args:
            cancel: whether runs that could go on without this process must end, too.

        Returns:
            What goes on, as the end of a sentence, or nothing.
        """


def last_message(stderr: bytes) -> str:
    """Return the last line that a command of sqgen printed, without the program's name."""
    text = stderr.decode(errors="replace").strip()
    return text.rpartition("\n")[2].removeprefix("sqgen: ")


REFUSED = 3  # exit code of a run's process: this machine can't run it, which is no outcome of it
_NOT_FOUND = (126, 127)  # a shell's exit codes for a program that can't be started


def is_unfit(code: int, last: str) -> bool:
    """Return whether a machine can't run any run, by how the process of one ended."""
    is_missing = code == 1 and "No module named" in last and "sqgen" in last
    is_missing |= "execve()" in last  # of srun
    return code == REFUSED or code in _NOT_FOUND or is_missing
