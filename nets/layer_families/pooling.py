"""Pooling, SPP and LRN: the shapes of their tops."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from ...formats.schema import LayerParameter, PoolingParameter
from ..windows import ShapeError, pooling_window, window_extents
from .base import Shape, Shapes, register


def _pooling(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    bottom = bottoms[0]
    param = layer.pooling_param
    if len(layer.top) > 1 and param.pool != PoolingParameter.MAX:
        raise ShapeError("only MAX pooling has a second top, the mask")
    if param.pool == PoolingParameter.STOCHASTIC and (param.pad or param.pad_h or param.pad_w):
        raise ShapeError("STOCHASTIC pooling takes no pad")
    if len(bottom) != 4:
        raise ShapeError(f"pools images of 4 axes (batch, channels, height, width), not {bottom}")
    windows = [pooling_window(param, i, bottom[i + 2]) for i in (0, 1)]
    extents = window_extents(windows, bottom[2:])
    return [(*bottom[:2], *extents)] * len(layer.top)


def pyramid_levels(layer: LayerParameter, bottom: Shape) -> Iterator[LayerParameter]:
    """Yield the Pooling layer of each level of an SPP (SPPLayer::GetPoolingParam).

    Args:
        layer: the SPP layer.
        bottom: (batch, channels, height, width).
    """
    for level in range(layer.spp_param.pyramid_height):
        pooling = LayerParameter(name=layer.name, type="Pooling", top=layer.top)
        param = pooling.pooling_param
        param.pool = layer.spp_param.pool
        for side, size in zip("hw", bottom[2:], strict=True):
            kernel = -(-size // 2**level)
            setattr(param, f"kernel_{side}", kernel)
            setattr(param, f"stride_{side}", kernel)
            setattr(param, f"pad_{side}", (kernel * 2**level - size + 1) // 2)
        yield pooling


def _spp(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    """Spatial pyramid pooling: level i has 2^i x 2^i windows; a single level is not flattened."""
    if not layer.spp_param.pyramid_height:
        raise ShapeError("pyramid_height must be positive")
    if len(bottoms[0]) != 4:
        raise ShapeError(f"takes 4 axes (batch, channels, height, width), not {bottoms[0]}")
    levels = [_pooling(level, bottoms, None)[0] for level in pyramid_levels(layer, bottoms[0])]
    if len(levels) == 1:
        return levels
    return [(bottoms[0][0], sum(prod(shape[1:]) for shape in levels))]


def _lrn(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    if layer.lrn_param.local_size % 2 == 0:
        raise ShapeError(f"local_size {layer.lrn_param.local_size} must be odd")
    if len(bottoms[0]) != 4:
        raise ShapeError(f"takes 4 axes (batch, channels, height, width), not {bottoms[0]}")
    return [bottoms[0]]


register("Pooling", top_shapes=_pooling, top_count=(1, 2))
register("SPP", top_shapes=_spp)
register("LRN", top_shapes=_lrn)
