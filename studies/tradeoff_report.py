"""The trade-off of size and accuracy as a table."""

from __future__ import annotations

from collections.abc import Sequence

from ..report.table import table
from .tradeoff import Point


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
    largest = {name: max(point.noise(name) or 0.0 for point in points) for name in names}
    errors = [f"{name} +-{error:.2g}" for name, error in largest.items() if error]
    chance = f"; one standard error is at most {', '.join(errors)}" if errors else ""
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
