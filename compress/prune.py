"""Pruning: which weights of a layer are left, by magnitude."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np

from ..errors import FormatError
from ..formats import toml
from ..formats.files import read_bytes
from ..text import printable

_FILE_LIMIT = 1 << 20


class Rule(NamedTuple):
    """The share of weights to keep, 0 to 1, in layers whose names match a shell pattern."""

    pattern: str
    density: float


# Table 1 of the SqueezeNet paper; layers that it keeps whole are left out. Each convolution has
# two names: SqueezeNet's, and that of the published Deep Compression net.
_SQUEEZE, _EXPAND1, _EXPAND3 = (
    ("squeeze1x1", "conv1x1_1"),
    ("expand1x1", "conv1x1_2"),
    ("expand3x3", "conv3x3_2"),
)
_TABLE_1 = [
    *((f"fire{m}", _EXPAND3, 0.33) for m in range(2, 8)),
    *((f"fire{m}", _EXPAND3, 0.30) for m in (8, 9)),
    *((f"fire{m}", _EXPAND1, 0.50) for m in (6, 8)),
    *((f"fire{m}", _SQUEEZE, 0.50) for m in (7, 9)),
]
PAPER = (
    *(Rule(f"{module}/{name}", density) for module, names, density in _TABLE_1 for name in names),
    Rule("conv10", 0.20),
    Rule("conv_final", 0.20),
)


def density_of(name: str, rules: Sequence[Rule]) -> float | None:
    """What the first rule that matches a layer's name asks for; None where none does."""
    return next((rule.density for rule in rules if fnmatchcase(name, rule.pattern)), None)


def read_rules(path: str) -> tuple[Rule, ...]:
    """The rules of a TOML file: `"fire*/expand3x3" = 0.33`, a line each; the first match counts.

    Raises:
        FormatError: it can't be read, or a line is something else.
    """
    shown = printable(path)
    table = toml.parse(read_bytes(path, _FILE_LIMIT, "a table of densities"), path)
    rules = []
    for pattern, density in table.items():
        if isinstance(density, bool) or not isinstance(density, (int, float)):
            raise FormatError(f"{shown}: '{printable(pattern)}' takes a number from 0 to 1")
        if not 0 <= density <= 1:
            raise FormatError(f"{shown}: '{printable(pattern)}' is {density}; give 0 to 1")
        rules.append(Rule(pattern, float(density)))
    if not rules:
        raise FormatError(f'{shown}: has no densities; write "fire*/expand3x3" = 0.33')
    return tuple(rules)


def prune(weights: np.ndarray, density: float) -> np.ndarray:
    """The weights with all but the largest |w| set to 0: round(density * size) stay.

    Of equal magnitudes the first stay. Zeros that are there don't come back.
    """
    keep = round(density * weights.size)
    flat = weights.reshape(-1)
    if keep >= np.count_nonzero(flat):
        return weights
    order = np.argsort(-np.abs(flat), kind="stable")
    kept = np.zeros_like(flat)
    kept[order[:keep]] = flat[order[:keep]]
    return kept.reshape(weights.shape)
