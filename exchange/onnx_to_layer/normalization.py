"""BatchNormalization, and products and sums: with constants a Scale or Bias, else an Eltwise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .base import MadeLayer, NodeReader, NoLayerError, Value, rule
from .neurons import power

_WITH_BIAS = {
    "Convolution": "convolution_param",
    "Deconvolution": "convolution_param",
    "InnerProduct": "inner_product_param",
}


@rule("BatchNormalization")
def _batch_normalization(it: NodeReader) -> Sequence[Value]:
    """A BatchNorm, and a Scale where that does anything."""
    if it.get("training_mode", 0) or not it.get("spatial", 1):
        raise NoLayerError("Caffe's BatchNorm has stored statistics, one per channel")
    names = ("scale", "bias", "mean", "variance")
    scale, bias, mean, variance = (it.constant(i + 1, name) for i, name in enumerate(names))
    eps = it.get("epsilon", 1e-5)
    param = {} if np.float32(eps) == np.float32(1e-5) else {"eps": eps}
    blobs = [mean, variance, np.ones(1, "f4")]
    made = it.layer("BatchNorm", [it.value()], blobs, batch_norm_param=param)
    if (scale == 1).all() and not bias.any():
        return made
    return it.layer("Scale", made, [scale, bias], scale_param={"bias_term": True})


@rule("Mul", "Div")
def _product(it: NodeReader) -> Sequence[Value]:
    found = _constant_operand(it)
    if found is None:
        if it.node.op_type == "Div":
            inverse = it.layer("Power", [it.value(1)], power_param={"power": -1.0})[0]
            return _combine(it, it.value(), inverse, "PROD")
        return _combine(it, it.value(), it.value(1), "PROD")
    bottom, array, is_second = found
    if it.node.op_type == "Div" and not is_second:
        if array.size != 1:
            raise NoLayerError("Caffe has no quotient of numbers and a layer's result")
        inverse = it.layer("Power", [bottom], power_param={"power": -1.0})[0]
        return power(it, inverse, scale=float(array.reshape(-1)[0]))
    if it.node.op_type == "Div":
        array = (1 / array).astype("f4")
    if array.size == 1:
        return power(it, bottom, scale=float(array.reshape(-1)[0]))
    axis, blob = _spanned(array, bottom)
    return it.layer("Scale", [bottom], [blob], scale_param=_axes(axis, blob))


@rule("Add", "Sub")
def _sum(it: NodeReader) -> Sequence[Value]:
    found, sign = _constant_operand(it), 1 if it.node.op_type == "Add" else -1
    if found is None:
        return _combine(it, it.value(), it.value(1), "SUM", sign)
    bottom, array, is_second = found
    if sign < 0 and not is_second:
        bottom = power(it, bottom, scale=-1)[0]
    elif sign < 0:
        array = -array
    made = it.maker(bottom, *_WITH_BIAS)
    bias = None if made is None else _bias_of_layer(made, array)
    if made is not None and bias is not None:
        getattr(made.param, _WITH_BIAS[made.param.type]).ClearField("bias_term")
        made.blobs.append(bias)
        return made.tops
    if array.size == 1:
        return power(it, bottom, shift=float(array.reshape(-1)[0]))
    axis, blob = _spanned(array, bottom)
    scale = it.maker(bottom, "Scale")
    if scale is not None and [each.shape for each in scale.blobs] == [blob.shape]:
        param = scale.param.scale_param
        if param.axis == axis:
            param.bias_term = True
            scale.blobs.append(blob)
            return scale.tops
    return it.layer("Bias", [bottom], [blob], bias_param=_axes(axis, blob))


def _constant_operand(it: NodeReader) -> tuple[Value, np.ndarray, bool] | None:
    """Return the value, the constant, and whether that is the second; None for two values."""
    for index in (1, 0):
        if it.has(index) and isinstance(it.inputs[index], np.ndarray):
            return it.value(1 - index), it.constant(index, "operand"), index == 1
    return None


def _bias_of_layer(made: MadeLayer, array: np.ndarray) -> np.ndarray | None:
    """Return an added constant as the bias of a layer that has none; None where it can't be it."""
    outputs = made.tops[0].shape[-1 if made.param.type == "InnerProduct" else 1]
    after = 0 if made.param.type == "InnerProduct" else len(made.tops[0].shape) - 2
    shape = array.shape[max(0, array.ndim - after - 1) :]
    is_bias = array.size == outputs and shape == (outputs, *[1] * after)
    return array.reshape(-1) if is_bias and len(made.blobs) == 1 else None


def _spanned(array: np.ndarray, bottom: Value) -> tuple[int, np.ndarray]:
    """Return the axis from which on a Scale or Bias has a constant's values, and its blob.

    Raises:
        NoLayerError: it spans other axes than a run of the bottom's, or makes the bottom larger.
    """
    if array.ndim > len(bottom.shape):
        raise NoLayerError(f"a constant of shape {array.shape} has more axes than {bottom.shape}")
    shape = (1,) * (len(bottom.shape) - array.ndim) + array.shape
    wide = [axis for axis, size in enumerate(shape) if size != 1]
    first, last = wide[0], wide[-1]
    blob = array.reshape(shape[first : last + 1])
    if blob.shape != bottom.shape[first : last + 1]:
        raise NoLayerError(f"a constant of shape {array.shape} does not fit {bottom.shape}")
    return first, blob


def _axes(axis: int, blob: np.ndarray) -> dict[str, int]:
    param = {"axis": axis, "num_axes": blob.ndim}
    return {name: value for name, value in param.items() if value != 1}


def _combine(
    it: NodeReader, first: Value, second: Value, operation: str, sign: int = 1
) -> list[Value]:
    """Combine two values: as an Eltwise, or where one is smaller, as a Scale or Bias."""
    if first.shape == second.shape:
        return eltwise(it, [first, second], operation, sign)
    small, large = sorted([first, second], key=lambda value: int(np.prod(value.shape)))
    shape = small.shape
    while shape[-1:] == (1,):
        shape = shape[:-1]
    if not shape or large.shape[: len(shape)] != shape or len(small.shape) > len(large.shape):
        raise NoLayerError(f"Caffe can't combine shapes {first.shape} and {second.shape}")
    small = it.reshape(small, shape)
    if sign < 0:
        if small is first:
            raise NoLayerError(f"Caffe can't combine shapes {first.shape} and {second.shape}")
        small = it.layer("Power", [small], power_param={"scale": -1.0})[0]
    if operation == "PROD":
        return it.layer("Scale", [large, small], scale_param={"axis": 0})
    return it.layer("Bias", [large, small], bias_param={"axis": 0})


@rule("Sum", "Max")
def _sum_or_maximum(it: NodeReader) -> Sequence[Value]:
    values = [it.value(index) for index in range(len(it.inputs))]
    return eltwise(it, values, "SUM" if it.node.op_type == "Sum" else "MAX")


def eltwise(it: NodeReader, values: Sequence[Value], operation: str, sign: int = 1) -> list[Value]:
    """Make an Eltwise; of one value, nothing. `sign` is that of the second value in a sum."""
    if len(values) == 1:
        return list(values)
    param: dict[str, object] = {} if operation == "SUM" else {"operation": operation}
    if sign < 0:
        param["coeff"] = [1, -1]
    return it.layer("Eltwise", values, eltwise_param=param)
