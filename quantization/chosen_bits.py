"""The file of bits that were chosen."""

from __future__ import annotations

from collections.abc import Mapping

from ..compress.bits_file import (
    SHARED,
    SYMMETRIC,
    BitsFile,
    QuantizerSettings,
    Range,
    pattern_of,
)
from .layer_table import ENTROPY, UNIFORM


def bits_file(
    quantizer: str,
    weights: Mapping[str, float],
    activations: Mapping[str, int],
    ranges: Mapping[str, Range],
) -> BitsFile:
    """Return the file with which a net computes as it was scored.

    Args:
        quantizer: of weights, one of `QUANTIZERS`.
        weights: layer -> its bits.
        activations: layer -> the bits of what it reads; none where that stays float.
        ranges: of what these layers read.
    """
    rules = {pattern_of(layer): bits for layer, bits in weights.items()}
    read = {pattern_of(layer): bits for layer, bits in activations.items()}
    if quantizer == ENTROPY:
        return BitsFile(entropy=rules, activations=read, ranges=ranges)
    kind = SYMMETRIC if quantizer == UNIFORM else SHARED
    settings = QuantizerSettings(weights=kind if read or kind == SYMMETRIC else None)
    return BitsFile({name: int(bits) for name, bits in rules.items()}, read, settings, ranges)
