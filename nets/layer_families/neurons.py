"""Elementwise layers, which keep the shape of their bottom."""

from __future__ import annotations

from math import inf

from ...formats.schema import ExpParameter, LayerParameter, LogParameter
from ..windows import ShapeError
from .base import Shape, Shapes, register, same


def _check_base(param: ExpParameter | LogParameter) -> None:
    if param.base != -1 and not 0 < param.base < inf:
        raise ShapeError(f"base {param.base:g} must be positive, or -1 for e")


def _exp(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    _check_base(layer.exp_param)
    return [bottoms[0]]


def _log(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    _check_base(layer.log_param)
    if layer.log_param.base == 1:
        raise ShapeError("base 1 has no logarithm")
    return [bottoms[0]]


def _clip(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    param = layer.clip_param
    if layer.HasField("clip_param") and not (param.HasField("min") and param.HasField("max")):
        raise ShapeError("give both min and max")
    return [bottoms[0]]


register(
    "ReLU",
    "ELU",
    "Sigmoid",
    "TanH",
    "Power",
    "Dropout",
    "BNLL",
    "Swish",
    top_shapes=same,
    in_place=True,
)
register("AbsVal", top_shapes=same)
register("Threshold", top_shapes=same, in_place=True, undifferentiable=(0,))
register("Exp", top_shapes=_exp, in_place=True)
register("Log", top_shapes=_log, in_place=True)
register("Clip", top_shapes=_clip, in_place=True)
