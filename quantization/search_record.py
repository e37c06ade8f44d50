"""The journal of a search for bits, read: what was searched, and what was found so far."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..compress.bits_file import MAXIMUM_BITS
from ..errors import FormatError
from ..search.journal import Trial
from ..search.record import ChoiceTable, SearchRecord, read_record
from ..text import printable
from .layer_table import K_MEANS, STEPS
from .problem import FLOAT_BITS


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
        quantizer: of their weights.
        activations: bits of what all of them read; None where these are chosen, too: a choice has
            them after the level of the weights.
        training: a digest of that of each trial; empty without.
    """

    choice_name = "bits"
    layers: tuple[SearchedWeights, ...]
    quantizer: str = K_MEANS
    activations: int | None = FLOAT_BITS
    training: str = ""

    @property
    def chosen(self) -> int:
        """How many numbers a choice has for a layer."""
        return 2 if self.activations is None else 1

    def bits(self, trial: Trial) -> list[tuple[float, ...]]:
        """Return the bits of each layer's weights in a trial, and of what it reads, if chosen."""
        steps, each = STEPS[self.quantizer], self.chosen
        rows = zip(*(trial.choice[at::each] for at in range(each)), strict=True)
        return [(level if steps == 1 else level / steps, *read) for level, *read in rows]

    def choice_table(self, trial: Trial) -> ChoiceTable:
        """Return the bits of each layer in a trial."""
        bits = self.bits(trial)
        rows = [
            (layer.layer, f"{layer.weights:,}", *(f"{number:g}" for number in row))
            for layer, row in zip(self.layers, bits, strict=True)
        ]
        heads = ("layer", "weights", "bits", "activation bits")[: 2 + self.chosen]
        return ChoiceTable(heads, rows, [number for row in bits for number in row])


def read_quantization(path: str | os.PathLike[str]) -> QuantizationRecord:
    """Read the journal of a search that ended, was stopped, or goes on.

    Raises:
        FormatError: it is none, damaged, or of another format.
    """
    record = read_record(QuantizationRecord, path, "quantization")
    shown = printable(str(path))
    if record.quantizer not in STEPS:
        raise FormatError(f"{shown}: is of another version of sqgen, or damaged")
    most = MAXIMUM_BITS * STEPS[record.quantizer]
    for trial in record.tried:
        in_range = all(0 < level <= most for level in trial.choice)
        if len(trial.choice) != record.chosen * len(record.layers) or not in_range:
            raise FormatError(f"{shown}: has a trial of other layers; it is damaged")
    return record
