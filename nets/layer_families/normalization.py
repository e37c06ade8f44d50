"""BatchNorm, MVN, Scale, Bias and PReLU: layers with a value per channel."""

from __future__ import annotations

from ...formats.schema import BiasParameter, LayerParameter, ScaleParameter
from ..windows import ShapeError, axis_index
from .base import Blob, Shape, ShapeRule, Shapes, four_axes, register


def _channelled(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    if len(bottoms[0]) < 2:
        raise ShapeError(f"needs channels, which are axis 1, but its bottom is {bottoms[0]}")
    return [bottoms[0]]


def _mvn(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    return [four_axes(bottoms[0])]


def _batch_norm_blobs(layer: LayerParameter, bottoms: Shapes) -> list[Blob]:
    """Mean, variance and the factor that scales both: statistics that no solver updates."""
    channels = (bottoms[0][1],)
    return [Blob(channels, False), Blob(channels, False), Blob((1,), False)]


def _prelu_blobs(layer: LayerParameter, bottoms: Shapes) -> list[Blob]:
    return [Blob(() if layer.prelu_param.channel_shared else (bottoms[0][1],))]


def _spanned(param: ScaleParameter | BiasParameter, bottom: Shape) -> Shape:
    """Return the axes that a Scale or Bias blob covers: `num_axes` of them from `axis` on."""
    axis = axis_index(param.axis, len(bottom))
    end = len(bottom) if param.num_axes == -1 else axis + param.num_axes
    if param.num_axes < -1 or end > len(bottom):
        raise ShapeError(f"num_axes {param.num_axes} from axis {axis} goes past shape {bottom}")
    return bottom[axis:end]


def _scale_blobs(layer: LayerParameter, bottoms: Shapes) -> list[Blob]:
    param = layer.scale_param
    if len(bottoms) > 1:
        return [Blob(bottoms[1])] if param.bias_term else []
    return [Blob(_spanned(param, bottoms[0]))] * (2 if param.bias_term else 1)


def _bias_blobs(layer: LayerParameter, bottoms: Shapes) -> list[Blob]:
    return [] if len(bottoms) > 1 else [Blob(_spanned(layer.bias_param, bottoms[0]))]


def _scaled(field: str) -> ShapeRule:
    def rule(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
        param, bottom = getattr(layer, field), bottoms[0]
        if len(bottoms) == 1:
            _spanned(param, bottom)
        elif bottoms[1]:
            axis = axis_index(param.axis, len(bottom))
            if bottom[axis : axis + len(bottoms[1])] != bottoms[1]:
                raise ShapeError(f"{bottoms[1]} does not match {bottom} from axis {axis} on")
        return [bottom]

    return rule


register("PReLU", top_shapes=_channelled, blobs=_prelu_blobs, in_place=True)
register("MVN", top_shapes=_mvn, in_place=True)
register("BatchNorm", top_shapes=_channelled, blobs=_batch_norm_blobs, in_place=True)
register(
    "Scale",
    top_shapes=_scaled("scale_param"),
    blobs=_scale_blobs,
    bottom_count=(1, 2),
    in_place=True,
)
register(
    "Bias", top_shapes=_scaled("bias_param"), blobs=_bias_blobs, bottom_count=(1, 2), in_place=True
)
