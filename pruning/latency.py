"""How long a net takes without some groups of channels, by a latency table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..nets.definition import NetDefinition
from ..nets.deploy import deploy_net
from ..nets.latency_fill import LayerRange
from ..nets.latency_table import LatencyTable, LayerTime, position
from ..nets.layer_types import Shape
from ..nets.shapes import require_shapes
from ..nets.timed_layers import timed_layers
from ..weights.channel_order import Order
from .channel_groups import ChannelGroups, WiredLayer
from .costs import ChannelPlaces, Resource

_PHASE = "TEST"
_NONE = np.arange(0)


def layer_ranges(net: NetDefinition, image: Shape | None, *, fused: bool) -> list[LayerRange]:
    """Return the layers of a net's deploy net, and how few channels pruning may leave them.

    Raises:
        NetError: it has no deploy net, or Caffe would refuse it.
    """
    groups = ChannelGroups(deploy_net(net, image=image).definition)
    wired = {each.index: each for each in groups.wired[_PHASE]}
    found = []
    for layer in timed_layers(groups.shapes[_PHASE], fused=fused):
        own = wired[layer.indexes[0]]
        least = _least(groups, _read(own)) if own.bottoms else layer.inputs
        filters = max(1, _least(groups, own.filters)) if own.filters.size else layer.outputs
        found.append(LayerRange(layer, max(1, least), filters if layer.outputs else 0))
    return found


def _read(wired: WiredLayer) -> Order:
    """Return the channels that a layer reads, of an input its own, of a Concat all."""
    is_whole = wired.item.layer.type == "Concat" or not wired.bottoms
    return wired.tops[0] if is_whole else wired.bottoms[0]


def _least(groups: ChannelGroups, channels: Order) -> int:
    """Return how many of some channels have to stay."""
    found = (groups.groups.get(int(root)) for root in groups.roots(channels))
    return sum(group is None or group.reason is not None for group in found)


class LatencyCosts(Resource):
    """The milliseconds of a net by a table, for any choice of channels.

    Times never fall as channels are added. Layers count as in the deploy net.

    Args:
        groups: of the net, which has a TEST phase.
        net: the net.
        image: (channels, height, width) of the records of data layers that don't say.
        table: the times.

    Raises:
        FormatError: the table lacks layers.
        NetError: the net has no deploy net.
    """

    def __init__(
        self, groups: ChannelGroups, net: NetDefinition, image: Shape | None, table: LatencyTable
    ) -> None:
        super().__init__("--ms", "ms", self._milliseconds, ",.4g", basis=table.digest)
        deploy = deploy_net(net, image=image).definition
        times = table.layer_times(require_shapes(deploy, _PHASE), net.source)
        rows = {each.name: each for each in groups.wired[_PHASE]}
        own = [time for time in times if time.layer.name in rows]
        # Those that only the deploy net has, as its Softmax, keep all channels.
        self._constant = sum(table.time(*time) for time in times if time.layer.name not in rows)
        self._places = ChannelPlaces(groups)
        self._inputs = _Counter([self._places.of(_read(rows[each.layer.name])) for each in own])
        self._outputs = _Counter(
            [
                self._places.of(rows[each.layer.name].filters if each.layer.outputs else _NONE)
                for each in own
            ]
        )
        self._grids = _Grids(own, table.block)

    def _milliseconds(self, removed: Iterable[int]) -> float:
        kept = self._places.kept(removed)
        times = self._grids.sum(self._inputs.counts(kept), self._outputs.counts(kept))
        return self._constant + times


class _Counter:
    """Counts, for each of some lists of places, how many are kept."""

    def __init__(self, lists: Sequence[Order]) -> None:
        # reduceat gives an element of an empty list: each list ends with a place that is not kept.
        self._flat = np.array([place for places in lists for place in (*places, -1)], dtype=np.intp)
        lengths = [len(places) + 1 for places in lists]
        self._starts = np.cumsum([0, *lengths[:-1]])

    def counts(self, kept: np.ndarray) -> np.ndarray:
        """Return the counts."""
        return np.add.reduceat(np.append(kept, False)[self._flat].astype(np.intp), self._starts)


class _Grids:
    """The grids of layers side by side, so that one pass over arrays sums up all of them."""

    def __init__(self, times: Sequence[LayerTime], block: int) -> None:
        values: list[np.ndarray] = []
        rows, columns, bounds = [], [], [0]
        for layer, grid in times:
            rows.append([position(count, grid.inputs) for count in range(layer.inputs + 1)])
            columns.append(
                [position(count, grid.outputs, block) for count in range(layer.outputs + 1)]
            )
            values.append(np.array(grid.monotone()))
            bounds.append(bounds[-1] + values[-1].size)
        self._values = np.concatenate([each.ravel() for each in values])
        self._bases = np.array(bounds[:-1])
        self._widths = np.array([each.shape[1] for each in values])
        self._heights = np.array([each.shape[0] for each in values])
        self._rows, self._row_starts = _joined(rows)
        self._columns, self._column_starts = _joined(columns)

    def sum(self, inputs: np.ndarray, outputs: np.ndarray) -> float:
        """Return the sum over layers: linear between the points of each grid."""
        row = self._rows[self._row_starts + inputs]
        column = self._columns[self._column_starts + outputs]
        top, left = row.astype(np.intp), column.astype(np.intp)
        down, right = row - top, column - left
        above = self._bases + top * self._widths
        below = self._bases + np.minimum(top + 1, self._heights - 1) * self._widths
        beside = np.minimum(left + 1, self._widths - 1)
        values = self._values
        upper = values[above + left] * (1 - right) + values[above + beside] * right
        lower = values[below + left] * (1 - right) + values[below + beside] * right
        return float((upper * (1 - down) + lower * down).sum())


def _joined(rows: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Return rows as one array, and where each starts."""
    flat = np.array([value for row in rows for value in row])
    return flat, np.cumsum([0, *(len(row) for row in rows[:-1])])
