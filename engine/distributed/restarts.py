"""Restarts of a training that lost a process, from the newest snapshot that it wrote."""

from __future__ import annotations

from ...errors import NetError
from ...formats.snapshot_files import complete_prefix, list_states, newest_snapshot
from ...nets.definition import parse_solver, read_text
from ...text import printable
from .. import glog
from .judge import Fault


class Restarts:
    """Counts the restarts of a training, and finds the snapshot that the next one starts from.

    Args:
        maximum: how many there may be.
        solver: the solver's file.
        stdin: the file with a solver from standard input, or "".

    Attributes:
        snapshot: the newest that this training wrote; "" where it wrote none.

    Raises:
        SqgenError: the solver can't be read.
    """

    def __init__(self, maximum: int, solver: str, stdin: str) -> None:
        self._left = self._maximum = maximum
        self.snapshot = ""
        self._prefix = _snapshot_prefix(solver, stdin)
        self._older = list_states(self._prefix)  # an earlier training's

    def allow(self, fault: Fault) -> bool:
        """Whether the training goes on after a fault; log from where."""
        if not fault.may_restart or not self._left:
            return False
        self._left -= 1
        found = newest_snapshot(self._prefix, self._older)
        self.snapshot = found.path if found is not None else ""
        start = printable(self.snapshot) or "the start"
        number = self._maximum - self._left
        glog.warning(f"{fault}; restart {number} of {self._maximum} from {start}")
        return True


def _snapshot_prefix(solver: str, stdin: str) -> str:
    if not solver:
        raise NetError("Need a solver definition to train. Give --solver=FILE")
    text, source = read_text(stdin or solver)
    param = parse_solver(text, source, [])
    complete_prefix(param, "" if stdin else solver)
    return str(param.snapshot_prefix)
