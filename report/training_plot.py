"""A figure of training curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from ..errors import DesignError
from .curves import ACCURACY_PANEL, PANELS, RATE_PANEL, TIME, Curve
from .figures import figure_label, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Colour = str | tuple[float, float, float, float]
Style = Literal["-", "--", ":", "-."]

WIDTH, PANEL_HEIGHT = 8.0, 2.6  # inches
LEGEND_WIDTH, LEGEND_HANDLE = 92, 6  # characters of its font: all of it, the line before a name
LINE_HEIGHT = 0.19  # inches of a line of a legend
STYLES: tuple[Style, ...] = ("-", "--", ":", "-.")
FEW = 10  # colours of matplotlib's cycle
GREY = "0.3"


def draw_curves(runs: Sequence[tuple[str, Sequence[Curve]]], x: str, log_scale: bool) -> Figure:
    """Draw a panel per kind of curve, and each run in its own colour.

    Runs are named below the panels, and the curves of a panel inside it.

    Args:
        runs: names of runs, and their curves; those without curves are left out.
        x: `iterations` or `time`, as for `extract_curves`.
        log_scale: whether losses and learning rates have a logarithmic axis.

    Raises:
        DesignError: there is nothing to draw.
        MissingExtraError: matplotlib is not installed.
    """
    runs = [(figure_label(name), curves) for name, curves in runs if curves]
    panels = [panel for panel in PANELS if any(c.panel == panel for _, cs in runs for c in cs)]
    if not panels:
        raise DesignError("nothing to plot: no training rows in these logs")
    columns = max(1, LEGEND_WIDTH // (max(len(name) for name, _ in runs) + LEGEND_HANDLE))
    legend = LINE_HEIGHT * math.ceil(len(runs) / columns) if len(runs) > 1 else 0.0
    figure = new_figure(WIDTH, PANEL_HEIGHT * len(panels) + 0.6 + legend)
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    colours = _run_colours(len(runs))
    for panel, ax in zip(panels, axes, strict=True):
        shown = [[curve for curve in curves if curve.panel == panel] for _, curves in runs]
        _draw_panel(ax, panel, shown, colours)
        if log_scale and panel != ACCURACY_PANEL:
            ax.set_yscale("log")
        elif panel == RATE_PANEL:
            ax.set_ylim(bottom=0)
    figure.align_ylabels()
    axes[-1].set_xlabel("seconds" if x == TIME else "iteration")
    if len(runs) > 1:
        lines = [_sample(name, c) for (name, _), c in zip(runs, colours, strict=True)]
        figure.legend(
            handles=lines,
            loc="outside lower center",
            ncols=columns,
            fontsize="small",
            frameon=False,
        )
    return figure


def _run_colours(count: int) -> Sequence[Colour]:
    """Return a colour per run: of few, each has a name; of many, neighbours are alike."""
    from matplotlib import colormaps

    if count <= FEW:
        return [f"C{index}" for index in range(count)]
    return [colormaps["turbo"](0.05 + 0.9 * index / (count - 1)) for index in range(count)]


def _draw_panel(
    ax: Axes, panel: str, runs: Sequence[Sequence[Curve]], colours: Sequence[Colour]
) -> None:
    """Draw the curves of a panel: a line style per label; a colour per run, or else per label."""
    labels = list(dict.fromkeys(curve.label for curves in runs for curve in curves))
    styles = {label: STYLES[index % len(STYLES)] for index, label in enumerate(labels)}
    of_label = {label: f"C{index % FEW}" for index, label in enumerate(labels)}
    for curves, colour in zip(runs, colours, strict=True):
        for curve in curves:
            ax.plot(
                curve.xs,
                curve.ys,
                styles[curve.label],
                color=of_label[curve.label] if len(runs) == 1 else colour,
                marker="." if _has_markers(curve, len(runs)) else None,
                linewidth=1.5 if len(runs) == 1 else 1.0,
            )
    ax.set_ylabel(panel)
    ax.grid(alpha=0.3)
    if labels != [panel]:
        lines = [
            _sample(figure_label(label), of_label[label] if len(runs) == 1 else GREY, styles[label])
            for label in labels
        ]
        # Away from the ends of curves: losses fall, accuracies rise.
        is_rising = panel == ACCURACY_PANEL
        ax.legend(
            handles=lines, loc="lower right" if is_rising else "upper right", fontsize="small"
        )


def _has_markers(curve: Curve, runs: int) -> bool:
    if sum(map(math.isfinite, curve.ys)) == 1:
        return True
    return curve.test and len(curve.xs) < 60 and runs <= FEW


def _sample(label: str, colour: Colour, style: Style = "-") -> Line2D:
    """Return a line for a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, linestyle=style, label=label)
