"""The trade-off of size and accuracy as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..report.table import table
from .retrained_pairs import Pair, pair_files
from .tradeoff import TOP1, Point

NO_NUMBER = "not a number"


def format_tradeoff(points: Sequence[Point], width: int | None = None) -> list[str]:
    """Return the lines of the table, the weights before compression first.

    A retrained file stands beside the one that it started from, a line for each score.

    `width` is that of the terminal.
    """
    pairs = pair_files(points)
    make = _paired_table if any(pair.retrained for pair in pairs) else _plain_table
    return [*make(pairs, points[0], width), _noise(points)]


def _plain_table(pairs: Sequence[Pair[Point]], before: Point, width: int | None) -> list[str]:
    names = list(before.scores)
    heads = ["weights", "bytes", "smaller", *(h for name in names for h in (name, "change"))]
    rows = [
        [
            *_size_cells(pair.encoded, before),
            *(cell for name in names for cell in _score_cells(name, pair.encoded, before)),
        ]
        for pair in pairs
    ]
    return table(heads, rows, right=range(1, len(heads)), width=width)


def _paired_table(pairs: Sequence[Pair[Point]], before: Point, width: int | None) -> list[str]:
    heads = ["weights", "bytes", "smaller", "score", "encoded only", "retrained", "change", "p"]
    rows = [row for pair in pairs for row in _pair_rows(pair, before)]
    return table(heads, rows, right=(1, 2, 4, 5, 6, 7), width=width, optional=(2,))


def _pair_rows(pair: Pair[Point], before: Point) -> Iterator[list[str]]:
    first = [pair.name, *_size_cells(pair.last, before)[1:]]
    for name in before.scores:
        encoded, _ = _score_cells(name, pair.encoded, before)
        cells = ["", "", ""]
        if pair.retrained is not None:
            p_value = pair.retrained.p_value if name == TOP1 else None
            cells = [
                *_score_cells(name, pair.retrained, pair.encoded),
                "" if p_value is None else f"{p_value:.2g}",
            ]
        yield [*first, name, encoded, *cells]
        first = ["", "", ""]


def _noise(points: Sequence[Point]) -> str:
    before = points[0]
    names = before.scores
    largest = {name: max(point.noise(name) or 0.0 for point in points) for name in names}
    errors = [f"{name} +-{error:.2g}" for name, error in largest.items() if error]
    chance = f"; one standard error is at most {', '.join(errors)}" if errors else ""
    return f"{before.images:,} images{chance}"


def _size_cells(point: Point, before: Point) -> list[str]:
    return [point.name, f"{point.bytes:,}", f"{before.bytes / point.bytes:.1f} x"]


def _score_cells(name: str, point: Point, start: Point) -> list[str]:
    """Return a score and its change from another file."""
    score, other = point.scores.get(name), start.scores.get(name)
    if score is None:
        return [NO_NUMBER, ""]
    has_change = other is not None and point is not start
    change = f"{score.value - other.value:+.4g}" if has_change and other else ""
    return [f"{score.value:.6g}", change]
