"""What compression costs, as sections of a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..report.page import Block, Cell, Charts, Section, Table, Text
from ..text import number_text
from .layer_charts import layer_charts
from .retrained_pairs import Pair
from .tradeoff_chart import tradeoff_chart
from .tradeoff_table import MeasuredPoint, Tradeoff


def tradeoff_sections(table: Tradeoff) -> list[Section]:
    """Return the sections: size against accuracy, and the layers where they were measured."""
    chart = [Charts([tradeoff_chart(table)])] if table.accuracies and table.after else []
    blocks: list[Block] = [*chart, _table(table), *_noise(table)]
    layers = layer_charts({point.name: point.layers for point in table.after})
    sections = [Section("Size against accuracy", "tradeoff", blocks)]
    return sections + ([Section("Layers", "layers", layers)] if layers else [])


def _table(table: Tradeoff) -> Table:
    if any(pair.retrained for pair in table.pairs):
        return _paired_table(table)
    names = list(table.before.scores)
    heads = ["weights", "bytes", "smaller", *(head for name in names for head in (name, "change"))]
    rows = [[*_size(point), *_scores(table, point)] for point in table.points]
    return Table(heads, rows, range(1, len(heads)))


def _size(point: MeasuredPoint) -> list[str | Cell]:
    smaller = Cell(f"{point.times_smaller:.1f} x", point.times_smaller)
    return [point.name, Cell(f"{point.bytes:,}", point.bytes), smaller]


def _scores(table: Tradeoff, point: MeasuredPoint) -> Iterator[str]:
    for name in table.before.scores:
        value, change = point.scores.get(name), point.changes.get(name)
        yield _score_text(value)
        yield "" if change is None or point is table.before else f"{change:+.4g}"


def _paired_table(table: Tradeoff) -> Table:
    """Return a table with each retrained file beside the one that it started from."""
    names = list(table.before.scores)
    scores = (h for name in names for h in (f"{name}, encoded only", "retrained", "change"))
    has_p = any(point.p_value is not None for point in table.points)
    heads = ["weights", "bytes", "smaller", *scores, *(["p"] if has_p else [])]
    rows: list[list[str | Cell]] = []
    for pair in table.pairs:
        _, *size = _size(pair.last)
        p_value = pair.last.p_value
        rows.append([pair.name, *size, *_pair_scores(names, pair)])
        if has_p:
            rows[-1].append("" if p_value is None else Cell(f"{p_value:.2g}", p_value))
    return Table(heads, rows, range(1, len(heads)))


def _pair_scores(names: Sequence[str], pair: Pair[MeasuredPoint]) -> Iterator[str]:
    for name in names:
        yield _score_text(pair.encoded.scores.get(name))
        if pair.retrained is None:
            yield from ("", "")
            continue
        gain = pair.retrained.gains.get(name)
        yield _score_text(pair.retrained.scores.get(name))
        yield "" if gain is None else f"{gain:+.4g}"


def _score_text(value: float | None) -> str:
    return "not a number" if value is None else number_text(value)


def _noise(table: Tradeoff) -> Iterator[Text]:
    names = table.before.standard_errors
    largest = {n: max(p.standard_errors.get(n, 0.0) for p in table.points) for n in names}
    each = ", ".join(f"{name} ± {error:.2g}" for name, error in largest.items() if error)
    if each:
        yield Text(f"{table.images:,} images; one standard error is at most {each}.", "note")
