"""Pooling, SPP and LRN, with Caffe's window positions and sizes.

ONNX's ceil_mode is read in different ways by runtimes, and none clips the last window as Caffe
does (pooling_layer.cpp). So windows are placed by pads alone: the pad behind the input is what the
last window reads there, 0 where it ends before.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from onnx import TensorProto

from ...formats.schema import LRNParameter, PoolingParameter
from ...nets.layer_families.pooling import pyramid_levels
from ...nets.layer_types import Shape
from ...nets.windows import Window, pooling_window
from .base import LayerWriter, NoOperatorError, rule

_LOWEST = float(np.finfo("f4").min)  # Caffe's maximum of nothing
_SMALLEST = float(np.finfo("f4").tiny)


@rule("Pooling")
def _pooling(it: LayerWriter) -> list[str]:
    return _pool(it, it.layer.pooling_param, len(it.tops))


def _pool(it: LayerWriter, param: PoolingParameter, tops: int = 1) -> list[str]:
    if param.global_pooling and tops == 1 and param.pool != PoolingParameter.STOCHASTIC:
        maximum = param.pool == PoolingParameter.MAX
        return [it.node("GlobalMaxPool" if maximum else "GlobalAveragePool", it.inputs[0])]
    windows = [pooling_window(param, axis, it.bottoms[0][axis + 2]) for axis in (0, 1)]
    pooled = _Windows(windows, it.bottoms[0][2:])
    if param.pool == PoolingParameter.MAX and tops == 1:
        return _maximum(it, pooled)
    if pooled.outside:
        raise NoOperatorError("a window of it lies wholly outside the input: it pools nothing")
    if param.pool == PoolingParameter.MAX:
        return _maximum_and_mask(it, pooled)
    if param.pool == PoolingParameter.AVE:
        return [_average(it, it.inputs[0], pooled)]
    # Values weighted with themselves (pooling_layer.cu, in TEST).
    means = _mean_of_padded(it, it.inputs[0], pooled)
    squares = _mean_of_padded(it, it.node("Mul", it.inputs[0], it.inputs[0]), pooled)
    return [it.node("Div", squares, it.affine(means, 1, _SMALLEST))]


class _Windows:
    """The windows of a pooling along height and width.

    Attributes:
        begins: pads in front of the input.
        ends: what the last windows read behind the input; 0 where they end before.
        outside: whether a window lies wholly outside.
    """

    def __init__(self, windows: Sequence[Window], sizes: Shape) -> None:
        self.windows, self.sizes = windows, sizes
        self.begins = [window.pad for window in windows]
        starts = [  # of the last window
            (w.extent(size) - 1) * w.stride - w.pad for w, size in zip(windows, sizes, strict=True)
        ]
        self.ends = [
            max(0, start + w.kernel - size)
            for w, start, size in zip(windows, starts, sizes, strict=True)
        ]
        self.outside = any(start >= size for start, size in zip(starts, sizes, strict=True))

    def attributes(self, pads: list[int]) -> dict[str, list[int]]:
        """Return the attributes of the node."""
        kernel, strides = zip(*((w.kernel, w.stride) for w in self.windows), strict=True)
        return {"kernel_shape": list(kernel), "strides": list(strides), "pads": pads}


def _pad(it: LayerWriter, value: str, begins: list[int], ends: list[int], filler: float) -> str:
    pads = it.integers("pads", [0, 0, *begins, 0, 0, *ends])
    return it.node("Pad", value, pads, it.scalar("pad_value", filler))


def _maximum(it: LayerWriter, pooled: _Windows) -> list[str]:
    value, pads = it.inputs[0], pooled.begins + pooled.ends
    if pooled.outside:
        value, pads = _pad(it, value, pooled.begins, pooled.ends, _LOWEST), [0] * 4
    return [it.node("MaxPool", value, **pooled.attributes(pads))]


def _maximum_and_mask(it: LayerWriter, pooled: _Windows) -> list[str]:
    """Return the maxima, and the index of each in its plane as a float."""
    attributes = pooled.attributes(pooled.begins + pooled.ends)
    value, index = it.nodes("MaxPool", it.inputs[:1], 2, **attributes)
    index = it.node("Mod", index, it.integers("plane", [prod(pooled.sizes)]))
    return [value, it.node("Cast", index, to=TensorProto.FLOAT)]


def _average(it: LayerWriter, value: str, pooled: _Windows) -> str:
    """Average; Caffe counts the zeros of the pad, but no element behind it.

    The pad is a node: OpenCV 4.14 is wrong with count_include_pad.
    """
    beyond = [max(0, e - b) for b, e in zip(pooled.begins, pooled.ends, strict=True)]
    if any(pooled.begins):
        value = _pad(it, value, pooled.begins, pooled.begins, 0)
    return it.node("AveragePool", value, **pooled.attributes([0, 0, *beyond]))


def _mean_of_padded(it: LayerWriter, value: str, pooled: _Windows) -> str:
    """Average windows of which what lies outside counts as zeros."""
    if any(pooled.begins + pooled.ends):
        value = _pad(it, value, pooled.begins, pooled.ends, 0)
    return it.node("AveragePool", value, **pooled.attributes([0] * 4))


@rule("SPP")
def _spp(it: LayerWriter) -> list[str]:
    """Pool at each level; several are flattened and concatenated."""
    levels = [
        _pool(it, level.pooling_param)[0] for level in pyramid_levels(it.layer, it.bottoms[0])
    ]
    if len(levels) == 1:
        return levels
    return [it.node("Concat", *[it.node("Flatten", each, axis=1) for each in levels], axis=1)]


@rule("LRN")
def _lrn(it: LayerWriter) -> list[str]:
    param, value = it.layer.lrn_param, it.inputs[0]
    if param.norm_region == LRNParameter.ACROSS_CHANNELS:
        factors = {"alpha": param.alpha, "beta": param.beta, "bias": param.k}
        return [it.node("LRN", value, size=param.local_size, **factors)]
    # Caffe's power layer inside shifts by 1, not by k.
    windows = [Window(param.local_size, 1, param.local_size // 2, pooling=True)] * 2
    mean = _average(it, it.node("Mul", value, value), _Windows(windows, it.bottoms[0][2:]))
    divisor = it.node("Pow", it.affine(mean, param.alpha, 1), it.scalar("beta", param.beta))
    return [it.node("Div", value, divisor)]
