"""The journal of a search for channels, read: what was searched, and what was found so far."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..errors import FormatError
from ..search.journal import Trial
from ..search.record import ChoiceTable, SearchRecord, read_record
from ..text import printable
from .decisions import round_up


@dataclass(frozen=True)
class SearchedLayers:
    """Layers that lose channels together, and how many they have."""

    layers: tuple[str, ...]
    channels: int


@dataclass(frozen=True, kw_only=True)
class PruningRecord(SearchRecord):
    """What a journal says of a search for channels.

    Attributes:
        round: of which the numbers of channels are multiples.
        decisions: of the net, in its order.
    """

    choice_name = "kept"
    round: int
    decisions: tuple[SearchedLayers, ...]

    def kept(self, trial: Trial) -> list[int]:
        """Return how many channels each decision keeps in a trial."""
        rows = zip(trial.choice, self.decisions, strict=True)
        return [round_up(count, self.round, each.channels) for count, each in rows]

    def choice_table(self, trial: Trial) -> ChoiceTable:
        """Return how many channels layers keep in a trial; rows of those that lose some."""
        kept = self.kept(trial)
        rows = [
            (" + ".join(each.layers), f"{each.channels:,}", f"{count:,}")
            for each, count in zip(self.decisions, kept, strict=True)
            if count < each.channels
        ]
        return ChoiceTable(("layer", "channels", "kept"), rows, kept)


def read_search(path: str | os.PathLike[str]) -> PruningRecord:
    """Read the journal of a search that ended, was stopped, or goes on.

    Raises:
        FormatError: it is none, damaged, or of another format.
    """
    record = read_record(PruningRecord, path, "pruning")
    shown = printable(str(path))
    sizes = [each.channels for each in record.decisions]
    for trial in record.tried:
        pairs = zip(trial.choice, sizes, strict=False)
        if len(trial.choice) != len(sizes) or not all(0 < c <= size for c, size in pairs):
            raise FormatError(f"{shown}: has a trial of other layers; it is damaged")
    if record.round < 1:
        raise FormatError(f"{shown}: has no multiple of channels; it is damaged")
    return record
