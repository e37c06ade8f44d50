"""Curves as a picture, with matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import DesignError
from .curves import PANELS, RATE_PANEL, TIME, Curve
from .figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(runs: Sequence[tuple[str, Sequence[Curve]]], x: str, log_scale: bool) -> Figure:
    """A panel a kind of curve, every run in a colour of its own.

    Raises:
        DesignError: matplotlib is not installed, or there is nothing to draw.
    """
    panels = [panel for panel in PANELS if any(c.panel == panel for _, cs in runs for c in cs)]
    if not panels:
        raise DesignError("nothing to plot: no training rows in these logs")
    drawn = new_figure(8, 2.6 * len(panels) + 0.6)
    axes = drawn.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for panel, ax in zip(panels, axes, strict=True):
        for index, (name, curves) in enumerate(runs):
            styles = iter(("-", "--", ":", "-."))
            for curve in (curve for curve in curves if curve.panel == panel):
                label = f"{name}: {curve.label}" if len(runs) > 1 else curve.label
                colour = f"C{index}" if len(runs) > 1 else None
                alone = sum(map(math.isfinite, curve.ys)) == 1
                marker = "." if alone or (curve.test and len(curve.xs) < 60) else None
                style = next(styles, "-")
                ax.plot(curve.xs, curve.ys, style, color=colour, marker=marker, label=label)
        ax.set_ylabel(panel)
        ax.grid(alpha=0.3)
        ax.legend(fontsize="small")
        if log_scale and panel != "accuracy":
            ax.set_yscale("log")
        elif panel == RATE_PANEL:
            ax.set_ylim(bottom=0)
    axes[-1].set_xlabel("seconds" if x == TIME else "iteration")
    return drawn
