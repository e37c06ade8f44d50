"""Pooling and LRN: the shapes of their tops."""

from __future__ import annotations

from ...formats.schema import LayerParameter, PoolingParameter
from ..windows import ShapeError, pooling_window, window_extents
from .base import Shape, Shapes, register


def _pooling(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    bottom = bottoms[0]
    if len(layer.top) > 1 and layer.pooling_param.pool != PoolingParameter.MAX:
        raise ShapeError("only MAX pooling has a second top, the mask")
    pads = layer.pooling_param
    if pads.pool == PoolingParameter.STOCHASTIC and (pads.pad or pads.pad_h or pads.pad_w):
        raise ShapeError("STOCHASTIC pooling takes no pad")
    if len(bottom) != 4:
        raise ShapeError(f"pools images of 4 axes (batch, channels, height, width), not {bottom}")
    windows = [pooling_window(layer.pooling_param, i, bottom[i + 2]) for i in (0, 1)]
    extents = window_extents(windows, bottom[2:])
    return [(*bottom[:2], *extents)] * len(layer.top)


def _lrn(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    if layer.lrn_param.local_size % 2 == 0:
        raise ShapeError(f"local_size {layer.lrn_param.local_size} must be odd")
    if len(bottoms[0]) != 4:
        raise ShapeError(f"takes 4 axes (batch, channels, height, width), not {bottoms[0]}")
    return [bottoms[0]]


register("Pooling", top_shapes=_pooling, top_count=(1, 2))
register("LRN", top_shapes=_lrn)
