"""Elementwise operators of one value, and those with a number as the other."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np

from .base import NodeReader, NoLayerError, Value, rule

_PLAIN = {
    "Relu": "ReLU",
    "Sigmoid": "Sigmoid",
    "Tanh": "TanH",
    "Abs": "AbsVal",
    "Exp": "Exp",
    "Log": "Log",
    "Softplus": "BNLL",
}
_POWERS = {"Neg": {"scale": -1.0}, "Sqrt": {"power": 0.5}, "Reciprocal": {"power": -1.0}}
_LARGEST = float(np.finfo("f4").max)


@rule(*_PLAIN)
def _plain(it: NodeReader) -> Sequence[Value]:
    return it.layer(_PLAIN[it.node.op_type], [it.value()])


@rule(*_POWERS)
def _power_of_one(it: NodeReader) -> Sequence[Value]:
    return it.layer("Power", [it.value()], power_param=_POWERS[it.node.op_type])


@rule("LeakyRelu")
def _leaky_relu(it: NodeReader) -> Sequence[Value]:
    return it.layer("ReLU", [it.value()], relu_param={"negative_slope": it.get("alpha", 0.01)})


@rule("Elu")
def _elu(it: NodeReader) -> Sequence[Value]:
    alpha = it.get("alpha", 1.0)
    return it.layer("ELU", [it.value()], elu_param={} if alpha == 1 else {"alpha": alpha})


@rule("PRelu")
def _prelu(it: NodeReader) -> Sequence[Value]:
    bottom, slope = it.value(), it.constant(1, "slope")
    if slope.size == 1:
        blob = slope.reshape(())
        return it.layer("PReLU", [bottom], [blob], prelu_param={"channel_shared": True})
    channels = bottom.shape[1] if len(bottom.shape) > 1 else 0
    wanted = (channels, *[1] * (len(bottom.shape) - 2))
    if slope.shape[-len(wanted) :] != wanted or slope.size != channels:
        raise NoLayerError(f"its slope of shape {slope.shape} is not one per channel")
    return it.layer("PReLU", [bottom], [slope.reshape(-1)])


@rule("Clip")
def _clip(it: NodeReader) -> Sequence[Value]:
    limits = []
    for index, name, none in ((1, "min", -inf), (2, "max", inf)):
        limit = it.constant(index, name) if it.has(index) else it.get(name, none)
        limits.append(float(np.asarray(limit).reshape(-1)[0]))
    low, high = (float(np.clip(limit, -_LARGEST, _LARGEST)) for limit in limits)
    if low > high:
        low = high  # ONNX's upper limit counts
    return it.layer("Clip", [it.value()], clip_param={"min": low, "max": high})


@rule("Greater")
def _greater(it: NodeReader) -> Sequence[Value]:
    threshold = it.constant(1, "threshold")
    if threshold.size != 1:
        raise NoLayerError("Caffe's Threshold has one number")
    param = {"threshold": float(threshold.reshape(-1)[0])}
    return it.layer("Threshold", [it.value()], threshold_param=param)


@rule("Pow")
def _pow(it: NodeReader) -> Sequence[Value]:
    exponent = it.constant(1, "exponent")
    if exponent.size != 1:
        raise NoLayerError("Caffe's Power has one exponent")
    return power(it, it.value(), power=float(exponent.reshape(-1)[0]))


def power(
    it: NodeReader, bottom: Value, scale: float = 1, shift: float = 0, power: float = 1
) -> list[Value]:
    """Make (shift + scale * x)^power, of a Power that makes the bottom where it has room."""
    before = it.maker(bottom, "Power")
    if before is not None and before.param.power_param.power == 1 and scale == 1:
        merged = before.param.power_param
        if shift and not merged.shift:
            merged.shift = shift
            return before.tops
        if power != 1:
            merged.power = power
            return before.tops
    fields = {"scale": scale, "shift": shift, "power": power}
    defaults = {"scale": 1, "shift": 0, "power": 1}
    param = {name: value for name, value in fields.items() if value != defaults[name]}
    return it.layer("Power", [bottom], power_param=param)
