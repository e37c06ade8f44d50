"""Take channels out of a net and its weights: what is left computes the same without them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import prod

import numpy as np

from ..errors import NetError
from ..formats.schema import LayerParameter, NetParameter
from ..text import printable
from ..weights.channel_order import ChannelUse, Order, classify_layer, permute_blobs
from ..weights.net_arrays import Arrays
from .channel_groups import ChannelGroups, Group, WiredLayer


class Shrinking:
    """What is left of a net without some groups of channels.

    Args:
        groups: the groups of the net.
        removed: roots of those that go.

    Attributes:
        removed: as given.

    Raises:
        NetError: one of them has to stay, or a layer would be left without filters.
    """

    def __init__(self, groups: ChannelGroups, removed: Collection[int]) -> None:
        self._groups = groups
        self.removed = frozenset(removed)
        self._removed = np.array(sorted(removed), dtype=np.int64)
        for root in removed:
            _check_may_go(groups.groups[root])
        for wired in groups.layers():
            if wired.filters.size and not self.kept(wired.filters).size:
                raise NetError(f"layer '{printable(wired.name)}': would be left without filters")

    def kept(self, channels: Order) -> Order:
        """Return the indices of the channels that stay."""
        return np.flatnonzero(~np.isin(self._groups.roots(channels), self._removed))

    def shrink_net(self, param: NetParameter) -> NetParameter:
        """Return a net with the numbers of channels that are left.

        Args:
            param: the net, or another that its layers are in, such as its deploy net.
        """
        changed = self._changed_layers()
        shrunk = NetParameter()
        shrunk.CopyFrom(param)
        for layer in shrunk.layer:
            wired = changed.get(layer.name)
            if wired is not None and wired.item.layer.type == layer.type:
                self._shrink_layer(layer, wired)
        return shrunk

    def _changed_layers(self) -> dict[str, WiredLayer]:
        return {wired.name: wired for wired in self._groups.layers()}

    def _shrink_layer(self, layer: LayerParameter, wired: WiredLayer) -> None:
        if layer.type == "Convolution" and wired.filters.size:
            layer.convolution_param.num_output = len(self.kept(wired.filters))
            if wired.is_depthwise:
                layer.convolution_param.group = len(self.kept(wired.bottoms[0]))
        elif layer.type == "InnerProduct" and wired.filters.size:
            layer.inner_product_param.num_output = len(self.kept(wired.filters))
        elif layer.type == "Slice" and classify_layer(wired.item) is ChannelUse.SLICE:
            counts = [len(self.kept(top)) for top in wired.tops]
            if 0 in counts:
                raise NetError(f"layer '{printable(layer.name)}': would be left with an empty top")
            if counts != [len(top) for top in wired.tops]:
                layer.slice_param.slice_point[:] = np.cumsum(counts)[:-1].tolist()

    def shrink_arrays(self, arrays: Arrays) -> dict[str, list[np.ndarray]]:
        """Return the parameter blobs of each layer without those of channels that go."""
        layers = self._changed_layers()
        return {name: self._shrink_blobs(layers[name], blobs) for name, blobs in arrays.items()}

    def _shrink_blobs(self, wired: WiredLayer, blobs: Sequence[np.ndarray]) -> list[np.ndarray]:
        if not blobs or not wired.bottoms:
            return list(blobs)
        bottom, filters = self.kept(wired.bottoms[0]), self.kept(wired.filters)
        if wired.item.layer.type == "Convolution" and wired.filters.size:
            weights, *bias = blobs
            return [_shrink_filters(weights, wired, bottom, filters), *(b[filters] for b in bias)]
        return permute_blobs(wired.item, blobs, bottom, filters)

    def mask_arrays(self, arrays: Arrays) -> dict[str, list[np.ndarray]]:
        """Return weights of the whole net that ignore the channels that go.

        With them, the whole net computes what the shrunk one does: the weights by which layers of
        filters read these channels are zero.
        """
        layers = self._changed_layers()
        masked = {}
        for name, blobs in arrays.items():
            wired = layers[name]
            masked[name] = list(blobs)
            if wired.filters.size and not wired.is_depthwise:
                masked[name][0] = _mask_inputs(blobs[0], wired, self.kept(wired.bottoms[0]))
        return masked


def _check_may_go(group: Group) -> None:
    if group.reason is not None:
        layer, index = group.channels[0]
        raise NetError(f"layer '{printable(layer)}': filter {index} has to stay: {group.reason}")


def _shrink_filters(
    weights: np.ndarray, wired: WiredLayer, bottom: Order, filters: Order
) -> np.ndarray:
    """Return (out, in / group, ...) without channels; as many go of each group."""
    rows = weights[filters]
    if wired.is_depthwise:
        return rows
    inputs, outputs = weights.shape[1], len(weights) // wired.conv_groups
    columns = bottom.reshape(wired.conv_groups, -1)
    offsets = columns - inputs * np.arange(wired.conv_groups)[:, None]
    result: np.ndarray = np.stack(
        [row[offsets[number]] for row, number in zip(rows, filters // outputs, strict=True)]
    )
    return result


def _mask_inputs(weights: np.ndarray, wired: WiredLayer, kept: Order) -> np.ndarray:
    """Zero the weights of channels that are not kept."""
    goes = np.ones(len(wired.bottoms[0]), dtype=bool)
    goes[kept] = False
    masked = weights.copy()
    if wired.item.layer.type == "InnerProduct":
        columns = np.repeat(goes, prod(wired.item.bottoms[0][2:]))
        if wired.item.layer.inner_product_param.transpose:
            masked[columns] = 0
        else:
            masked[:, columns] = 0
        return masked
    inputs, outputs = weights.shape[1], len(weights) // wired.conv_groups
    for number in range(wired.conv_groups):
        rows = slice(number * outputs, (number + 1) * outputs)
        masked[rows, goes[number * inputs : (number + 1) * inputs]] = 0
    return masked
