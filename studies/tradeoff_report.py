"""The trade-off of size and accuracy as a table and as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..logs.scores import LOSS
from ..report.figures import figure_label, new_figure
from ..report.table import table
from .tradeoff import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def format_tradeoff(points: Sequence[Point], width: int | None = None) -> list[str]:
    """Return the lines of the table, the weights before compression first.

    `width` is that of the terminal.
    """
    before = points[0]
    names = list(before.scores)
    heads = ["weights", "bytes", "smaller", *(h for name in names for h in (name, "change"))]
    rows = [
        [
            point.name,
            f"{point.bytes:,}",
            f"{before.bytes / point.bytes:.1f} x",
            *(cell for name in names for cell in _score_cells(name, point, before)),
        ]
        for point in points
    ]
    errors = [f"{n} +-{error:.2g}" for n in names if (error := before.noise(n))]
    chance = f"; by chance alone (one standard error): {', '.join(errors)}" if errors else ""
    return [
        *table(heads, rows, right=range(1, len(heads)), width=width),
        f"{before.images:,} images{chance}",
    ]


def _score_cells(name: str, point: Point, before: Point) -> list[str]:
    """Return a score and its change."""
    score = point.scores.get(name)
    if score is None:
        return ["not a number", ""]
    change = "" if point is before else f"{score.value - before.scores[name].value:+.4g}"
    return [f"{score.value:.6g}", change]


def draw_tradeoff(points: Sequence[Point]) -> Figure:
    """Draw accuracies against bytes with their standard errors, those before as lines.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    before, after = points[0], sorted(points[1:], key=lambda point: point.bytes)
    figure = new_figure(7, 4.5)
    axes = figure.subplots()
    names = [name for name, score in before.scores.items() if score.role != LOSS]
    for index, name in enumerate(names):
        scored = [point for point in after if name in point.scores]
        _plot_score(axes, name, scored, before, f"C{index}")
        if index == 0:
            _annotate(axes, name, scored)
    axes.margins(x=0.12, y=0.12)
    axes.set_xlabel("kB")
    axes.set_ylabel(f"accuracy of {before.images:,} images")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure


def _plot_score(axes: Axes, name: str, points: Sequence[Point], before: Point, colour: str) -> None:
    axes.errorbar(
        [point.bytes / 1000 for point in points],
        [point.scores[name].value for point in points],
        yerr=before.noise(name) or None,
        color=colour,
        fmt="o",
        capsize=3,
        label=figure_label(name),
    )
    label = f"{figure_label(name)} before ({before.bytes / 1000:,.0f} kB)"
    axes.axhline(before.scores[name].value, color=colour, linestyle="--", label=label)


def _annotate(axes: Axes, name: str, points: Sequence[Point]) -> None:
    for point in points:
        place = (point.bytes / 1000, point.scores[name].value)
        axes.annotate(
            figure_label(point.name),
            place,
            xytext=(4, 6),
            textcoords="offset points",
            size=7,
            rotation=30,
        )
