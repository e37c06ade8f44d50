"""Scores of classes: Softmax, Accuracy, ArgMax."""

from __future__ import annotations

from math import prod

from ...formats.schema import LayerParameter
from ..windows import ShapeError, axis_index
from .base import Shape, Shapes, register


def _softmax(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    axis_index(layer.softmax_param.axis, len(bottoms[0]))
    return [bottoms[0]]


def _arg_max(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    param, bottom = layer.argmax_param, bottoms[0]
    if not bottom:
        raise ShapeError("its bottom is a scalar, which has no largest element")
    if param.HasField("axis"):
        axis = axis_index(param.axis, len(bottom))
        candidates, shape = bottom[axis], (*bottom[:axis], param.top_k, *bottom[axis + 1 :])
    else:
        candidates = prod(bottom[1:])
        pair = 2 if param.out_max_val else 1
        shape = (bottom[0], pair, param.top_k, *(1,) * (len(bottom) - 3))
    if not 1 <= param.top_k <= candidates:
        raise ShapeError(f"top_k {param.top_k} is not between 1 and its {candidates} candidates")
    return [shape]


def check_labels(bottoms: Shapes, axis: int) -> int:
    """Return the axis of the classes; check that each prediction has a label."""
    axis = axis_index(axis, len(bottoms[0]))
    predictions = prod(bottoms[0]) // max(bottoms[0][axis], 1)
    if predictions != prod(bottoms[1]):
        raise ShapeError(
            f"{prod(bottoms[1])} labels for {predictions} predictions"
            f" (scores {bottoms[0]}, labels {bottoms[1]})"
        )
    return axis


def _accuracy(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    axis, top_k = check_labels(bottoms, layer.accuracy_param.axis), layer.accuracy_param.top_k
    if top_k > bottoms[0][axis]:
        raise ShapeError(f"top_k {top_k} is above its {bottoms[0][axis]} classes")
    return [(), (bottoms[0][axis],)][: len(layer.top)]


register("Softmax", top_shapes=_softmax, in_place=True, ends_net=True)
register(
    "Accuracy",
    top_shapes=_accuracy,
    bottom_count=(2, 2),
    top_count=(1, 2),
    undifferentiable=(0, 1),
    ends_net=True,
)
register("ArgMax", top_shapes=_arg_max, undifferentiable=(0,), ends_net=True)
