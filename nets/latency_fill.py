"""Fill a latency table: which points are measured, round by round, and what is left of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from ..progress import StartBar
from .latency_net import Point
from .latency_table import DIGITS, Grid, LatencyTable
from .timed_layers import LayerKind, TimedLayer

_SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4)  # of a layer's channels at which it is timed
_VECTOR, _TAIL = 16, 6  # channels; a pooling takes longest with odd ones, this is between
_MOST_BLOCKS = 16  # numbers of filters
_AGAIN = 2  # times

Measure = Callable[[Sequence[Point]], Sequence[float]]  # milliseconds


class LayerRange(NamedTuple):
    """A layer, and how few channels pruned nets may have of it."""

    layer: TimedLayer
    least_inputs: int
    least_outputs: int


def _input_knots(least: int, most: int, group: int, parts: int = 1) -> list[int]:
    """Return numbers of channels from the least to the most, at shares of the most.

    Those between leave a tail beside whole vectors in each part, as most numbers do: vectors alone
    take less, in a pooling half as long.
    """
    whole = _VECTOR * parts
    if least == most:
        return [most]
    if group > 1 or most <= 2 * whole:
        inner = [round(share * most / group) * group for share in _SHARES]
    else:
        inner = [_with_tail(share * most, parts) for share in _SHARES]
    return sorted({max(least, group), most, *(n for n in inner if least < n < most)})


def _with_tail(count: float, parts: int) -> int:
    """Return the number next to another of which each part is vectors and a tail."""
    whole, tail = _VECTOR * parts, _TAIL * parts
    return round((count - tail) / whole) * whole + tail


def _output_knots(least: int, most: int, block: int, group: int) -> list[int]:
    """Return numbers of filters: one in each of some blocks, in which all take about as long.

    But in the last block, that of all filters, few as pruned nets have all but some of it.
    """
    if block == 1 or group > 1 or least == most:
        return _input_knots(least, most, group)
    blocks = -(-most // block)
    first = -(-least // block)
    step = -(-blocks // _MOST_BLOCKS)
    chosen = {first, *range(blocks, first, -step)} - {blocks}
    return sorted({most, *(max(least, block * (number - 1) + _TAIL) for number in chosen)})


def add_layers(table: LatencyTable, ranges: Sequence[LayerRange]) -> list[tuple[LayerRange, Grid]]:
    """Add empty grids for the layers that a table lacks; return a layer for each grid to fill.

    All layers of a kind have one grid: so a net's time does not depend on what it was pruned from.
    """
    by_kind: dict[LayerKind, list[LayerRange]] = {}
    for each in ranges:
        by_kind.setdefault(each.layer.kind, []).append(each)
    return [(own[0], _grid_for(table, kind, own)) for kind, own in by_kind.items()]


def _grid_for(table: LatencyTable, kind: LayerKind, ranges: Sequence[LayerRange]) -> Grid:
    """Return the grid that serves all layers of a kind; a larger one than a table has is added."""
    layers = [each.layer for each in ranges]
    knots = [each[1:] for each in ranges]
    knots += [(layer.inputs, layer.outputs) for layer in layers]
    known = [grid for grid in table.grids if grid.kind == kind]
    for grid in known:
        if all(_reaches(grid, inputs, outputs) for inputs, outputs in knots):
            return grid
        knots += [(grid.inputs[place], grid.outputs[place]) for place in (0, -1)]
    least, most = (tuple(map(end, zip(*knots, strict=True))) for end in (min, max))
    group, parts = kind.number("group"), kind.number("parts")
    inputs = _input_knots(least[0], most[0], group, parts)
    outputs = _output_knots(least[1], most[1], table.block, group) if most[1] else [0]
    grid = Grid.empty(kind, inputs, outputs)
    table.grids.append(grid)
    return grid


def _reaches(grid: Grid, inputs: int, outputs: int) -> bool:
    """Whether a grid covers a point, or has one of less than a vector more below it."""
    firsts = grid.inputs[0], grid.outputs[0]
    is_low = all(a <= max(_VECTOR, b) for a, b in zip(firsts, (inputs, outputs), strict=True))
    return is_low and grid.covers(inputs, outputs)


def fill(
    table: LatencyTable,
    ranges: Sequence[LayerRange],
    measure: Measure,
    save: Callable[[], None],
    start_bar: StartBar,
    *,
    repeat: bool,
) -> int:
    """Measure what a table lacks; return the number of points measured.

    Each round times a point of each grid, in the order of the net, so that caches hold about what
    they hold when the whole net runs. Times that can't be right are measured again.

    Args:
        table: gets the times.
        ranges: the layers of the net.
        measure: times points.
        save: is called after each round.
        start_bar: shows rounds.
        repeat: whether a round times layers again of which all points are known.
    """
    rows = add_layers(table, ranges)
    rows.sort(key=lambda row: row[0].layer.indexes)
    grids = [grid for _, grid in rows]
    rounds = partial(_rounds, rows, measure, save, start_bar, repeat)
    measured = rounds([grid.missing for grid in grids])
    for _ in range(_AGAIN if measured else 0):  # other work on the machine only makes times longer
        rounds([grid.suspects for grid in grids])
    return measured


def _rounds(
    rows: Sequence[tuple[LayerRange, Grid]],
    measure: Measure,
    save: Callable[[], None],
    start_bar: StartBar,
    repeat: bool,
    wanted: Sequence[Sequence[tuple[int, int]]],
) -> int:
    """Time the wanted places of each grid, one of each a round; return how many there were."""
    count = max(map(len, wanted), default=0)
    with start_bar(count) as bar:
        for number in range(count):
            targets = []
            for (each, grid), places in zip(rows, wanted, strict=True):
                if number < len(places):
                    targets.append((each, grid, places[number], True))
                elif repeat:
                    row, column = divmod(number, len(grid.outputs))
                    targets.append((each, grid, (row % len(grid.inputs), column), False))
            points = [
                Point(each.layer, grid.inputs[row], grid.outputs[column])
                for each, grid, (row, column), _ in targets
            ]
            times = measure(points)
            for (_, grid, (row, column), is_wanted), ms in zip(targets, times, strict=True):
                if is_wanted:
                    known = grid.ms[row][column]
                    new = float(f"{ms:.{DIGITS}g}")  # as the file has it
                    grid.ms[row][column] = new if math.isnan(known) else min(new, known)
            save()
            bar.update(number + 1, f"{len(points)} layers")
    return sum(map(len, wanted))
