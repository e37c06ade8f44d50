"""Map the weights of one net to another that computes the same under other names.

`equal_layers.py` finds which layers compute the same. Here their channels are brought into one
order, and the weights into that of the target.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import NetError
from ..formats.caffemodel import blob_array
from ..formats.schema import BlobProto, LayerParameter, NetParameter
from ..nets.definition import NetDefinition
from ..nets.inference_graph import InferenceGraph
from ..nets.layer_types import Shape
from ..nets.shapes import LayerShapes
from ..text import printable
from .channel_order import (
    ChannelTies,
    ChannelUse,
    Order,
    OrderError,
    channel_count,
    classify_layer,
    is_permuted,
    match_channels,
    permute_blobs,
    propagate_order,
)
from .equal_layers import EqualLayers, Role, find_equal_layers
from .make_caffemodel import make_caffemodel
from .signatures import SignedNet


class MappedLayer(NamedTuple):
    """Where the weights of a layer of the target come from.

    Attributes:
        source, target: the names of the layers.
        how: `name`, `dialect` or `order`.
        inputs, outputs: channels that it reads, and makes, at another index than in the source.
    """

    source: str
    target: str
    how: str
    inputs: int
    outputs: int


class EqualBlobs(NamedTuple):
    """A blob of the target and the source's blob that it equals.

    Attributes:
        layer: the target's layer that makes it.
        target, source: the names of the blobs.
        order: channel i of the target's is channel order[i] of the source's.
    """

    layer: str
    target: str
    source: str
    order: Order


class WeightMapping(NamedTuple):
    """The weights of the target, and the evidence that both nets compute the same.

    Attributes:
        rows: one for each layer of the target that gets weights, in the net's order.
        unused: layers of the source with weights that no layer of the target gets.
        missing: layers of the target that get none.
        arrays: name of a layer of the target -> its parameter blobs.
        inputs: (name in the target, name in the source, shape) of each input.
        layers: the layers of the target and of the source that compute the same, as in their
            inference graphs.
        equal_blobs: the tops of layers with weights, and the outputs.
        bypasses: names of the sums in the source and in the target whose bypasses were left out.
    """

    rows: list[MappedLayer]
    unused: list[str]
    missing: list[str]
    arrays: dict[str, list[np.ndarray]]
    inputs: list[tuple[str, str, Shape]]
    layers: tuple[list[LayerParameter], list[LayerParameter]]
    equal_blobs: list[EqualBlobs]
    bypasses: tuple[list[str], list[str]]


def map_weights(
    source: InferenceGraph,
    target: InferenceGraph,
    model: NetParameter,
    role: Role = lambda name: None,
    partial: bool = False,
    ignore_bypass: bool = False,
    file: str = "the file",
) -> WeightMapping:
    """Find the weights of `target` among those of `source`.

    Args:
        source: the net that the weights are of.
        target: the net that gets them.
        model: the NetParameter with the weights.
        role: returns what the name of a layer means in the known dialects; None for nothing.
        partial: whether layers of the target may get no weights, nor the layers that follow them.
        ignore_bypass: leave out bypasses that only one net has; what is in the target's gets no
            weights.
        file: the name of the file of the weights, for messages.

    Raises:
        NetError: the nets compute different things, with the first layer that differs; or a layer
            gets no weights.
    """
    equal = find_equal_layers(source, target, model, role, partial, ignore_bypass, printable(file))
    filters = _match_filters(equal)
    orders: dict[str, Order] = {
        name: np.arange(channel_count(shape)) for name, _, shape in equal.inputs
    }
    rows: list[MappedLayer] = []
    arrays: dict[str, list[np.ndarray]] = {}
    equal_blobs: list[EqualBlobs] = []
    for item, other in equal.pairs:
        number = equal.target.signatures[item.layer.top[0]]
        order = filters.get(number, np.arange(channel_count(item.tops[0])))
        bottoms = [orders[blob] for blob in item.layer.bottom]
        inputs = bottoms[0] if bottoms else np.arange(0)  # a Parameter has none
        try:
            pairs = _pair_bottoms(equal, item, other)
            tops = propagate_order(item, other, pairs, bottoms, order)
            if item.blobs:
                row, arrays[item.layer.name] = _map_blobs(equal, item, inputs, order)
                rows.append(row)
        except OrderError as error:
            raise NetError(f"{equal.target.place(item)}: {error}") from None
        orders |= zip(item.layer.top, tops, strict=True)
        equal_blobs += _equal_blobs(equal, item, tops)
    used = {row.source for row in rows}
    return WeightMapping(
        rows,
        [name for name in equal.stored if name not in used],
        equal.missing,
        arrays,
        equal.inputs,
        ([item.layer for item, _ in equal.pairs], _common_layers(equal)),
        equal_blobs,
        equal.bypasses,
    )


def make_mapped_caffemodel(net: NetDefinition, mapping: WeightMapping) -> NetParameter:
    """Return the NetParameter that Net::ToProto would write of the target: TEST layers, weights.

    Raises:
        NetError: layers that share a blob would get different weights.
    """
    return make_caffemodel(net, mapping.arrays, mapping.missing)


def _map_blobs(
    equal: EqualLayers, item: LayerShapes, bottom: Order, filters: Order
) -> tuple[MappedLayer, list[np.ndarray]]:
    """Return where a layer's weights come from, and the weights in the target's order."""
    origin, how = equal.origins[item.layer.name]
    arrays = permute_blobs(item, _stored_arrays(equal.stored[origin], item), bottom, filters)
    has_filters = classify_layer(item) is ChannelUse.FILTERS
    moved = _count_moved(filters) if has_filters else 0
    return MappedLayer(origin, item.layer.name, how, _count_moved(bottom), moved), arrays


def _equal_blobs(
    equal: EqualLayers, item: LayerShapes, orders: Sequence[Order]
) -> Iterator[EqualBlobs]:
    """Yield the tops of a layer that has weights or makes outputs, with their equals.

    Raises:
        NetError: an output has its channels in another order.
    """
    for top, order in zip(item.layer.top, orders, strict=True):
        if top in equal.outputs and is_permuted(order):
            raise NetError(f"{equal.target.place(item)}: gives its channels in another order")
        if top in equal.outputs or item.blobs:
            yield EqualBlobs(item.layer.name, top, equal.equal_blob(top), order)


def _match_filters(equal: EqualLayers) -> dict[int, Order]:
    """Return number of a signature -> the order in which the target makes these channels."""
    ties = ChannelTies(), ChannelTies()
    ours, theirs = _tie(equal, equal.target, ties[0]), _tie(equal, equal.source, ties[1])
    pins = [(ours[name], theirs[other], name) for name, other, _ in equal.inputs]
    for item, other in equal.pairs:
        if classify_layer(item) is ChannelUse.ORDERED:
            blobs = [*zip(item.layer.bottom, other.layer.bottom, strict=True)]
            blobs += zip(item.layer.top, other.layer.top, strict=True)
            pins += [(ours[a], theirs[b], item.layer.name) for a, b in blobs]
    for blob in equal.target.graph.outputs:
        if blob in equal.target.signatures:
            there = theirs[equal.equal_blob(blob)]
            pins.append((ours[blob], there, equal.target.maker_name(blob)))
    try:
        channels = match_channels(*ties, pins)
    except OrderError as error:
        raise NetError(f"{printable(equal.target.graph.source)}: {error}") from None
    orders: dict[int, list[tuple[int, int]]] = {}
    for (maker, channel), (_, place) in channels.items():
        orders.setdefault(maker, []).append((channel, place))
    return {key: np.array([place for _, place in sorted(each)]) for key, each in orders.items()}


def _tie(equal: EqualLayers, net: SignedNet, ties: ChannelTies) -> dict[str, Order]:
    """Return the numbers of the channels of every blob that both nets have."""
    numbers: dict[str, Order] = {}
    for name, other, shape in equal.inputs:
        blob = name if net is equal.target else other
        numbers[blob] = ties.number_channels(net.signatures[blob], channel_count(shape))
    for item in net.layers:
        tops = list(item.layer.top)
        if tops and net.signatures.get(tops[0]) in equal.common:
            bottoms = [numbers[blob] for blob in item.layer.bottom]
            makers = [net.signatures[top] for top in tops]
            numbers |= zip(tops, ties.add_layer(item, makers, bottoms), strict=True)
    return numbers


def _pair_bottoms(equal: EqualLayers, item: LayerShapes, other: LayerShapes) -> list[int]:
    """Return for each bottom of a layer the index of its equal among the source layer's."""
    if classify_layer(item) is not ChannelUse.CONCAT:
        return list(range(len(item.bottoms)))
    left = [equal.source.signatures[blob] for blob in other.layer.bottom]
    result = []
    for blob in item.layer.bottom:
        index = left.index(equal.target.signatures[blob])
        left[index] = -1
        result.append(index)
    return result


def _stored_arrays(stored: Sequence[BlobProto], item: LayerShapes) -> list[np.ndarray]:
    blobs = zip(stored, item.blobs, strict=True)
    return [blob_array(proto).reshape(blob.shape) for proto, blob in blobs]


def _common_layers(equal: EqualLayers) -> list[LayerParameter]:
    """Return the source's layers that make blobs that both nets have."""
    net = equal.source
    return [
        item.layer
        for item in net.layers
        if any(net.signatures.get(top) in equal.common for top in item.layer.top)
    ]


def _count_moved(order: Order) -> int:
    """Count channels at another index than in the source."""
    return int((order != np.arange(order.size)).sum())
