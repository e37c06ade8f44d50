"""Channels that can only go together, through the graph of a net, in all its phases.

A filter makes a channel. The channel goes through layers that treat each alone, side by side with
others through a Concat, and as one with others through an Eltwise: these are a *group*, and go
together. A channel that a layer reads in a way that can't be followed stays, as those of inputs and
outputs do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..formats.schema import LayerParameter
from ..nets.definition import NetDefinition
from ..nets.graph import Graph, Node, Top
from ..nets.layer_types import Shape
from ..nets.shapes import LayerShapes, NetShapes, require_shapes
from ..text import printable
from ..weights.channel_order import (
    ChannelTies,
    ChannelUse,
    Order,
    channel_count,
    classify_layer,
)

PHASES = ("TRAIN", "TEST")
_PASSING = ("Dropout", "Split")  # each top is the bottom
_HARMLESS = ("Silence",)


class Group(NamedTuple):
    """Channels that go together.

    Attributes:
        channels: (layer, index of the filter) of each, sorted.
        reason: why they stay, as "'prob' needs all of them"; None of a group that may go.
    """

    channels: tuple[tuple[str, int], ...]
    reason: str | None

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that make them, in the order of their names in `channels`."""
        return tuple(dict.fromkeys(layer for layer, _ in self.channels))


@dataclass(frozen=True, eq=False)
class WiredLayer:
    """A layer of a phase with the channels that it reads and makes, by their numbers.

    Attributes:
        item: the layer with its shapes.
        bottoms: the channels of each bottom.
        tops: the channels of each top.
        filters: the channels that its filters make; empty of a layer without filters.
        index: its place among the layers of the phase.
        sources: for each bottom, the version of the blob that it reads.
    """

    item: LayerShapes
    bottoms: tuple[Order, ...]
    tops: tuple[Order, ...]
    filters: Order
    index: int
    sources: tuple[Top, ...]

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.item.layer.name

    @property
    def conv_groups(self) -> int:
        """Number of groups of a convolution; 1 of another layer."""
        layer = self.item.layer
        return layer.convolution_param.group if layer.type == "Convolution" else 1

    @property
    def is_depthwise(self) -> bool:
        """Whether each filter reads a single channel of several."""
        return 1 < self.conv_groups == len(self.bottoms[0])


class ChannelGroups:
    """The groups of channels of a net.

    Args:
        net: the net; all its phases count.
        image: (channels, height, width) of the records of data layers that don't say.

    Attributes:
        shapes: phase -> its shapes.
        wired: phase -> its layers with their channels, in order.

    Raises:
        NetError: Caffe would refuse the net.
    """

    def __init__(self, net: NetDefinition, image: Shape | None = None) -> None:
        self._ties = ChannelTies()
        self._makers: dict[str, int] = {}
        self._reasons: dict[int, str] = {}
        self.shapes: dict[str, NetShapes] = {}
        self.wired: dict[str, list[WiredLayer]] = {}
        for phase in PHASES:
            if net.layers(phase):
                shapes = self.shapes[phase] = require_shapes(net, phase, image)
                self.wired[phase] = list(self._walk(phase, shapes.graph, shapes.layers))
                self._keep_outputs(shapes.graph, self.wired[phase])
        self._tie_shared()

    def _walk(
        self, phase: str, graph: Graph[LayerParameter], layers: Sequence[LayerShapes]
    ) -> Iterator[WiredLayer]:
        made: dict[Top, Order] = {}
        for node, item in zip(graph.nodes, layers, strict=True):
            sources = tuple(top for top in node.sources if top is not None)
            bottoms = tuple(made[top] for top in sources)
            filters = self._number_filters(item)
            tops = self._tops(phase, node, item, bottoms, filters)
            for position, channels in enumerate(tops):
                made[Top(node.index, position)] = channels
            yield WiredLayer(item, bottoms, tops, filters, node.index, sources)

    def _number_filters(self, item: LayerShapes) -> Order:
        """Number the channels that a layer's filters make, the same in each phase."""
        if not item.bottoms or classify_layer(item) is not ChannelUse.FILTERS:
            return np.arange(0)
        return self._number(item.layer.name, channel_count(item.tops[0]))

    def _number(self, maker: str, count: int) -> Order:
        number = self._makers.setdefault(maker, len(self._makers))
        return self._ties.number_channels(number, count)

    def _tops(
        self,
        phase: str,
        node: Node[LayerParameter],
        item: LayerShapes,
        bottoms: Sequence[Order],
        filters: Order,
    ) -> tuple[Order, ...]:
        """Return the channels of a layer's tops; tie and keep what has to be."""
        layer, shown = item.layer, f"'{printable(item.layer.name)}'"
        if layer.type in _HARMLESS:
            return ()
        if layer.type in _PASSING:
            return tuple(bottoms[0] for _ in item.tops)
        if filters.size:
            self._tie_filters(item, bottoms, filters)
            return tuple(filters for _ in item.tops)
        use = classify_layer(item)
        if use is ChannelUse.ORDERED or _needs_all(item):
            reason = f"{shown} needs all of them" if bottoms else f"{shown} is an input"
            self._keep(bottoms, reason)
            tops = [
                self._number(f"{phase} {node.index} {position}", channel_count(shape))
                for position, shape in enumerate(item.tops)
            ]
            self._keep(tops, reason)
            return tuple(tops)
        return tuple(self._ties.add_layer(item, (), bottoms))

    def _tie_filters(self, item: LayerShapes, bottoms: Sequence[Order], filters: Order) -> None:
        """Tie what a layer of filters can lose only together.

        Several bottoms have the same weights. A filter of a depthwise convolution goes with the
        channel that it reads; groups of another keep equal numbers of channels and filters.
        """
        layer = item.layer
        self._ties.tie(bottoms, layer.name)
        groups = layer.convolution_param.group if layer.type == "Convolution" else 1
        if groups == 1:
            return
        if groups == len(bottoms[0]):
            each = len(filters) // groups
            self._ties.tie([np.repeat(bottoms[0], each), filters], layer.name)
            return
        for channels in (bottoms[0], filters):
            self._ties.tie(list(channels.reshape(groups, -1)), layer.name)

    def _keep(self, columns: Sequence[Order], reason: str) -> None:
        for number in {int(number) for channels in columns for number in channels}:
            self._reasons.setdefault(number, reason)

    def _keep_outputs(self, graph: Graph[LayerParameter], wired: Sequence[WiredLayer]) -> None:
        for top in graph.outputs:
            tops = wired[top.layer].tops
            if top.position < len(tops):
                name = printable(graph.name(top))
                self._keep([tops[top.position]], f"'{name}' is an output")

    def _tie_shared(self) -> None:
        """Tie the channels of layers that share parameters by name."""
        owners: dict[str, WiredLayer] = {}
        for wired in self.layers():
            for spec in wired.item.layer.param[: len(wired.item.blobs)]:
                if not spec.name:
                    continue
                owner = owners.setdefault(spec.name, wired)
                pairs = ((owner.bottoms[0], wired.bottoms[0]), (owner.filters, wired.filters))
                for first, second in pairs:
                    if len(first) == len(second):
                        self._ties.tie([first, second], wired.name)
                    else:
                        self._keep([first, second], f"'{printable(wired.name)}' shares its weights")

    def layers(self) -> Iterator[WiredLayer]:
        """Yield the layers of all phases; one in several phases comes once for each."""
        for wired in self.wired.values():
            yield from wired

    @cached_property
    def groups(self) -> dict[int, Group]:
        """Root -> its group; those of inputs, which no filters make, are not among them."""
        names = list(self._makers)
        filters = {wired.name for wired in self.layers() if wired.filters.size}
        reasons: dict[int, str] = {}
        for number, reason in self._reasons.items():
            reasons.setdefault(self._ties.find_root(number), reason)
        found = {}
        for root, channels in self._ties.groups().items():
            made = [(names[maker], index) for maker, index in channels if names[maker] in filters]
            if made:
                found[root] = Group(tuple(made), reasons.get(root))
        return found

    @cached_property
    def _roots(self) -> Order:
        numbers = range(len(self._ties.channels))
        return np.array([self._ties.find_root(number) for number in numbers], dtype=np.int64)

    def roots(self, channels: Order) -> Order:
        """Return the root of each channel."""
        return self._roots[channels]


def _needs_all(item: LayerShapes) -> bool:
    """Whether a layer that keeps channels apart still computes over all of them."""
    layer = item.layer
    return layer.type == "Softmax" and layer.softmax_param.axis % len(item.bottoms[0]) == 1
