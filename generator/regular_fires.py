"""Find the metaparameters of section 5.1 that make given sizes of Fire modules, if any do.

A design whose sizes follow from them says so in a few words, however it was made: a net from which
pruning takes half of every layer is `--base-e 64 --incr-e 64`.
"""

from __future__ import annotations

from collections.abc import Sequence

from .design_fields import DesignFields, FireSizes
from .fire import round_half_up
from .validation import RANGES

_DIGITS = 15  # as many decimals as a double holds for sure


def regular_fields(sizes: Sequence[FireSizes], near: DesignFields) -> dict[str, float] | None:
    """Return the fields `fire_modules` to `squeeze_ratio` that make these sizes; None: none do.

    Args:
        sizes: of each Fire module.
        near: a field keeps the value that it has here, if that makes the sizes too.
    """
    expands = [expand1x1 + expand3x3 for _, expand1x1, expand3x3 in sizes]
    steps = _steps(expands, near)
    pct3x3 = _share([expand3x3 for _, _, expand3x3 in sizes], expands, near.pct3x3)
    ratio = _share([squeeze for squeeze, _, _ in sizes], expands, near.squeeze_ratio)
    if steps is None or pct3x3 is None or ratio is None:
        return None
    return {"fire_modules": len(sizes), **steps, "pct3x3": pct3x3, "squeeze_ratio": ratio}


def _steps(expands: Sequence[int], near: DesignFields) -> dict[str, int] | None:
    """Return base_e, incr_e and freq of `base_e + incr_e * (i // freq)`."""
    base = expands[0]
    for freq in (near.freq, *range(1, len(expands) + 1)):
        # Without a second step, any increment will do.
        incr = expands[freq] - base if freq < len(expands) else near.incr_e
        fields = {"base_e": base, "incr_e": incr, "freq": freq}
        inside = all(RANGES[name][0] <= value <= RANGES[name][1] for name, value in fields.items())
        if inside and all(e == base + incr * (i // freq) for i, e in enumerate(expands)):
            return fields
    return None


def _share(parts: Sequence[int], wholes: Sequence[int], near: float) -> float | None:
    """Return the share, of as few decimals as possible, that makes each part of its whole."""

    def fits(share: float) -> bool:
        pairs = zip(parts, wholes, strict=True)
        return share <= 1 and all(round_half_up(whole * share) == part for part, whole in pairs)

    if fits(near):
        return near
    minimum = max((part - 0.5) / whole for part, whole in zip(parts, wholes, strict=True))
    maximum = min((part + 0.5) / whole for part, whole in zip(parts, wholes, strict=True))
    middle = (minimum + maximum) / 2
    return next(filter(fits, (round(middle, digits) for digits in range(1, _DIGITS + 1))), None)
