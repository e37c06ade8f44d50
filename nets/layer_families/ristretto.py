"""Ristretto's layers: the rows of the types that they quantize, with a check of how they do it."""

from __future__ import annotations

from ...formats.ristretto import RISTRETTO_TYPES
from ...formats.schema import LayerParameter, LRNParameter, QuantizationParameter
from ..windows import ShapeError
from . import convolution, pooling  # noqa: F401, adds the rows that these are like
from .base import LAYER_TYPES, Shape, ShapeRule, Shapes, register

__all__ = ["check_quantization"]

MINIFLOAT = QuantizationParameter.MINIFLOAT
POWER_OF_2 = QuantizationParameter.INTEGER_POWER_OF_2_WEIGHTS
# What values a field may have, as numbers of single precision can be of: Ristretto takes any, and
# computes infinities.
_RANGES = {
    **dict.fromkeys(("bw_layer_in", "bw_layer_out", "bw_params"), (1, 32)),
    **dict.fromkeys(("fl_layer_in", "fl_layer_out", "fl_params"), (-126, 126)),
    **{"mant_bits": (0, 23), "exp_bits": (1, 8), "exp_min": (-126, 127), "exp_max": (-126, 127)},
}
_ACTIVATIONS = ("bw_layer_in", "bw_layer_out", "fl_layer_in", "fl_layer_out")
_READ = {
    QuantizationParameter.DYNAMIC_FIXED_POINT: (*_ACTIVATIONS, "bw_params", "fl_params"),
    MINIFLOAT: ("mant_bits", "exp_bits"),
    POWER_OF_2: ("exp_min", "exp_max", *_ACTIVATIONS),
}


def check_quantization(layer: LayerParameter) -> None:
    """Check the fields that a layer reads of its quantization_param.

    Raises:
        ShapeError: a value that no number format has, or one that Ristretto refuses.
    """
    param = layer.quantization_param
    for name in _READ[param.precision]:
        value, (least, most) = getattr(param, name), _RANGES[name]
        if not least <= value <= most:
            raise ShapeError(f"quantization_param has {name} {value}; give {least} to {most}")
    if param.precision == POWER_OF_2 and param.exp_min > param.exp_max:
        raise ShapeError(
            f"quantization_param has exp_min {param.exp_min} above exp_max {param.exp_max}; swap"
            " them"
        )
    if RISTRETTO_TYPES[layer.type] == "LRN":
        if param.precision != MINIFLOAT:
            raise ShapeError("LRNRistretto computes in minifloat alone; give precision: MINIFLOAT")
        if layer.lrn_param.norm_region == LRNParameter.WITHIN_CHANNEL:
            raise ShapeError("LRNRistretto normalizes across channels alone; change norm_region")


def _checked(rule: ShapeRule) -> ShapeRule:
    def top_shapes(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
        check_quantization(layer)
        return rule(layer, bottoms, image)

    return top_shapes


for name, plain in RISTRETTO_TYPES.items():
    row = LAYER_TYPES[plain]
    register(name, **row._replace(top_shapes=_checked(row.top_shapes))._asdict())
