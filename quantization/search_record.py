"""The journal of a search for bits, read: what was searched, and what was found so far."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..compress.bits_file import MAXIMUM_BITS, MINIMUM_BITS
from ..errors import FormatError
from ..search.journal import Trial
from ..search.record import ChoiceTable, SearchRecord, read_record
from ..text import printable


@dataclass(frozen=True)
class SearchedWeights:
    """A layer whose bits are chosen, and its number of weights."""

    layer: str
    weights: int


@dataclass(frozen=True, kw_only=True)
class QuantizationRecord(SearchRecord):
    """What a journal says of a search for bits.

    Attributes:
        layers: of the net whose bits are chosen, in its order.
    """

    choice_name = "bits"
    layers: tuple[SearchedWeights, ...]

    def choice_table(self, trial: Trial) -> ChoiceTable:
        """Return the bits of each layer in a trial."""
        pairs = zip(self.layers, trial.choice, strict=True)
        rows = [(each.layer, f"{each.weights:,}", f"{bits}") for each, bits in pairs]
        return ChoiceTable(("layer", "weights", "bits"), rows, list(trial.choice))


def read_quantization(path: str | os.PathLike[str]) -> QuantizationRecord:
    """Read the journal of a search that ended, was stopped, or goes on.

    Raises:
        FormatError: it is none, damaged, or of another format.
    """
    record = read_record(QuantizationRecord, path, "quantization")
    for trial in record.tried:
        in_range = all(MINIMUM_BITS <= bits <= MAXIMUM_BITS for bits in trial.choice)
        if len(trial.choice) != len(record.layers) or not in_range:
            shown = printable(str(path))
            raise FormatError(f"{shown}: has a trial of other layers; it is damaged")
    return record
