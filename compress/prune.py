"""Prune a layer's weights by magnitude, to a density from a table of rules."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np

from ..errors import FormatError
from ..formats import toml
from ..text import printable
from ..weights.magnitude import largest_mask

EXAMPLE = '"fire*/expand3x3" = 0.33'


class DensityRule(NamedTuple):
    """The density, 0 to 1, of layers whose names match a shell pattern."""

    pattern: str
    density: float


# Table 1 of the SqueezeNet paper, without the layers that it does not prune. Each convolution has
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
PAPER_RULES = (
    *(
        DensityRule(f"{module}/{name}", density)
        for module, names, density in _TABLE_1
        for name in names
    ),
    DensityRule("conv10", 0.20),
    DensityRule("conv_final", 0.20),
)


def find_density(name: str, rules: Sequence[DensityRule]) -> float | None:
    """Return the density of the first rule that matches a layer's name, or None."""
    return next((rule.density for rule in rules if fnmatchcase(name, rule.pattern)), None)


def read_rules(path: str) -> tuple[DensityRule, ...]:
    """Read rules such as `"fire*/expand3x3" = 0.33` from a TOML file; the first match applies.

    Raises:
        FormatError: the file can't be read, or has anything else.
    """
    shown = printable(path)
    rules = []
    for pattern, density in toml.read_rules(path, "densities", EXAMPLE).items():
        if isinstance(density, bool) or not isinstance(density, (int, float)):
            raise FormatError(f"{shown}: '{printable(pattern)}' takes a number from 0 to 1")
        if not 0 <= density <= 1:
            raise FormatError(f"{shown}: '{printable(pattern)}' is {density}; give 0 to 1")
        rules.append(DensityRule(pattern, float(density)))
    return tuple(rules)


def prune(weights: np.ndarray, density: float) -> np.ndarray:
    """Set all but the round(density * size) weights of largest magnitude to 0.

    Of equal magnitudes, the first stay.
    """
    keep = round(density * weights.size)
    if keep >= np.count_nonzero(weights):
        return weights
    return np.where(largest_mask(weights, keep), weights, weights.dtype.type(0))
