"""Fire modules and their filters (Iandola et al., arXiv:1602.07360, section 5.1).

Fire module i (0 for fire2) has

    e_i = base_e + incr_e * floor(i / freq)      expand filters
    e_i * pct3x3                                 of them 3x3, the rest 1x1
    s_i = SR * e_i                               squeeze filters

Other sizes, such as those of a pruned net, are listed module by module.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from .design_fields import DesignFields, FireSizes


class Fire(NamedTuple):
    """The filters of one Fire module."""

    module: int
    inputs: int
    squeeze: int
    expand1x1: int
    expand3x3: int

    @property
    def outputs(self) -> int:
        """Channels after the concat."""
        return self.expand1x1 + self.expand3x3

    @property
    def sizes(self) -> FireSizes:
        """As in a design's `fires`."""
        return self.squeeze, self.expand1x1, self.expand3x3


def fire_modules(design: DesignFields, inputs: int) -> tuple[Fire, ...]:
    """Return the filters of every Fire module of a design.

    Args:
        design: the sizes, or the metaparameters.
        inputs: input channels of the first module.
    """
    fires = []
    for module, sizes in enumerate(design.fires or _regular_sizes(design), start=2):
        fires.append(Fire(module, inputs, *sizes))
        inputs = fires[-1].outputs
    return tuple(fires)


def _regular_sizes(design: DesignFields) -> list[FireSizes]:
    sizes = []
    for i in range(design.fire_modules):
        expand = design.base_e + design.incr_e * (i // design.freq)
        expand3x3 = round_half_up(expand * design.pct3x3)
        sizes.append((round_half_up(expand * design.squeeze_ratio), expand - expand3x3, expand3x3))
    return sizes


def round_half_up(value: float) -> int:
    """Round to a whole number of filters, halves up; 1e-9 absorbs binary rounding."""
    return math.floor(value + 0.5 + 1e-9)
