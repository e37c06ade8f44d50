"""Layers with windows or weights of all channels."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ...nets.windows import axis_index, convolution_windows
from .base import LayerWriter, NoOperatorError, rule

_MAX_AXES = 3  # that runtimes convolve along


@rule("Convolution")
def _convolution(it: LayerWriter) -> list[str]:
    return _convolve(it, "Conv", it.blobs)


@rule("Deconvolution")
def _deconvolution(it: LayerWriter) -> list[str]:
    return _convolve(it, "ConvTranspose", it.blobs)


@rule("Im2col")
def _im2col(it: LayerWriter) -> list[str]:
    """Convolve each channel with a filter per position of the window: that position alone."""
    param, bottom = it.layer.convolution_param, it.bottoms[0]
    axis = axis_index(param.axis, len(bottom))
    channels, axes = bottom[axis], len(bottom) - axis - 1
    kernel = [window.kernel for window in convolution_windows(param, axes)]
    positions = prod(kernel)
    filters = np.tile(np.eye(positions, dtype="f4"), (channels, 1))
    return _convolve(it, "Conv", [filters.reshape(-1, 1, *kernel)], channels)


def _convolve(
    it: LayerWriter, operator: str, blobs: Sequence[np.ndarray], group: int | None = None
) -> list[str]:
    """Convolve each bottom; the axes in front of the channels become one."""
    param, bottom = it.layer.convolution_param, it.bottoms[0]
    axis = axis_index(param.axis, len(bottom))
    spatial = bottom[axis + 1 :]
    if not 1 <= len(spatial) <= _MAX_AXES:
        raise NoOperatorError(f"it convolves along {len(spatial)} axes; ONNX takes 1 to 3")
    windows = convolution_windows(param, len(spatial))
    begins, ends = [window.pad for window in windows], [window.pad for window in windows]
    if operator == "Conv":
        for index, (window, size) in enumerate(zip(windows, spatial, strict=True)):
            span = window.dilation * (window.kernel - 1) + 1
            last = (window.extent(size) - 1) * window.stride + span
            # A kernel that exceeds its input reads zeros behind it.
            ends[index] = max(window.pad, last - size - window.pad)
    images = (prod(bottom[:axis]), *bottom[axis:])
    names = [it.weights(name, blob) for name, blob in zip(("weight", "bias"), blobs, strict=False)]
    # OpenCV 5.0 reads outside its memory where a convolution of 1x1 has pads, as conv10 of v1.0.
    apart = operator == "Conv" and any(begins) and all(window.kernel == 1 for window in windows)
    padding = it.integers("padding", [0, 0, *begins, 0, 0, *ends]) if apart else ""
    pads = [0] * len(begins + ends) if apart else begins + ends
    tops = []
    for value, top in zip(it.inputs, it.tops, strict=True):
        source = it.reshape(value, bottom, images)
        made = it.node(
            operator,
            it.node("Pad", source, padding) if apart else source,
            *names,
            kernel_shape=[window.kernel for window in windows],
            strides=[window.stride for window in windows],
            dilations=[window.dilation for window in windows],
            pads=pads,
            group=group or param.group,
        )
        tops.append(it.reshape(made, (images[0], *top[axis:]), top))
    return tops


@rule("InnerProduct")
def _inner_product(it: LayerWriter) -> list[str]:
    param, bottom = it.layer.inner_product_param, it.bottoms[0]
    axis = axis_index(param.axis, len(bottom))
    rows = (*bottom[:axis], prod(bottom[axis:]))
    if axis == 1:
        names = [
            it.weights(name, blob) for name, blob in zip(("weight", "bias"), it.blobs, strict=False)
        ]
        value = it.inputs[0] if bottom == rows else it.node("Flatten", it.inputs[0], axis=1)
        return [it.node("Gemm", value, *names, transB=int(not param.transpose))]
    weights = it.blobs[0] if param.transpose else it.blobs[0].T
    value = it.reshape(it.inputs[0], bottom, rows)
    value = it.node("MatMul", value, it.weights("weight", weights))
    if len(it.blobs) > 1:
        value = it.node("Add", value, it.weights("bias", it.blobs[1]))
    return [value]


@rule("Embed")
def _embed(it: LayerWriter) -> list[str]:
    index = it.node("Cast", it.inputs[0], to=7)  # int64
    value = it.node("Gather", it.weights("weight", it.blobs[0]), index)
    if len(it.blobs) > 1:
        value = it.node("Add", value, it.weights("bias", it.blobs[1]))
    return [value]
