"""Convolution and InnerProduct: shapes, parameter blobs and multiply-accumulates."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ...formats.schema import LayerParameter
from ..windows import ShapeError, along_axes, axis_index, convolution_windows, window_extents
from .base import MAX_ELEMENTS, Blob, Shape, Shapes, register


def _convolution(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    param = layer.convolution_param
    if len(layer.top) != len(bottoms):
        raise ShapeError(f"it has {len(bottoms)} bottoms but {len(layer.top)} tops; give as many")
    tops = []
    for bottom in bottoms:
        if bottom != bottoms[0]:
            raise ShapeError("all its bottoms must have the same shape")
        axis = axis_index(param.axis, len(bottom))
        channels, group = bottom[axis], param.group
        if not param.num_output:
            raise ShapeError("num_output must be positive")
        if not group or channels % group or param.num_output % group:
            raise ShapeError(
                f"group {group} must divide its {channels} input and {param.num_output} output"
                " channels"
            )
        spatial = bottom[axis + 1 :]
        windows = convolution_windows(param, len(spatial))
        extents = window_extents(windows, spatial)
        if prod(extents) * channels * prod(w.kernel for w in windows) > MAX_ELEMENTS:
            raise ShapeError("its column buffer has more elements than Caffe can count (2^31 - 1)")
        tops.append((*bottom[:axis], param.num_output, *extents))
    return tops


def _convolution_blobs(layer: LayerParameter, bottoms: Shapes) -> list[Blob]:
    param, bottom = layer.convolution_param, bottoms[0]
    axis = axis_index(param.axis, len(bottom))
    kernel = along_axes(param, "kernel_size", len(bottom) - axis - 1)
    weights = Blob((param.num_output, bottom[axis] // param.group, *kernel))
    return [weights, Blob((param.num_output,))] if param.bias_term else [weights]


def _convolution_macs(bottoms: Shapes, tops: Shapes, blobs: Sequence[Blob]) -> int:
    """Count one multiply-accumulate for each output element and weight of its filter, no biases."""
    return sum(map(prod, tops)) * prod(blobs[0].shape[1:])


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
    return [Blob(shape), Blob((param.num_output,))] if param.bias_term else [Blob(shape)]


def _inner_product_macs(bottoms: Shapes, tops: Shapes, blobs: Sequence[Blob]) -> int:
    return prod(blobs[0].shape) * prod(tops[0][:-1])


register(
    "Convolution",
    top_shapes=_convolution,
    blobs=_convolution_blobs,
    macs=_convolution_macs,
    bottom_count=(1, None),
    top_count=(1, None),
)
register(
    "InnerProduct",
    top_shapes=_inner_product,
    blobs=_inner_product_blobs,
    macs=_inner_product_macs,
)
