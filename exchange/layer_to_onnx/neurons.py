"""Elementwise layers."""

from __future__ import annotations

from math import log

import numpy as np
from onnx import TensorProto, numpy_helper

from .base import LayerWriter, rule

_PLAIN = {"Sigmoid": "Sigmoid", "TanH": "Tanh", "AbsVal": "Abs", "BNLL": "Softplus"}


@rule(*_PLAIN)
def _plain(it: LayerWriter) -> list[str]:
    return [it.node(_PLAIN[it.layer.type], it.inputs[0])]


@rule("Dropout", "Split")
def _pass_on(it: LayerWriter) -> list[str]:
    """In TEST a Dropout does nothing."""
    return [it.inputs[0]] * len(it.tops)


@rule("ReLU")
def _relu(it: LayerWriter) -> list[str]:
    slope = it.layer.relu_param.negative_slope
    if slope:
        return [it.node("LeakyRelu", it.inputs[0], alpha=slope)]
    return [it.node("Relu", it.inputs[0])]


@rule("PReLU")
def _prelu(it: LayerWriter) -> list[str]:
    slope = it.blobs[0].reshape(-1, *[1] * (len(it.bottoms[0]) - 2))
    return [it.node("PRelu", it.inputs[0], it.weights("weight", slope))]


@rule("ELU")
def _elu(it: LayerWriter) -> list[str]:
    return [it.node("Elu", it.inputs[0], alpha=it.layer.elu_param.alpha)]


@rule("Swish")
def _swish(it: LayerWriter) -> list[str]:
    beta = it.affine(it.inputs[0], it.layer.swish_param.beta, 0)
    return [it.node("Mul", it.inputs[0], it.node("Sigmoid", beta))]


@rule("Clip")
def _clip(it: LayerWriter) -> list[str]:
    param = it.layer.clip_param
    # Of limits that cross, Caffe's lower one counts, and ONNX's upper one.
    limits = it.scalar("min", param.min), it.scalar("max", max(param.min, param.max))
    return [it.node("Clip", it.inputs[0], *limits)]


@rule("Threshold")
def _threshold(it: LayerWriter) -> list[str]:
    threshold = it.scalar("threshold", it.layer.threshold_param.threshold)
    above = it.node("Greater", it.inputs[0], threshold)
    return [it.node("Cast", above, to=TensorProto.FLOAT)]


@rule("Power")
def _power(it: LayerWriter) -> list[str]:
    """(shift + scale * x)^power; a constant where power_layer.cpp has one."""
    param = it.layer.power_param
    if param.power == 0 or param.scale == 0:
        constant = 1.0 if param.power == 0 else param.shift**param.power
        value = numpy_helper.from_array(np.array([constant], "f4"))
        return [it.node("ConstantOfShape", it.node("Shape", it.inputs[0]), value=value)]
    value = it.affine(it.inputs[0], param.scale, param.shift)
    if param.power != 1:
        value = it.node("Pow", value, it.scalar("power", param.power))
    return [value]


@rule("Exp")
def _exp(it: LayerWriter) -> list[str]:
    param = it.layer.exp_param
    log_base = 1.0 if param.base == -1 else log(param.base)
    return [it.node("Exp", it.affine(it.inputs[0], param.scale * log_base, param.shift * log_base))]


@rule("Log")
def _log(it: LayerWriter) -> list[str]:
    param = it.layer.log_param
    factor = 1.0 if param.base == -1 else 1 / log(param.base)
    value = it.node("Log", it.affine(it.inputs[0], param.scale, param.shift))
    return [it.affine(value, factor, 0)]
