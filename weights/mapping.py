"""Map the weights of one net to another that computes the same under other names.

`equal_layers.py` finds which layers compute the same. Here their channels are brought into one
order, and the weights into that of the target.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """

    rows: list[MappedLayer]
    unused: list[str]
    missing: list[str]
    arrays: dict[str, list[np.ndarray]]
    inputs: list[tuple[str, str, Shape]]
    layers: tuple[list[LayerParameter], list[LayerParameter]]
    equal_blobs: list[EqualBlobs]


def map_weights(
    source: InferenceGraph,
    target: InferenceGraph,
    model: NetParameter,
    role: Role = lambda name: None,
    partial: bool = False,
    file: str = "the file",
) -> WeightMapping:
    """Find the weights of `target` among those of `source`.

    Args:
        source: the net that the weights are of.
        target: the net that gets them.
        model: the NetParameter with the weights.
        role: returns what the name of a layer means in the known dialects; None for nothing.
        partial: whether layers of the target may get no weights, nor the layers that follow them.
        file: the name of the file of the weights, for messages.

    Raises:
        NetError: the nets compute different things, with the first layer that differs; or a layer
            gets no weights.
    """
    equal = find_equal_layers(source, target, model, role, partial, printable(file))
    filters = _match_filters(equal)
    orders: dict[str, Order] = {
        name: np.arange(channel_count(shape)) for name, _, shape in equal.inputs
    }
    result = WeightMapping(
        [],
        [],
        equal.missing,
        {},
        equal.inputs,
        ([item.layer for item, _ in equal.pairs], _common_layers(equal)),
        [],
    )
    for item, other in equal.pairs:
        _map_layer(equal, (item, other), filters, orders, result)
    used = {row.source for row in result.rows}
    result.unused.extend(name for name in equal.stored if name not in used)
    return result


def make_mapped_caffemodel(net: NetDefinition, mapping: WeightMapping) -> NetParameter:
    """Return the NetParameter that Net::ToProto would write of the target: TEST layers, weights.

    Raises:
        NetError: layers that share a blob would get different weights.
    """
    return make_caffemodel(net, mapping.arrays, mapping.missing)


def _map_layer(
    equal: EqualLayers,
    pair: tuple[LayerShapes, LayerShapes],
    filters: dict[int, Order],
    orders: dict[str, Order],
    result: WeightMapping,
) -> None:
    """Add to `orders` those of a layer's tops, and to `result` its weights and equal blobs."""
    item, other = pair
    name, tops = item.layer.name, list(item.layer.top)
    bottoms = [orders[blob] for blob in item.layer.bottom]
    number = equal.target.signatures[tops[0]]
    order = filters.get(number, np.arange(channel_count(item.tops[0])))
    try:
        top_orders = propagate_order(item, other, _pair_bottoms(equal, *pair), bottoms, order)
        if item.blobs:
            origin, how = equal.origins[name]
            stored = _stored_arrays(equal.stored[origin], item)
            result.arrays[name] = permute_blobs(item, stored, bottoms[0], order)
            moved = _count_moved(order) if classify_layer(item) == "mix" else 0
            result.rows.append(MappedLayer(origin, name, how, _count_moved(bottoms[0]), moved))
    except OrderError as error:
        raise NetError(f"{equal.place(item)}: {error}") from None
    for top, top_order in zip(tops, top_orders, strict=True):
        orders[top] = top_order
        if top in equal.outputs and is_permuted(top_order):
            raise NetError(f"{equal.place(item)}: gives its channels in another order")
        if top in equal.outputs or item.blobs:
            result.equal_blobs.append(EqualBlobs(name, top, equal.equal_blob(top), top_order))


def _match_filters(equal: EqualLayers) -> dict[int, Order]:
    """Return number of a signature -> the order in which the target makes these channels."""
    ties = ChannelTies(), ChannelTies()
    ours, theirs = _tie(equal, equal.target, ties[0]), _tie(equal, equal.source, ties[1])
    pins = [(ours[name], theirs[other], name) for name, other, _ in equal.inputs]
    for item, other in equal.pairs:
        if classify_layer(item) == "whole":
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
    if classify_layer(item) != "concat":
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
