"""Layers with windows or weights of all channels: shapes, parameter blobs, multiply-accumulates."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ...formats.ristretto import plain_type
from ...formats.schema import LayerParameter
from ..windows import (
    ShapeError,
    along_axes,
    axis_index,
    convolution_windows,
    transposed_extents,
    window_extents,
)
from .base import MAX_ELEMENTS, Blob, Shape, Shapes, register


def _convolution(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    """Follow base_conv_layer.cpp, of which a Deconvolution is the reverse."""
    param, bottom = layer.convolution_param, bottoms[0]
    if len(layer.top) != len(bottoms):
        raise ShapeError(f"it has {len(bottoms)} bottoms but {len(layer.top)} tops; give as many")
    if any(shape != bottom for shape in bottoms):
        raise ShapeError("all its bottoms must have the same shape")
    axis = axis_index(param.axis, len(bottom))
    channels, group = bottom[axis], param.group
    if not param.num_output:
        raise ShapeError("num_output must be positive")
    if not group or channels % group or param.num_output % group:
        raise ShapeError(
            f"group {group} must divide its {channels} input and {param.num_output} output channels"
        )
    spatial = bottom[axis + 1 :]
    windows = convolution_windows(param, len(spatial))
    if plain_type(layer.type) == "Deconvolution":
        extents = transposed_extents(windows, spatial)
        positions = param.num_output * prod(spatial)
    else:
        extents = window_extents(windows, spatial)
        positions = channels * prod(extents)
    if positions * prod(w.kernel for w in windows) > MAX_ELEMENTS:
        raise ShapeError("its column buffer has more elements than Caffe can count (2^31 - 1)")
    return [(*bottom[:axis], param.num_output, *extents)] * len(bottoms)


def _convolution_blobs(layer: LayerParameter, bottoms: Shapes) -> list[Blob]:
    """Filters are (outputs, inputs of a group, ...); of a Deconvolution (inputs, outputs, ...)."""
    param, bottom = layer.convolution_param, bottoms[0]
    axis = axis_index(param.axis, len(bottom))
    kernel = along_axes(param, "kernel_size", len(bottom) - axis - 1)
    outer, inner = param.num_output, bottom[axis]
    if plain_type(layer.type) == "Deconvolution":
        outer, inner = inner, outer
    return _with_bias((outer, inner // param.group, *kernel), param.num_output, param.bias_term)


def _with_bias(weights: Shape, outputs: int, has_bias: bool) -> list[Blob]:
    """Return the blobs of weights, and of biases if the layer has them."""
    return [Blob(weights), Blob((outputs,))] if has_bias else [Blob(weights)]


def _convolution_macs(bottoms: Shapes, tops: Shapes, blobs: Sequence[Blob]) -> int:
    """Count one multiply-accumulate for each output element and weight of its filter, no biases."""
    return sum(map(prod, tops)) * prod(blobs[0].shape[1:])


def _deconvolution_macs(bottoms: Shapes, tops: Shapes, blobs: Sequence[Blob]) -> int:
    """Count one multiply-accumulate for each input element and weight of its filter, no biases."""
    return sum(map(prod, bottoms)) * prod(blobs[0].shape[1:])


def _im2col(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    param, bottom = layer.convolution_param, bottoms[0]
    axis = axis_index(param.axis, len(bottom))
    spatial = bottom[axis + 1 :]
    if not spatial:
        raise ShapeError(f"needs an axis behind axis {axis} of its bottom, {bottom}")
    windows = convolution_windows(param, len(spatial))
    channels = bottom[axis] * prod(window.kernel for window in windows)
    return [(*bottom[:axis], channels, *window_extents(windows, spatial))]


def _embed(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    param = layer.embed_param
    if not (param.num_output and param.input_dim):
        raise ShapeError("num_output and input_dim must be positive")
    return [(*bottoms[0], param.num_output)]


def _embed_blobs(layer: LayerParameter, bottoms: Shapes) -> list[Blob]:
    param = layer.embed_param
    return _with_bias((param.input_dim, param.num_output), param.num_output, param.bias_term)


def _inner_product(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    param = layer.inner_product_param
    if not param.num_output:
        raise ShapeError("num_output must be positive")
    axis = axis_index(param.axis, len(bottoms[0]))
    return [(*bottoms[0][:axis], param.num_output)]


def _inner_product_blobs(layer: LayerParameter, bottoms: Shapes) -> list[Blob]:
    param = layer.inner_product_param
    inputs = prod(bottoms[0][axis_index(param.axis, len(bottoms[0])) :])
    shape = (inputs, param.num_output) if param.transpose else (param.num_output, inputs)
    return _with_bias(shape, param.num_output, param.bias_term)


def _inner_product_macs(bottoms: Shapes, tops: Shapes, blobs: Sequence[Blob]) -> int:
    return prod(blobs[0].shape) * prod(tops[0][:-1])


for name, macs in (("Convolution", _convolution_macs), ("Deconvolution", _deconvolution_macs)):
    register(
        name,
        top_shapes=_convolution,
        blobs=_convolution_blobs,
        macs=macs,
        bottom_count=(1, None),
        top_count=(1, None),
    )
register("Im2col", top_shapes=_im2col)
register(
    "InnerProduct",
    top_shapes=_inner_product,
    blobs=_inner_product_blobs,
    macs=_inner_product_macs,
)
register("Embed", top_shapes=_embed, blobs=_embed_blobs, undifferentiable=(0,))
