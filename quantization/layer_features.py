"""What a search method sees of a layer whose bits are chosen: sizes, as HAQ's states have them."""

from __future__ import annotations

from collections.abc import Collection
from math import prod

from ..nets.layer_types import Shape
from ..nets.shapes import LayerShapes, NetShapes

Features = tuple[float, ...]


def layer_features(shapes: NetShapes, names: Collection[str]) -> list[Features]:
    """Return the features of the layers with these names, in the order of the net.

    They are, as in HAQ (arXiv:1811.08886): whether it is a convolution, its outputs, the inputs of
    a filter, weights of a kernel, height and width of bottom and top, whether it is depthwise, its
    weights and MACs.
    """
    return [_features(item) for item in shapes.layers if item.layer.name in names]


def _features(item: LayerShapes) -> Features:
    shape, is_convolution = item.blobs[0].shape, item.layer.type == "Convolution"
    bottom, top = item.bottoms[0], item.tops[0]
    return (
        float(is_convolution),
        float(top[1] if len(top) > 1 else 1),
        float(shape[1]),
        float(prod(shape[2:])),
        *_plane(bottom),
        *_plane(top),
        float(is_convolution and shape[1] == 1 and bottom[1] > 1),
        float(prod(shape)),
        float(item.macs),
    )


def _plane(shape: Shape) -> tuple[float, float]:
    """Return height and width of a blob, 1 where it has none."""
    height, width = (*shape[2:4], 1, 1)[:2]
    return float(height), float(width)
