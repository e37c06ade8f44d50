"""Operators that rearrange, join, cut or reduce, and Softmax."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod

import numpy as np
from onnx import TensorProto

from ...nets.layer_types import Shape
from .base import NodeReader, NoLayerError, Padding, Value, rule
from .pooling import global_pooling

_REDUCTIONS = {
    "ReduceSum": "SUM",
    "ReduceMean": "MEAN",
    "ReduceL1": "ASUM",
    "ReduceSumSquare": "SUMSQ",
}
_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)


@rule("Identity", "Dropout")
def _pass_on(it: NodeReader) -> Sequence[Value]:
    return [it.value(padded=True)]


@rule("Cast")
def _cast(it: NodeReader) -> Sequence[Value]:
    if it.get("to") not in _FLOATS:
        raise NoLayerError("Caffe computes with floating-point numbers alone")
    return [it.value()]


@rule("Pad")
def _pad(it: NodeReader) -> Sequence[Value]:
    bottom, axes = it.value(), len(it.value().shape)
    pads = it.integers(1, "pads", [])
    if it.has(3):
        pads = _pads_of_all_axes(pads, it.integers(3, "axes"), axes)
    filler = it.constant(2, "value") if it.has(2) else np.array(it.get("value", 0.0))
    if it.get("mode", b"constant") != b"constant":
        raise NoLayerError("Caffe pads with zeros, not with values of the image")
    begins, ends = list(pads[:axes]), list(pads[axes:])
    if len(begins) != axes or len(ends) != axes or min(pads, default=-1) < 0:
        raise NoLayerError(f"its pads are not for {axes} axes, or below 0")
    if any(begins[:2] + ends[:2]):
        raise NoLayerError("Caffe pads height and width, not batch or channels")
    if not any(pads):
        return [bottom]
    padding = Padding(bottom, begins[2:], ends[2:], float(filler.reshape(-1)[0]))
    return [Value(bottom.shape, bottom.layer, padding=padding)]


def _pads_of_all_axes(pads: Sequence[int], axes: Sequence[int], count: int) -> list[int]:
    result = [0] * 2 * count
    for index, axis in enumerate(axes):
        result[axis % count] = pads[index]
        result[axis % count + count] = pads[index + len(axes)]
    return result


@rule("Concat")
def _concat(it: NodeReader) -> Sequence[Value]:
    values = [it.value(index) for index in range(len(it.inputs))]
    if len(values) == 1:
        return values
    axis = _axis(it, it.get("axis", 1), values[0])
    return it.layer("Concat", values, concat_param={} if axis == 1 else {"axis": axis})


def _axis(it: NodeReader, axis: int, value: Value) -> int:
    count = len(value.shape)
    if not -count <= axis < count:
        raise NoLayerError(f"axis {axis} is none of shape {value.shape}")
    return axis % count


@rule("Split")
def _split(it: NodeReader) -> Sequence[Value]:
    bottom, count = it.value(), len(it.node.output)
    axis = _axis(it, it.get("axis", 0), bottom)
    size = bottom.shape[axis]
    equal = -(-size // count)
    default = [equal] * (count - 1) + [size - equal * (count - 1)]
    sizes = it.integers(1, "split") or default
    if len(sizes) != count or sum(sizes) != size or min(sizes) < 1:
        raise NoLayerError(f"it does not cut {size} into {count}")
    return _cut(it, bottom, axis, list(accumulate(sizes))[:-1])


def _cut(it: NodeReader, bottom: Value, axis: int, points: Sequence[int]) -> list[Value]:
    """Cut an axis at some points."""
    if not points:
        return [bottom]
    param: dict[str, object] = {"slice_point": list(points)}
    if axis != 1:
        param["axis"] = axis
    return it.layer("Slice", [bottom], tops=len(points) + 1, slice_param=param)


@rule("Slice")
def _slice(it: NodeReader) -> Sequence[Value]:
    """Cut along each axis."""
    value = it.value()
    starts, ends = it.integers(1, "starts", []), it.integers(2, "ends", [])
    axes = it.integers(3, "axes") or list(range(len(starts)))
    if not len(starts) == len(ends) == len(axes):
        raise NoLayerError("its starts, ends and axes differ in number")
    if any(step != 1 for step in it.integers(4, "steps", [])):
        raise NoLayerError("Caffe's Slice takes all elements from one to another")
    for number, start, end in zip(axes, starts, ends, strict=True):
        axis = _axis(it, number, value)
        size = value.shape[axis]
        first, last, _ = slice(start, end).indices(size)
        if first >= last:
            raise NoLayerError("it takes nothing")
        points = [point for point in (first, last) if 0 < point < size]
        value = _cut(it, value, axis, points)[1 if first else 0]
    return [value]


@rule("Flatten")
def _flatten(it: NodeReader) -> Sequence[Value]:
    bottom = it.value()
    axis = it.get("axis", 1)
    axis += len(bottom.shape) if axis < 0 else 0
    return [it.reshape(bottom, (prod(bottom.shape[:axis]), prod(bottom.shape[axis:])))]


@rule("Reshape")
def _reshape(it: NodeReader) -> Sequence[Value]:
    bottom, dims = it.value(), it.integers(1, "shape")
    if it.get("allowzero", 0) and 0 in dims:
        raise NoLayerError("Caffe has no axes without elements")
    if any(dim == 0 and index >= len(bottom.shape) for index, dim in enumerate(dims)):
        raise NoLayerError("it copies an axis that its input has not")
    shape = [bottom.shape[index] if dim == 0 else dim for index, dim in enumerate(dims)]
    if shape.count(-1) == 1:
        rest = prod(dim for dim in shape if dim != -1)
        shape[shape.index(-1)] = prod(bottom.shape) // rest if rest > 0 else 0
    return [it.reshape(bottom, _same_elements(shape, bottom))]


def _same_elements(shape: Sequence[int], bottom: Value) -> Shape:
    if min(shape, default=1) < 1 or prod(shape) != prod(bottom.shape):
        raise NoLayerError(f"shape {tuple(shape)} has not the elements of {bottom.shape}")
    return tuple(shape)


@rule("Squeeze", "Unsqueeze")
def _squeeze(it: NodeReader) -> Sequence[Value]:
    bottom, axes = it.value(), it.integers(1, "axes")
    shape = list(bottom.shape)
    if it.node.op_type == "Unsqueeze":
        count = len(shape) + len(axes or ())
        for axis in sorted(each % count for each in axes or ()):
            shape.insert(axis, 1)
    else:
        ones = [axis for axis, size in enumerate(shape) if size == 1]
        gone = {_axis(it, axis, bottom) for axis in axes} if axes else {*ones}
        shape = [size for axis, size in enumerate(shape) if axis not in gone]
    return [it.reshape(bottom, _same_elements(shape, bottom))]


@rule("Transpose")
def _transpose(it: NodeReader) -> Sequence[Value]:
    bottom = it.value()
    order = it.get("perm") or list(range(len(bottom.shape)))[::-1]
    if sorted(order) != list(range(len(bottom.shape))):
        raise NoLayerError(f"its perm is no order of {len(bottom.shape)} axes")
    wide = [axis for axis in order if bottom.shape[axis] != 1]
    if wide != sorted(wide) or (order[0] != 0 and wide):
        raise NoLayerError("Caffe has no layer that swaps axes")
    return [it.reshape(bottom, tuple(bottom.shape[axis] for axis in order))]


@rule("Tile")
def _tile(it: NodeReader) -> Sequence[Value]:
    bottom = it.value()
    value, repeats = bottom, it.integers(1, "repeats", [])
    if len(repeats) != len(bottom.shape):
        raise NoLayerError(f"its repeats are not for {len(bottom.shape)} axes")
    for axis, tiles in enumerate(repeats):
        if tiles != 1:
            value = it.layer("Tile", [value], tile_param={"axis": axis, "tiles": tiles})[0]
    return [value]


@rule(*_REDUCTIONS, "ReduceMax")
def _reduce(it: NodeReader) -> Sequence[Value]:
    """Means and maxima of planes are poolings; others of the last axes a Reduction."""
    bottom, operator, count = it.value(), it.node.op_type, len(it.value().shape)
    given = it.integers(1, "axes")
    if not given and it.get("noop_with_empty_axes", 0):
        return [bottom]
    axes = sorted(_axis(it, axis, bottom) for axis in given) if given else list(range(count))
    keep = it.get("keepdims", 1)
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(bottom.shape))
    shape = kept if keep else tuple(s for a, s in enumerate(bottom.shape) if a not in axes)
    if count == 4 and axes == [2, 3] and operator in ("ReduceMean", "ReduceMax"):
        pooled = global_pooling(it, bottom, operator == "ReduceMean")[0]
        return [it.reshape(pooled, shape)]
    if operator not in _REDUCTIONS or axes != list(range(count - len(axes), count)):
        raise NoLayerError("Caffe's Reduction takes the last axes, and no maximum")
    param: dict[str, object] = {"operation": _REDUCTIONS[operator]}
    if axes[0]:
        param["axis"] = axes[0]
    return [it.reshape(it.layer("Reduction", [bottom], reduction_param=param)[0], shape)]


@rule("Softmax", "LogSoftmax")
def _softmax(it: NodeReader) -> Sequence[Value]:
    """Before opset 13, over all axes from `axis` on."""
    bottom = it.value()
    axis = _axis(it, it.get("axis", 1 if it.opset < 13 else -1), bottom)
    if it.opset < 13 and prod(bottom.shape[axis + 1 :]) != 1:
        shape = (prod(bottom.shape[:axis]), prod(bottom.shape[axis:]))
        made = it.layer("Softmax", [it.reshape(bottom, shape)])[0]
        made = it.reshape(made, bottom.shape)
    else:
        param = {} if axis == 1 else {"axis": axis}
        made = it.layer("Softmax", [bottom], softmax_param=param)[0]
    return it.layer("Log", [made]) if it.node.op_type == "LogSoftmax" else [made]


@rule("ArgMax")
def _arg_max(it: NodeReader) -> Sequence[Value]:
    bottom = it.value()
    axis = _axis(it, it.get("axis", 0), bottom)
    made = it.layer("ArgMax", [bottom], argmax_param={"axis": axis})[0]
    if it.get("keepdims", 1):
        return [made]
    return [it.reshape(made, bottom.shape[:axis] + bottom.shape[axis + 1 :])]
