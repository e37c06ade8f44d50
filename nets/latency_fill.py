"""Fill a latency table: which points are measured, round by round, and what is left of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..progress import StartBar
from .latency_net import Point
from .latency_table import DIGITS, Grid, LatencyTable
from .timed_layers import TimedLayer

_SHARES = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)  # of a layer's channels at which it is timed
_MULTIPLE = 8  # of which these are
_MOST_BLOCKS = 16  # numbers of filters

Measure = Callable[[Sequence[Point]], Sequence[float]]  # milliseconds


class LayerRange(NamedTuple):
    """A layer, and how few channels pruned nets may have of it."""

    layer: TimedLayer
    least_inputs: int
    least_outputs: int


def _input_knots(least: int, most: int, group: int = 1) -> list[int]:
    """Return numbers of channels from the least to the most, at shares of the most."""
    multiple = _MULTIPLE * group if most >= 4 * _MULTIPLE * group else group
    inner = [round(share * most / multiple) * multiple for share in _SHARES[:-1]]
    return sorted({max(least, group), most, *(n for n in inner if least < n < most)})


def _output_knots(least: int, most: int, block: int, group: int) -> list[int]:
    """Return numbers of filters: multiples of blocks, which take the same time within each."""
    if block == 1 or group > 1 or least == most:
        return _input_knots(least, most, group)
    blocks = -(-most // block)
    step = -(-blocks // _MOST_BLOCKS)
    rows = {min(most, block * number) for number in range(blocks, 0, -step)}
    return sorted({*rows, min(most, -(-least // block) * block)})


def add_layers(table: LatencyTable, ranges: Sequence[LayerRange]) -> list[tuple[LayerRange, Grid]]:
    """Add empty grids for the layers that a table lacks; return a layer for each grid to fill.

    The largest layer of a kind serves the smaller ones.
    """
    largest = sorted(ranges, key=lambda each: -each.layer.inputs * max(1, each.layer.outputs))
    found: dict[int, tuple[LayerRange, Grid]] = {}
    for each in largest:
        layer = each.layer
        grid = next((g for g in table.grids if g.kind == layer.kind and _serves(g, each)), None)
        if grid is None:
            group = int(str(dict(layer.kind.settings).get("group", 1)))
            outputs = [0]
            if layer.outputs:
                outputs = _output_knots(each.least_outputs, layer.outputs, table.block, group)
            grid = Grid.empty(
                layer.kind, _input_knots(each.least_inputs, layer.inputs, group), outputs
            )
            table.grids.append(grid)
        found.setdefault(id(grid), (each, grid))
    return list(found.values())


def _serves(grid: Grid, each: LayerRange) -> bool:
    """Whether a grid reaches from the least channels of a layer to all of them."""
    least = (each.least_inputs, each.least_outputs)
    first = (grid.inputs[0], grid.outputs[0])
    is_low = all(low <= max(16, count) for low, count in zip(first, least, strict=True))
    return grid.covers(each.layer.inputs, each.layer.outputs) and is_low


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
    they hold when the whole net runs.

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
    missing = [grid.missing for _, grid in rows]
    rounds = max(map(len, missing), default=0)
    measured = 0
    with start_bar(rounds) as bar:
        for number in range(rounds):
            points, targets = [], []
            for (each, grid), places in zip(rows, missing, strict=True):
                known = [(r, c) for r in range(len(grid.inputs)) for c in range(len(grid.outputs))]
                is_new = number < len(places)
                if is_new or repeat:
                    row, column = places[number] if is_new else known[number % len(known)]
                    points.append(Point(each.layer, grid.inputs[row], grid.outputs[column]))
                    targets.append((grid, row, column) if is_new else None)
            for target, ms in zip(targets, measure(points), strict=True):
                if target is not None:
                    grid, row, column = target
                    grid.ms[row][column] = float(f"{ms:.{DIGITS}g}")  # as the file has it
                    measured += 1
            save()
            bar.update(number + 1, f"{len(points)} layers")
    return measured
