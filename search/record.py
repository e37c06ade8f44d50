"""The journal of a search, read: what was searched for, and what was found so far."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar, NamedTuple, TypeVar

from ..errors import FormatError
from ..json_form import from_json
from ..text import printable
from .journal import Trial, read_journal


class ChoiceTable(NamedTuple):
    """A choice as a table, and as plain data.

    Attributes:
        heads, rows: of the table; the first column has names.
        chosen: of each decision, as much as its trial really takes.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    chosen: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class SearchRecord:
    """What a journal says of a search.

    Attributes:
        by: the method.
        trials: how many choices it tries at most.
        seed: of its random numbers.
        score: what it made small.
        budgets: as they are typed.
        tried: the trials so far.
        choice_name: of what is chosen, in JSON.
    """

    choice_name: ClassVar[str]
    by: str
    trials: int
    seed: int
    score: str
    budgets: tuple[str, ...]
    tried: Sequence[Trial] = ()

    @property
    def best(self) -> int | None:
        """The place of the best trial within the budget, of equals the first; None without one."""
        fitting = [place for place, trial in enumerate(self.tried) if trial.use <= 1]
        return min(fitting, key=lambda place: self.tried[place].score, default=None)

    def choice_table(self, trial: Trial) -> ChoiceTable:
        """Return what a trial chooses; each kind of search has its own."""
        raise NotImplementedError


Record = TypeVar("Record", bound=SearchRecord)


def read_record(kind: type[Record], path: str | os.PathLike[str], name: str) -> Record:
    """Read the journal of a search that ended, was stopped, or goes on.

    Args:
        kind: with fields for what the journal has.
        path: of the journal.
        name: of what was searched for, for errors.

    Raises:
        FormatError: it is none, damaged, or of another format or kind.
    """
    about, trials = read_journal(path)
    names = {field.name for field in fields(kind)} - {"tried"}
    plain = {key: value for key, value in about.items() if key in names}
    try:
        record = from_json(kind, plain)
    except ValueError as error:
        shown = printable(str(path))
        raise FormatError(f"{shown}: is the journal of no {name}: {error}") from None
    return replace(record, tried=trials)
