"""BatchNorm, MVN, Scale and Bias."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...nets.layer_families.base import four_axes
from ...nets.windows import axis_index
from .base import LayerWriter, rule


@rule("BatchNorm")
def _batch_norm(it: LayerWriter) -> list[str]:
    """Normalize by the stored sums of mean and variance, divided by the third blob, their weight.

    A Scale behind it stays a node of its own, which runtimes merge.
    """
    param = it.layer.batch_norm_param
    if param.HasField("use_global_stats") and not param.use_global_stats:
        axes = [axis for axis in range(len(it.bottoms[0])) if axis != 1]
        value, of_batch = _centered(it, it.inputs[0], axes)
        return [it.node("Div", value, it.node("Sqrt", it.affine(of_batch, 1, param.eps)))]
    weight = np.float32(it.blobs[2].reshape(-1)[0])
    inverse = np.float32(0 if weight == 0 else 1 / weight)
    mean, variance = (blob.reshape(-1) * inverse for blob in it.blobs[:2])
    arrays: dict[str, np.ndarray] = {
        "weight": np.ones_like(mean),
        "bias": np.zeros_like(mean),
        "running_mean": mean,
        "running_var": variance,
    }
    names = [it.weights(name, array) for name, array in arrays.items()]
    return [it.node("BatchNormalization", it.inputs[0], *names, epsilon=param.eps)]


@rule("MVN")
def _mvn(it: LayerWriter) -> list[str]:
    """(x - mean) / (deviation + eps); ONNX's own operator adds eps to the variance."""
    param, bottom = it.layer.mvn_param, it.bottoms[0]
    axes = [1, 2, 3] if param.across_channels else [2, 3]
    value = it.reshape(it.inputs[0], bottom, four_axes(bottom))
    value, variance = _centered(it, value, axes)
    if not param.normalize_variance:
        return [value]
    return [it.node("Div", value, it.affine(it.node("Sqrt", variance), 1, param.eps))]


def _centered(it: LayerWriter, value: str, axes: Sequence[int]) -> tuple[str, str]:
    """Return a value less its mean over some axes, and its variance."""
    value = it.node("Sub", value, it.reduce("ReduceMean", value, axes, keep=True))
    square = it.node("Mul", value, value)
    return value, it.reduce("ReduceMean", square, axes, keep=True)


@rule("Scale")
def _scale(it: LayerWriter) -> list[str]:
    param = it.layer.scale_param
    value = it.node("Mul", it.inputs[0], _operand(it, param.axis, "weight"))
    if param.bias_term:
        shape = it.bottoms[1] if len(it.inputs) > 1 else it.blobs[0].shape
        array = _wide(it.blobs[-1].reshape(shape), it, param.axis)
        value = it.node("Add", value, it.weights("bias", array))
    return [value]


@rule("Bias")
def _bias(it: LayerWriter) -> list[str]:
    return [it.node("Add", it.inputs[0], _operand(it, it.layer.bias_param.axis, "bias"))]


def _operand(it: LayerWriter, axis: int, name: str) -> str:
    """Return the second bottom, or else the first blob, with its axes where they apply."""
    if len(it.inputs) == 1:
        return it.weights(name, _wide(it.blobs[0], it, axis))
    shape = it.bottoms[1]
    return it.reshape(it.inputs[1], shape, _wide_shape(shape, it, axis))


def _wide(array: np.ndarray, it: LayerWriter, axis: int) -> np.ndarray:
    return array.reshape(_wide_shape(array.shape, it, axis))


def _wide_shape(shape: tuple[int, ...], it: LayerWriter, axis: int) -> tuple[int, ...]:
    """Return a shape with axes of size 1 around it, so that it starts at axis `axis`."""
    if not shape:
        return ()
    axes = len(it.bottoms[0])
    begin = axis_index(axis, axes)
    return (*[1] * begin, *shape, *[1] * (axes - begin - len(shape)))
