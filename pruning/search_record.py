"""The journal of a search for channels, read: what was searched, and what was found so far."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields

from ..errors import FormatError
from ..json_form import from_json
from ..search.journal import Trial, read_journal
from ..text import printable
from .decisions import round_up


@dataclass(frozen=True)
class SearchedLayers:
    """Layers that lose channels together, and how many they have."""

    layers: tuple[str, ...]
    channels: int


@dataclass(frozen=True)
class SearchRecord:
    """What a journal says of a search.

    Attributes:
        by: the method.
        trials: how many choices it tries at most.
        seed: of its random numbers.
        score: one of `agreement.SCORES`.
        budgets: as they are typed.
        round: of which the numbers of channels are multiples.
        decisions: of the net, in its order.
        tried: the trials so far.
    """

    by: str
    trials: int
    seed: int
    score: str
    budgets: tuple[str, ...]
    round: int
    decisions: tuple[SearchedLayers, ...]
    tried: Sequence[Trial] = ()

    @property
    def best(self) -> int | None:
        """The place of the best trial within the budget, of equals the first; None without one."""
        fitting = [place for place, trial in enumerate(self.tried) if trial.use <= 1]
        return min(fitting, key=lambda place: self.tried[place].score, default=None)

    def kept(self, trial: Trial) -> list[int]:
        """Return how many channels each decision keeps in a trial."""
        rows = zip(trial.choice, self.decisions, strict=True)
        return [round_up(count, self.round, each.channels) for count, each in rows]


def read_search(path: str | os.PathLike[str]) -> SearchRecord:
    """Read the journal of a search that ended, was stopped, or goes on.

    Raises:
        FormatError: it is none, damaged, or of another format.
    """
    about, trials = read_journal(path)
    names = {field.name for field in fields(SearchRecord)} - {"tried"}
    plain = {name: value for name, value in about.items() if name in names}
    shown = printable(str(path))
    try:
        read = from_json(SearchRecord, plain)
    except ValueError as error:
        raise FormatError(f"{shown}: is the journal of no pruning: {error}") from None
    sizes = [each.channels for each in read.decisions]
    for trial in trials:
        pairs = zip(trial.choice, sizes, strict=False)
        if len(trial.choice) != len(sizes) or not all(0 < c <= size for c, size in pairs):
            raise FormatError(f"{shown}: has a trial of other layers; it is damaged")
    if read.round < 1:
        raise FormatError(f"{shown}: has no multiple of channels; it is damaged")
    return SearchRecord(**{name: getattr(read, name) for name in names}, tried=trials)
