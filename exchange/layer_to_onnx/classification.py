"""Softmax and ArgMax."""

from __future__ import annotations

from math import prod

from onnx import TensorProto

from ...nets.layer_types import Shape
from ...nets.windows import axis_index
from .base import LayerWriter, rule


@rule("Softmax")
def _softmax(it: LayerWriter) -> list[str]:
    axis = axis_index(it.layer.softmax_param.axis, len(it.bottoms[0]))
    return [it.node("Softmax", it.inputs[0], axis=axis)]


@rule("ArgMax")
def _arg_max(it: LayerWriter) -> list[str]:
    """Indices or scores of the largest; of equal ones the last comes first, as in Caffe."""
    param, bottom = it.layer.argmax_param, it.bottoms[0]
    if param.HasField("axis"):
        axis, shape = axis_index(param.axis, len(bottom)), bottom
    else:
        axis, shape = 1, (bottom[0], prod(bottom[1:]))
    value = it.reshape(it.inputs[0], bottom, shape)
    if param.top_k == 1 and not param.out_max_val:
        index = it.node("ArgMax", value, axis=axis, select_last_index=1)
        index = it.node("Cast", index, to=TensorProto.FLOAT)
        return [it.reshape(index, (*shape[:axis], 1, *shape[axis + 1 :]), it.tops[0])]
    values, indices = _largest(it, value, shape, axis)
    if param.HasField("axis"):
        return [values if param.out_max_val else indices]
    if param.out_max_val:
        rows = (bottom[0], 1, param.top_k)
        pair = [it.reshape(each, (bottom[0], param.top_k), rows) for each in (indices, values)]
        both = it.node("Concat", *pair, axis=1)
        return [it.reshape(both, (bottom[0], 2, param.top_k), it.tops[0])]
    return [it.reshape(indices, (bottom[0], param.top_k), it.tops[0])]


def _largest(it: LayerWriter, value: str, shape: Shape, axis: int) -> tuple[str, str]:
    """Return the largest values and their indices, as floats.

    TopK takes the first of equal values, and so it searches from behind.
    """
    ends = [it.integers(name, [at]) for name, at in (("start", -1), ("end", -(1 << 31)))]
    axes, step = it.integers("axes", [axis]), it.integers("step", [-1])
    flipped = it.node("Slice", value, *ends, axes, step)
    count = it.integers("k", [it.layer.argmax_param.top_k])
    values, indices = it.nodes("TopK", [flipped, count], 2, axis=axis)
    floats = it.node("Cast", indices, to=TensorProto.FLOAT)
    return values, it.node("Sub", it.scalar("last", shape[axis] - 1), floats)
