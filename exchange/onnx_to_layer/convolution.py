"""Convolutions and products with matrices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...nets.windows import Window
from .base import NodeReader, NoLayerError, Value, rule
from .windows import Axis, fields, read_axes


@rule("Conv")
def _conv(it: NodeReader) -> Sequence[Value]:
    bottom, weights = it.value(padded=True), it.constant(1, "filter")
    padding = bottom.padding
    if padding is not None and padding.filler != 0:
        raise NoLayerError(f"it reads a Pad of {padding.filler:g}, and Caffe pads with zeros")
    axes = read_axes(it, bottom.shape[2:], it.get("kernel_shape", weights.shape[2:]), padding)
    if [axis.kernel for axis in axes] != list(weights.shape[2:]):
        raise NoLayerError(f"its kernel_shape is not that of its weights, {weights.shape}")
    for number, axis in enumerate(axes):
        axes[number], weights = _symmetric(axis, weights, number + 2)
    blobs = _with_bias(it, weights, len(weights))
    param = {
        "num_output": len(weights),
        "bias_term": len(blobs) > 1,
        "group": it.get("group", 1),
        **fields("kernel_size", [axis.kernel for axis in axes]),
        **fields("stride", [axis.stride for axis in axes]),
        **fields("pad", [axis.begin for axis in axes]),
        **fields("dilation", [axis.dilation for axis in axes]),
    }
    return it.layer("Convolution", [it.unpadded(bottom)], blobs, convolution_param=_brief(param))


def _symmetric(axis: Axis, weights: np.ndarray, number: int) -> tuple[Axis, np.ndarray]:
    """Return a window with the same pad on both sides that computes the same.

    Caffe has one pad for both. Where a wider pad adds positions, or shifts them, zeros widen the
    kernel on that side.
    """
    wanted = axis.extent
    same = Window(axis.kernel, axis.stride, axis.begin, axis.dilation)
    if same.extent(axis.size) == wanted:
        return axis._replace(end=axis.begin), weights
    more = abs(axis.end - axis.begin)
    if more % axis.dilation or more > axis.span:
        raise NoLayerError("Caffe's Convolution has the same pad before and behind")
    zeros = more // axis.dilation
    widths = [(0, 0)] * weights.ndim
    widths[number] = (zeros, 0) if axis.end > axis.begin else (0, zeros)
    pad = max(axis.begin, axis.end)
    wider = axis._replace(kernel=axis.kernel + zeros, begin=pad, end=pad)
    return wider, np.pad(weights, widths)


def _with_bias(it: NodeReader, weights: np.ndarray, outputs: int) -> list[np.ndarray]:
    if not it.has(2):
        return [weights]
    return [weights, it.constant(2, "bias").reshape(-1)]


# Caffe's defaults, which are left out.
_DEFAULTS = {"bias_term": True, "group": 1, "stride": [1], "pad": [0], "dilation": [1]}


def _brief(param: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in param.items() if _DEFAULTS.get(name) != value}


@rule("ConvTranspose")
def _conv_transpose(it: NodeReader) -> Sequence[Value]:
    bottom, weights = it.value(), it.constant(1, "filter")
    axes = read_axes(it, bottom.shape[2:], weights.shape[2:], None)
    if it.get("output_shape") or any(it.get("output_padding", [])):
        raise NoLayerError("Caffe's Deconvolution has no output_shape and no output_padding")
    if it.get("auto_pad", b"NOTSET") != b"NOTSET" or any(a.begin != a.end for a in axes):
        raise NoLayerError("Caffe's Deconvolution has the same pad before and behind")
    group = it.get("group", 1)
    outputs = weights.shape[1] * group
    blobs = _with_bias(it, weights, outputs)
    param = {
        "num_output": outputs,
        "bias_term": len(blobs) > 1,
        "group": group,
        **fields("kernel_size", [axis.kernel for axis in axes]),
        **fields("stride", [axis.stride for axis in axes]),
        **fields("pad", [axis.begin for axis in axes]),
        **fields("dilation", [axis.dilation for axis in axes]),
    }
    return it.layer("Deconvolution", [bottom], blobs, convolution_param=_brief(param))


@rule("Gemm")
def _gemm(it: NodeReader) -> Sequence[Value]:
    bottom, weights = it.value(), it.constant(1, "matrix")
    if it.get("transA", 0) or len(bottom.shape) != 2 or weights.ndim != 2:
        raise NoLayerError("Caffe's InnerProduct takes records in rows, and a matrix")
    transpose = not it.get("transB", 0)
    outputs = weights.shape[1 if transpose else 0]
    blobs = [weights * np.float32(it.get("alpha", 1.0))]
    if it.has(2):
        bias = it.constant(2, "bias") * np.float32(it.get("beta", 1.0))
        if bias.size not in (1, outputs) or bias.shape[:-1] not in ((), (1,)):
            raise NoLayerError(f"its bias of shape {bias.shape} is not one per output")
        blobs.append(np.broadcast_to(bias.reshape(-1), (outputs,)))
    return _inner_product(it, bottom, blobs, outputs, transpose, 1)


@rule("MatMul")
def _matmul(it: NodeReader) -> Sequence[Value]:
    bottom, weights = it.value(), it.constant(1, "matrix")
    if weights.ndim != 2:
        raise NoLayerError(f"Caffe's InnerProduct takes a matrix, not shape {weights.shape}")
    axis = len(bottom.shape) - 1
    return _inner_product(it, bottom, [weights], weights.shape[1], True, axis)


def _inner_product(
    it: NodeReader,
    bottom: Value,
    blobs: list[np.ndarray],
    outputs: int,
    transpose: bool,
    axis: int,
) -> Sequence[Value]:
    """Make an InnerProduct, which flattens its bottom itself."""
    flatten = it.maker(bottom, "Flatten")
    if flatten is not None and axis == 1:
        bottom = flatten.bottoms[0]
    if transpose:
        blobs = [blobs[0].T, *blobs[1:]]
    param: dict[str, object] = {"num_output": outputs}
    if len(blobs) < 2:
        param["bias_term"] = False
    if axis != 1:
        param["axis"] = axis
    return it.layer("InnerProduct", [bottom], blobs, inner_product_param=param)
