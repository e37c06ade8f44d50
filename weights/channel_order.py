"""Orders of channels in which two nets that compute the same may differ.

A Concat with its bottoms swapped gives the same channels in another order, which every layer that
reads them must follow. The *order* of a blob: channel i of the target's blob is channel order[i] of
the source's. Three steps find the orders of all blobs:

1. In each net, tie the channels that an Eltwise combines: they move as one
   (`ChannelTies.add_layer`).
2. Match tied groups of the target with groups of the source whose channels the same layers make.
   This orders the filters of each convolution (`match_channels`); channels without ties stay.
3. Propagate the orders from the inputs on (`propagate_order`). This step relies on nothing that the
   second assumed: it refuses a layer that can't compute the same from what it reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from math import prod

import numpy as np
from numpy.typing import NDArray

from ..formats.schema import LRNParameter
from ..nets.layer_families.shaping import concat_axis
from ..nets.layer_types import Shape
from ..nets.shapes import LayerShapes

Order = NDArray[np.int64]
# (number of the signature of the blob that a layer makes it in, its index there)
Channel = tuple[int, int]

_CHANNELWISE = frozenset(
    "ReLU ELU Sigmoid TanH Power Exp Log AbsVal BNLL Swish Clip Threshold PReLU BatchNorm Pooling"
    " Scale Bias Softmax LRN".split()
)


class OrderError(ValueError):
    """Orders that contradict each other; the message is about the layer, without its name."""


def channel_count(shape: Shape) -> int:
    """Return the size of axis 1, or 0 where there is none."""
    return shape[1] if len(shape) > 1 else 0


class ChannelUse(Enum):
    """What a layer does with the channels of its bottoms."""

    FILTERS = "each of its filters reads all of them"
    CHANNELWISE = "it treats each alone"
    CONCAT = "it concatenates them"
    ELTWISE = "it combines those at the same index"
    SLICE = "it slices them apart"
    FLATTEN = "it flattens each to several"
    ORDERED = "their order matters"


def classify_layer(item: LayerShapes) -> ChannelUse:
    """Return what a layer does with channels."""
    layer, kind = item.layer, item.layer.type
    axes = len(item.bottoms[0]) if item.bottoms else 0
    if axes < 2:
        return ChannelUse.ORDERED
    if kind in ("Convolution", "InnerProduct"):
        param = layer.convolution_param if kind == "Convolution" else layer.inner_product_param
        return ChannelUse.FILTERS if param.axis % axes == 1 else ChannelUse.ORDERED
    if kind in ("Concat", "Slice"):
        if concat_axis(layer) % axes == 1:
            return ChannelUse.CONCAT if kind == "Concat" else ChannelUse.SLICE
        return ChannelUse.ELTWISE if kind == "Concat" else ChannelUse.CHANNELWISE
    if kind == "Eltwise":
        return ChannelUse.ELTWISE
    if kind == "Flatten":
        start = layer.flatten_param.axis % axes
        if start == 1:
            return ChannelUse.FLATTEN
        return ChannelUse.CHANNELWISE if start > 1 else ChannelUse.ORDERED
    if kind in _CHANNELWISE and len(item.bottoms) == 1:
        across = kind == "LRN" and layer.lrn_param.norm_region != LRNParameter.WITHIN_CHANNEL
        over = kind == "Softmax" and layer.softmax_param.axis % axes == 0
        return ChannelUse.ORDERED if across or over else ChannelUse.CHANNELWISE
    return ChannelUse.ORDERED


class ChannelTies:
    """The channels of a net in groups that move as one: a union-find, fed layer by layer.

    Attributes:
        channels: each channel, at its number.
        tied_by: number of a channel -> the layer that tied it first.
    """

    def __init__(self) -> None:
        self.channels: list[Channel] = []
        self.tied_by: dict[int, str] = {}
        self._numbers: dict[Channel, int] = {}
        self._parent: list[int] = []

    def number_channels(self, maker: int, count: int) -> Order:
        """Return the numbers of the first `count` channels that a layer or input makes."""
        numbers = []
        for index in range(count):
            channel = (maker, index)
            if channel not in self._numbers:
                self._numbers[channel] = len(self.channels)
                self._parent.append(len(self.channels))
                self.channels.append(channel)
            numbers.append(self._numbers[channel])
        return np.array(numbers, dtype=np.int64)

    def find_root(self, number: int) -> int:
        """Return the number that stands for the group of a channel."""
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number

    def tie(self, columns: Sequence[Order], layer: str) -> Order:
        """Tie the channels at the same index of several blobs, for a layer."""
        for column in columns[1:]:
            for a, b in zip(columns[0].tolist(), column.tolist(), strict=True):
                roots = self.find_root(a), self.find_root(b)
                self._parent[max(roots)] = min(roots)
                self.tied_by.setdefault(a, layer)
                self.tied_by.setdefault(b, layer)
        return columns[0]

    def groups(self) -> dict[int, list[Channel]]:
        """Return root -> the channels of its group, sorted."""
        result: dict[int, list[Channel]] = {}
        for number, channel in enumerate(self.channels):
            result.setdefault(self.find_root(number), []).append(channel)
        return {root: sorted(channels) for root, channels in result.items()}

    def add_layer(
        self, item: LayerShapes, makers: Sequence[int], bottoms: Sequence[Order]
    ) -> list[Order]:
        """Return the channels of a layer's tops, and tie those that it combines.

        Args:
            item: the layer.
            makers: for each top, the number of its signature, which is the same in both nets.
            bottoms: the numbers of its bottoms' channels.
        """
        use = classify_layer(item)
        if use is ChannelUse.FILTERS:
            self.tie(bottoms, item.layer.name)
            filters = self.number_channels(makers[0], channel_count(item.tops[0]))
            return [filters] * len(item.tops)
        if use is ChannelUse.CONCAT:
            return [np.concatenate(bottoms)]
        if use is ChannelUse.ELTWISE:
            return [self.tie(bottoms, item.layer.name)]
        if use is ChannelUse.SLICE:
            return _slice(item, bottoms[0])
        if use is ChannelUse.FLATTEN:
            return [np.repeat(bottoms[0], _flattened_count(item))]
        if use is ChannelUse.CHANNELWISE:
            return [bottoms[0]] * len(item.tops)
        counts = map(channel_count, item.tops)
        return [self.number_channels(*pair) for pair in zip(makers, counts, strict=True)]


def _slice(item: LayerShapes, bottom: Order) -> list[Order]:
    return np.split(bottom, _starts(item.tops)[1:])


def _flattened_count(item: LayerShapes) -> int:
    """Return how many channels Flatten makes of one."""
    return channel_count(item.tops[0]) // channel_count(item.bottoms[0])


def match_channels(
    target: ChannelTies, source: ChannelTies, pins: Sequence[tuple[Order, Order, str]]
) -> dict[Channel, Channel]:
    """Return which channel of the source each channel of the target is.

    Args:
        target, source: the ties of both nets, whose channels have the same makers.
        pins: channels of a blob in the target and in the source that must be the same at the same
            index, and the layer that requires it.

    Raises:
        OrderError: no order meets all ties and pins.
    """
    ours, theirs = target.groups(), source.groups()
    partners: dict[int, int] = {}
    taken: dict[int, int] = {}
    for here, there, layer in pins:
        for a, b in zip(here.tolist(), there.tolist(), strict=True):
            mine, its = target.find_root(a), source.find_root(b)
            agree = partners.setdefault(mine, its) == its and taken.setdefault(its, mine) == mine
            if not agree or _makers(ours[mine]) != _makers(theirs[its]):
                raise OrderError(f"'{layer}': its channels have to keep their order, and can't")
    free = {root: channels for root, channels in theirs.items() if root not in taken}
    _pair_free_groups(target, ours, free, partners)
    return {
        # Both groups are sorted: of several channels of one maker, the first is the first.
        channel: equal
        for root, channels in ours.items()
        for channel, equal in zip(channels, theirs[partners[root]], strict=True)
    }


def _makers(channels: Sequence[Channel]) -> tuple[int, ...]:
    return tuple(maker for maker, _ in channels)


def _pair_free_groups(
    target: ChannelTies,
    ours: Mapping[int, list[Channel]],
    free: Mapping[int, list[Channel]],
    partners: dict[int, int],
) -> None:
    """Pair groups of the same channels, then those of the same makers in order."""
    roots = {tuple(channels): root for root, channels in free.items()}
    waiting: list[tuple[list[Channel], int]] = []
    for root, channels in ours.items():
        if root in partners:
            continue
        equal = roots.pop(tuple(channels), None)
        if equal is None:
            waiting.append((channels, root))
        else:
            partners[root] = equal
    left: dict[tuple[int, ...], list[int]] = {}
    for key in sorted(roots, reverse=True):
        left.setdefault(_makers(key), []).append(roots[key])
    for channels, root in sorted(waiting):
        candidates = left.get(_makers(channels))
        if not candidates:
            where = f"'{target.tied_by[root]}'" if root in target.tied_by else "the net"
            raise OrderError(f"{where} puts channels together that are not together in the source")
        partners[root] = candidates.pop()


def propagate_order(
    item: LayerShapes,
    other: LayerShapes,
    pairs: Sequence[int],
    bottoms: Sequence[Order],
    filters: Order,
) -> list[Order]:
    """Return the orders of a target layer's tops.

    Args:
        item, other: the layer in the target and its equal in the source.
        pairs: for each bottom, the index of the source layer's bottom that it equals.
        bottoms: the orders of the target's bottoms.
        filters: the order of the filters of a layer that has some.

    Raises:
        OrderError: with these bottoms the layer can't compute the same.
    """
    use = classify_layer(item)
    if use is ChannelUse.CONCAT:
        starts = _starts(other.bottoms)[list(pairs)]
        moved = [order + start for order, start in zip(bottoms, starts, strict=True)]
        return [np.concatenate(moved)]
    if use in (ChannelUse.FILTERS, ChannelUse.ELTWISE) and any(
        (b != bottoms[0]).any() for b in bottoms[1:]
    ):
        raise OrderError("it reads blobs whose channels are in different orders")
    if use is ChannelUse.FILTERS:
        return [filters] * len(item.tops)
    if use is ChannelUse.SLICE:
        parts = []
        for order, start in zip(_slice(item, bottoms[0]), _starts(item.tops), strict=True):
            order = order - start
            if order.size and (order.min() < 0 or order.max() >= order.size):
                raise OrderError("it cuts where channels of both parts are in another order")
            parts.append(order)
        return parts
    if use is ChannelUse.FLATTEN:
        each = _flattened_count(item)
        return [(bottoms[0][:, None] * each + np.arange(each)).reshape(-1)]
    if use is ChannelUse.ORDERED:
        if any(is_permuted(order) for order in bottoms):
            raise OrderError("it reads channels in another order, which changes what it computes")
        return [np.arange(channel_count(shape)) for shape in item.tops]
    return [bottoms[0]] * len(item.tops)


def _starts(shapes: Sequence[Shape]) -> Order:
    """Return the first channel of each of several blobs in their concatenation."""
    sizes = np.array([channel_count(shape) for shape in shapes], dtype=np.int64)
    return np.cumsum(sizes) - sizes


def is_permuted(order: Order) -> bool:
    """Whether an order differs from 0, 1, 2..."""
    return bool((order != np.arange(order.size)).any())


def permute_blobs(
    item: LayerShapes, arrays: Sequence[np.ndarray], bottom: Order, filters: Order
) -> list[np.ndarray]:
    """Return the parameter blobs of a source layer with their channels in the target's order.

    Args:
        item: the target's layer.
        arrays: the blobs, in the target's shapes.
        bottom: the order of what the layer reads.
        filters: the order of the filters of a layer that has some.

    Raises:
        OrderError: channels would move from one group to another.
    """
    layer, use = item.layer, classify_layer(item)
    if use is ChannelUse.FILTERS and layer.type == "Convolution":
        weights, *bias = arrays
        return [
            _permute_filters(weights, layer.convolution_param.group, bottom, filters),
            *(b[filters] for b in bias),
        ]
    if use is ChannelUse.FILTERS:
        weights, *bias = arrays
        inner = prod(item.bottoms[0][2:])
        columns = (bottom[:, None] * inner + np.arange(inner)).reshape(-1)
        transposed = layer.inner_product_param.transpose
        rows, columns = (columns, filters) if transposed else (filters, columns)
        return [weights[rows][:, columns], *(b[filters] for b in bias)]
    if use is not ChannelUse.CHANNELWISE:
        return list(arrays)
    if layer.type == "BatchNorm":
        mean, variance, factor = arrays
        return [mean[bottom], variance[bottom], factor]
    if layer.type == "PReLU":
        return [array[bottom] if array.shape else array for array in arrays]
    param = layer.scale_param if layer.type == "Scale" else layer.bias_param
    axis = 1 - param.axis % len(item.bottoms[0])  # of the channels among the axes of a blob
    return [np.take(array, bottom, axis) if 0 <= axis < array.ndim else array for array in arrays]


def _permute_filters(weights: np.ndarray, group: int, bottom: Order, filters: Order) -> np.ndarray:
    """Permute (out, in / group, ...) along both axes, within each group."""
    outputs, inputs = len(filters) // group, len(bottom) // group
    groups = np.arange(len(filters)) // outputs
    moved = (bottom // inputs != np.arange(len(bottom)) // inputs).any()
    if moved or (filters // outputs != groups).any():
        raise OrderError(f"its {group} groups would read each other's channels")
    columns = bottom.reshape(group, inputs) - inputs * np.arange(group)[:, None]
    rows = zip(weights[filters], groups, strict=True)
    result: np.ndarray = np.stack([row[columns[number]] for row, number in rows])
    return result
