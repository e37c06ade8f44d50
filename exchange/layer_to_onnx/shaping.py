"""Layers that rearrange, combine or select elements, and Parameter."""

from __future__ import annotations

from functools import reduce

from onnx import TensorProto

from ...formats.schema import EltwiseParameter, ReductionParameter
from ...nets.layer_families.shaping import concat_axis, crop_offsets
from ...nets.windows import axis_index
from .base import LayerWriter, rule

_REDUCTIONS = {
    ReductionParameter.MEAN: "ReduceMean",
    ReductionParameter.SUM: "ReduceSum",
    ReductionParameter.ASUM: "ReduceL1",
    ReductionParameter.SUMSQ: "ReduceSumSquare",
}


@rule("Silence")
def _silence(it: LayerWriter) -> list[str]:
    return []


@rule("Parameter")
def _parameter(it: LayerWriter) -> list[str]:
    return [it.node("Identity", it.weights("weight", it.blobs[0]))]


@rule("Concat")
def _concat(it: LayerWriter) -> list[str]:
    axis = axis_index(concat_axis(it.layer), len(it.bottoms[0]))
    return [it.node("Concat", *it.inputs, axis=axis)]


@rule("Slice")
def _slice(it: LayerWriter) -> list[str]:
    axis = axis_index(concat_axis(it.layer), len(it.bottoms[0]))
    sizes = it.integers("sizes", [top[axis] for top in it.tops])
    return it.nodes("Split", [it.inputs[0], sizes], len(it.tops), axis=axis)


@rule("Eltwise")
def _eltwise(it: LayerWriter) -> list[str]:
    """Combine the bottoms; as a Sum, since OpenCV 4.14 merges an Add wrongly into a convolution."""
    param = it.layer.eltwise_param
    if param.operation == EltwiseParameter.MAX:
        return [it.node("Max", *it.inputs)]
    if param.operation == EltwiseParameter.PROD:
        return [reduce(lambda left, right: it.node("Mul", left, right), it.inputs)]
    factors = list(param.coeff) or [1.0] * len(it.inputs)
    scaled = [it.affine(value, factor, 0) for value, factor in zip(it.inputs, factors, strict=True)]
    return [it.node("Sum", *scaled)]


@rule("Flatten", "Reshape")
def _reshape(it: LayerWriter) -> list[str]:
    bottom, top = it.bottoms[0], it.tops[0]
    if len(top) == 2 and bottom[:1] == top[:1]:
        return [it.node("Flatten", it.inputs[0], axis=1)]
    if bottom == top:
        return [it.inputs[0]]
    return [it.reshape(it.inputs[0], bottom, top)]


@rule("Crop")
def _crop(it: LayerWriter) -> list[str]:
    offsets = crop_offsets(it.layer, len(it.bottoms[0]))
    axes = range(len(it.bottoms[0]) - len(offsets), len(it.bottoms[0]))
    ends = [offset + it.tops[0][axis] for axis, offset in zip(axes, offsets, strict=True)]
    bounds = [it.integers("starts", offsets), it.integers("ends", ends), it.integers("axes", axes)]
    return [it.node("Slice", it.inputs[0], *bounds)]


@rule("Tile")
def _tile(it: LayerWriter) -> list[str]:
    repeats = [1] * len(it.bottoms[0])
    repeats[axis_index(it.layer.tile_param.axis, len(repeats))] = it.layer.tile_param.tiles
    return [it.node("Tile", it.inputs[0], it.integers("repeats", repeats))]


@rule("Reduction")
def _reduction(it: LayerWriter) -> list[str]:
    param = it.layer.reduction_param
    axes = range(axis_index(param.axis, len(it.bottoms[0])), len(it.bottoms[0]))
    value = it.reduce(_REDUCTIONS[param.operation], it.inputs[0], axes)
    return [it.affine(value, param.coeff, 0)]


@rule("BatchReindex")
def _batch_reindex(it: LayerWriter) -> list[str]:
    index = it.node("Cast", it.inputs[1], to=TensorProto.INT64)
    return [it.node("Gather", it.inputs[0], index)]
