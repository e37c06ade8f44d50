"""A figure of training curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import DesignError
from .curves import PANELS, RATE_PANEL, TIME, Curve
from .figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_curves(runs: Sequence[tuple[str, Sequence[Curve]]], x: str, log_scale: bool) -> Figure:
    """Draw a panel per kind of curve, and each run in its own colour.

    Args:
        runs: names of runs, and their curves.
        x: `iterations` or `time`, as for `extract_curves`.
        log_scale: whether losses and learning rates have a logarithmic axis.

    Raises:
        DesignError: there is nothing to draw.
        MissingExtraError: matplotlib is not installed.
    """
    panels = [panel for panel in PANELS if any(c.panel == panel for _, cs in runs for c in cs)]
    if not panels:
        raise DesignError("nothing to plot: no training rows in these logs")
    figure = new_figure(8, 2.6 * len(panels) + 0.6)
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for panel, ax in zip(panels, axes, strict=True):
        for index, (name, curves) in enumerate(runs):
            _plot_run(
                ax,
                [curve for curve in curves if curve.panel == panel],
                f"{name}: " if len(runs) > 1 else "",
                f"C{index}" if len(runs) > 1 else None,
            )
        ax.set_ylabel(panel)
        ax.grid(alpha=0.3)
        ax.legend(fontsize="small")
        if log_scale and panel != "accuracy":
            ax.set_yscale("log")
        elif panel == RATE_PANEL:
            ax.set_ylim(bottom=0)
    axes[-1].set_xlabel("seconds" if x == TIME else "iteration")
    return figure


def _plot_run(ax: Axes, curves: Sequence[Curve], prefix: str, colour: str | None) -> None:
    """Plot one run's curves into a panel, each in its own line style."""
    styles = iter(("-", "--", ":", "-."))
    for curve in curves:
        is_point = sum(map(math.isfinite, curve.ys)) == 1
        marker = "." if is_point or (curve.test and len(curve.xs) < 60) else None
        label = prefix + curve.label
        ax.plot(curve.xs, curve.ys, next(styles, "-"), color=colour, marker=marker, label=label)
