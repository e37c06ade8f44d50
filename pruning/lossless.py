"""Channels that can't matter: those that nothing reads, and constant ones.

A channel is constant where the weights of its filter are zero. It is folded into the biases of its
readers where that is exact: where it is zero, or no reader pads its input with zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..formats.schema import EltwiseParameter, PoolingParameter
from ..nets.graph import Top
from ..nets.windows import convolution_windows, pooling_window
from ..weights.channel_order import ChannelUse, classify_layer
from ..weights.net_arrays import Arrays
from .channel_groups import ChannelGroups, WiredLayer
from .criteria import column_sums, filter_rows, reading_sums, weighted_layers

_PHASE = "TEST"
Constants = np.ndarray  # a value for each channel, nan where it is not constant


class Lossless(NamedTuple):
    """What a net can lose without a change of its outputs.

    Attributes:
        unread: roots of groups that no filter reads.
        constant: roots of groups whose channels are constant.
        arrays: the weights, with the constants in the biases of their readers.
    """

    unread: frozenset[int]
    constant: frozenset[int]
    arrays: dict[str, list[np.ndarray]]

    @property
    def removed(self) -> frozenset[int]:
        """All that can go."""
        return self.unread | self.constant


def find_lossless(groups: ChannelGroups, arrays: Arrays) -> Lossless:
    """Find the channels that can't matter in TEST; each layer keeps a filter.

    Args:
        groups: of the net.
        arrays: its weights.
    """
    search = _Search(groups, arrays)
    while search.find_more():
        pass
    return Lossless(frozenset(search.unread), frozenset(search.constant), search.arrays)


class _Search:
    """Goes on as long as what went lets more go."""

    def __init__(self, groups: ChannelGroups, arrays: Arrays) -> None:
        self._groups = groups
        self.arrays = {name: list(blobs) for name, blobs in arrays.items()}
        self.unread: set[int] = set()
        self.constant: set[int] = set()
        self._left: dict[str, int] = {}
        for group in groups.groups.values():
            for name, _ in group.channels:
                self._left[name] = self._left.get(name, 0) + 1

    def find_more(self) -> bool:
        """Let more groups go; return whether some did."""
        found = [root for root in self._find_unread() if self._take(root, self.unread)]
        found += [root for root in self._find_constant() if self._take(root, self.constant)]
        return bool(found)

    def _take(self, root: int, kind: set[int]) -> bool:
        """Let a group go, unless it has to stay, or a layer needs it."""
        group = self._groups.groups[root]
        counts = {name: sum(n == name for n, _ in group.channels) for name in group.layers}
        if group.reason or any(self._left[name] <= count for name, count in counts.items()):
            return False
        if kind is self.constant and not self._fold(root):
            return False
        for name, count in counts.items():
            self._left[name] -= count
        kind.add(root)
        return True

    def _find_unread(self) -> list[int]:
        """Return the groups of which no filter that stays reads a channel."""
        weights = {w.name: rows for w, rows in weighted_layers(self._groups, self.arrays)}
        read: set[int] = set()
        for wired in self._groups.layers():
            if not wired.filters.size or wired.is_depthwise:  # the latter's go with what they read
                continue
            sums = np.ones(len(wired.bottoms[0]))
            if wired.name in weights:
                alive = self._alive(wired).reshape(-1, *[1] * (weights[wired.name].ndim - 1))
                sums = reading_sums(wired, np.where(alive, weights[wired.name], 0))
            read.update(self._groups.roots(wired.bottoms[0][sums != 0]).tolist())
        return [root for root in self._groups.groups if root not in read | self._gone]

    @property
    def _gone(self) -> set[int]:
        return self.unread | self.constant

    def _alive(self, wired: WiredLayer) -> np.ndarray:
        """Return which filters of a layer stay."""
        alive: np.ndarray = ~np.isin(self._groups.roots(wired.filters), list(self._gone))
        return alive

    def _find_constant(self) -> list[int]:
        """Return the groups all of whose channels are constant where filters read them."""
        tested = {wired.name for wired in self._tested}
        varying: set[int] = set()
        for wired in self._groups.layers():
            if wired.filters.size and wired.name not in tested:
                varying.update(self._groups.roots(wired.bottoms[0]).tolist())
        for wired, constants in self._readers():
            for channels, values in zip(wired.bottoms, constants, strict=True):
                varying.update(self._groups.roots(channels[np.isnan(values)]).tolist())
        return [root for root in self._groups.groups if root not in varying | self._gone]

    @property
    def _tested(self) -> list[WiredLayer]:
        return self._groups.wired.get(_PHASE, [])

    def _readers(self) -> list[tuple[WiredLayer, list[Constants]]]:
        """Return each layer of filters in TEST with the constants of its bottoms."""
        made: dict[Top, Constants] = {}
        found = []
        for wired in self._tested:
            bottoms = [made[top] for top in wired.sources]
            for position, constants in enumerate(_constants(wired, bottoms, self.arrays)):
                made[Top(wired.index, position)] = constants
            if wired.filters.size:
                found.append((wired, bottoms))
        return found

    def _fold(self, root: int) -> bool:
        """Add a constant group to the biases of its readers; return False where that is inexact."""
        folded: dict[str, np.ndarray] = {}
        for wired, bottoms in self._readers():
            for channels, values in zip(wired.bottoms, bottoms, strict=True):
                added = np.where(self._groups.roots(channels) == root, values, 0.0)
                if not added.any():
                    continue
                blobs = self.arrays[wired.name]
                if len(blobs) < 2 or not _takes_constants(wired):
                    return False
                rows = filter_rows(wired, np.asarray(blobs[0], dtype=np.float64))
                bias = blobs[1].astype(np.float64).reshape(-1) + column_sums(wired, rows) @ added
                folded[wired.name] = bias.reshape(blobs[1].shape).astype(blobs[1].dtype)
        for name, bias in folded.items():
            self.arrays[name] = [self.arrays[name][0], bias]
        return True


def _takes_constants(wired: WiredLayer) -> bool:
    """Whether a constant channel adds the same to all that a layer's filters compute."""
    layer = wired.item.layer
    if len(wired.bottoms) > 1 or wired.is_depthwise or any(spec.name for spec in layer.param):
        return False
    if layer.type != "Convolution":
        return True
    sizes = wired.item.bottoms[0][2:]
    windows = convolution_windows(layer.convolution_param, len(sizes))
    return all(
        not window.pad and window.dilation * (window.kernel - 1) < size
        for window, size in zip(windows, sizes, strict=True)
    )


def _constants(wired: WiredLayer, bottoms: Sequence[Constants], arrays: Arrays) -> list[Constants]:
    """Return the constants of a layer's tops: of what is not known here, none."""
    layer, kind = wired.item.layer, wired.item.layer.type
    blobs = [np.asarray(blob, dtype=np.float64) for blob in arrays.get(wired.name, ())]
    if wired.filters.size and blobs:
        rows = filter_rows(wired, blobs[0]).reshape(len(wired.filters), -1)
        bias = blobs[1].reshape(-1) if len(blobs) > 1 else np.zeros(len(rows))
        return [np.where(rows.any(1), np.nan, bias)] * len(wired.tops)
    if kind in ("Dropout", "Split"):
        return [bottoms[0]] * len(wired.tops)
    if kind == "ReLU":
        return [np.where(bottoms[0] > 0, 1.0, layer.relu_param.negative_slope) * bottoms[0]]
    if kind == "Pooling" and len(wired.tops) == 1 and _keeps_constants(wired):
        return [bottoms[0]]
    if kind == "BatchNorm" and len(blobs) == 3:
        mean, variance = (blob / (blobs[2].reshape(-1)[0] or np.inf) for blob in blobs[:2])
        return [(bottoms[0] - mean) / np.sqrt(variance + layer.batch_norm_param.eps)]
    if kind == "Scale" and blobs and blobs[0].shape == bottoms[0].shape:
        return [bottoms[0] * blobs[0] + (blobs[1] if len(blobs) > 1 else 0.0)]
    use = classify_layer(wired.item) if bottoms else ChannelUse.ORDERED
    if use is ChannelUse.CONCAT:
        return [np.concatenate(bottoms)]
    if use is ChannelUse.SLICE:
        return np.split(bottoms[0], np.cumsum([len(top) for top in wired.tops])[:-1])
    if use is ChannelUse.FLATTEN:
        return [np.repeat(bottoms[0], len(wired.tops[0]) // len(bottoms[0]))]
    if kind == "Eltwise" and layer.eltwise_param.operation == EltwiseParameter.SUM:
        factors = list(layer.eltwise_param.coeff) or [1.0] * len(bottoms)
        return [sum((f * b for f, b in zip(factors, bottoms, strict=True)), np.zeros(1))]
    return [np.full(len(top), np.nan) for top in wired.tops]


def _keeps_constants(wired: WiredLayer) -> bool:
    """Whether a pooling of a constant is that constant: a mean over padding is not."""
    param = wired.item.layer.pooling_param
    sizes = wired.item.bottoms[0][2:]
    windows = [pooling_window(param, axis, size) for axis, size in enumerate(sizes)]
    is_mean = param.pool == PoolingParameter.AVE and not any(window.pad for window in windows)
    return param.pool == PoolingParameter.MAX or is_mean
