"""What a search method sees of a decision: sizes and costs of the layers that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from .channel_groups import ChannelGroups, WiredLayer
from .decisions import Decision

Features = tuple[float, ...]
_PHASE = "TEST"


def decision_features(groups: ChannelGroups, decisions: Sequence[Decision]) -> list[Features]:
    """Return the features of each decision, those of AMC's states (arXiv:1802.03494).

    They are: whether a convolution makes the channels, how many there are, how many its makers
    read, height and width of the makers' tops, stride, kernel, the makers' weights, and the MACs
    of the makers and of the layers that read the channels.
    """
    wired = [layer for layer in groups.wired[_PHASE] if layer.filters.size]
    read = {id(w): frozenset(groups.roots(w.bottoms[0]).tolist()) for w in wired}
    return [
        _features(
            decision,
            [w for w in wired if w.name in decision.layers],
            [w for w in wired if not read[id(w)].isdisjoint(decision.roots)],
        )
        for decision in decisions
    ]


def _features(
    decision: Decision, makers: Sequence[WiredLayer], readers: Sequence[WiredLayer]
) -> Features:
    sizes = [wired.item.tops[0][2:] for wired in makers]
    weights = [wired.item.blobs[0].shape for wired in makers if wired.item.blobs]
    return (
        float(any(wired.item.layer.type == "Convolution" for wired in makers)),
        float(len(decision.roots)),
        float(sum(len(wired.bottoms[0]) for wired in makers)),
        *(float(max((s[axis] for s in sizes if len(s) > axis), default=1)) for axis in (0, 1)),
        float(max((_stride(wired) for wired in makers), default=1)),
        float(max((prod(shape[2:]) for shape in weights), default=1)),
        float(sum(map(prod, weights))),
        float(sum(wired.item.macs for wired in makers)),
        float(sum(wired.item.macs for wired in readers)),
    )


def _stride(wired: WiredLayer) -> float:
    """Return by how much a layer's top is smaller than its bottom, along an axis."""
    bottom, top = (shapes[0][2:] for shapes in (wired.item.bottoms, wired.item.tops))
    return float(bottom[0] / top[0]) if bottom and top else 1.0
