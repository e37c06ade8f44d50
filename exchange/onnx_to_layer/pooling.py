"""Poolings and LRN, where Caffe's have the same windows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...nets.windows import Window
from .base import NodeReader, NoLayerError, Padding, Value, rule
from .windows import Axis, read_axes

_LOWEST = float(np.finfo("f4").min)
_MOST = 1 << 20  # windows along an axis, which are compared one by one
_ROUNDINGS = (True, False)  # up, Caffe's default, and down


@rule("GlobalAveragePool", "GlobalMaxPool")
def _global(it: NodeReader) -> Sequence[Value]:
    return global_pooling(it, it.value(), it.node.op_type == "GlobalAveragePool")


def global_pooling(it: NodeReader, bottom: Value, average: bool) -> Sequence[Value]:
    """Pool whole planes."""
    param = {"pool": "AVE", "global_pooling": True} if average else {"global_pooling": True}
    return it.layer("Pooling", [bottom], pooling_param=param)


@rule("MaxPool")
def _max_pool(it: NodeReader) -> Sequence[Value]:
    bottom = it.value(padded=True)
    if bottom.padding is not None and not _is_below(bottom.padding):
        raise NoLayerError(
            f"it reads a Pad of {bottom.padding.filler:g}, which may be the largest of a window"
        )
    axes = _axes(it, bottom)
    for round_up in _ROUNDINGS:
        windows = [_window(axis, axes, round_up) for axis in axes]
        if all(w.extent(a.size) == a.extent for w, a in zip(windows, axes, strict=True)):
            return _pool(it, bottom, windows, round_up)
    raise NoLayerError("Caffe's MAX pooling has windows at other places")


def _is_below(padding: Padding) -> bool:
    """Whether a Pad is below all values: lowest, or zeros behind a ReLU."""
    made = padding.source.layer
    rectified = made is not None and made.param.type == "ReLU"
    if rectified and made is not None and made.param.relu_param.negative_slope:
        rectified = False
    return padding.filler <= _LOWEST or (padding.filler == 0 and rectified)


@rule("AveragePool")
def _average_pool(it: NodeReader) -> Sequence[Value]:
    """Caffe counts the zeros of the pad on both sides, and no element behind.

    Where ONNX divides by other numbers, a Scale of the plane corrects that.
    """
    bottom = it.value(padded=True)
    padding = bottom.padding
    if padding is not None and padding.filler != 0:
        raise NoLayerError(f"it reads a Pad of {padding.filler:g}, and Caffe pads with zeros")
    axes = _axes(it, bottom)
    counts = [_counts(it, axis, i, padding) for i, axis in enumerate(axes)]
    for round_up in _ROUNDINGS:
        windows = [_window(axis, axes, round_up) for axis in axes]
        caffes = [_caffe_counts(w, a) for w, a in zip(windows, axes, strict=True)]
        if list(map(len, caffes)) != list(map(len, counts)):
            continue
        made = _pool(it, bottom, windows, round_up, average=True)
        if caffes == counts:
            return made
        plane = np.outer(caffes[0], caffes[1]) / np.outer(counts[0], counts[1])
        return it.layer("Scale", made, [plane], scale_param={"axis": 2, "num_axes": 2})
    raise NoLayerError("Caffe's AVE pooling has windows at other places")


def _axes(it: NodeReader, bottom: Value) -> list[Axis]:
    kernel = it.get("kernel_shape", [])
    if len(bottom.shape) != 4 or len(kernel) != 2:
        raise NoLayerError("Caffe pools along height and width alone")
    axes = read_axes(it, bottom.shape[2:], kernel, bottom.padding)
    if any(axis.dilation != 1 for axis in axes):
        raise NoLayerError("Caffe's pooling has no dilations")
    if any(axis.begin >= axis.kernel for axis in axes):
        raise NoLayerError("Caffe's pooling has a pad less than its kernel")
    if any((axis.extent - 1) * axis.stride - axis.begin >= axis.size for axis in axes):
        raise NoLayerError("a window of it lies wholly in its pads")
    if any(axis.extent > _MOST for axis in axes):
        raise NoLayerError(f"it has more than {_MOST} windows along an axis")
    return axes


def _window(axis: Axis, axes: list[Axis], round_up: bool) -> Window:
    clip = any(each.begin for each in axes)
    return Window(axis.kernel, axis.stride, axis.begin, 1, True, round_up, clip)


def _counts(it: NodeReader, axis: Axis, index: int, padding: Padding | None) -> list[int]:
    """Return by how many elements ONNX divides along an axis, for each window.

    Counted are those of the input and of a Pad before; with count_include_pad also the pads of the
    node, but not what ceil_mode adds.
    """
    first, last = 0, axis.size
    if padding is not None:
        first, last = -padding.begins[index], last + padding.ends[index]
    if it.get("count_include_pad", 0):
        first, last = -axis.begin, axis.size + axis.end
    starts = [position * axis.stride - axis.begin for position in range(axis.extent)]
    return [min(start + axis.kernel, last) - max(start, first) for start in starts]


def _caffe_counts(window: Window, axis: Axis) -> list[int]:
    extent = window.extent(axis.size)
    return [window.clipped_kernel(axis.size, position) for position in range(extent)]


def _pool(
    it: NodeReader,
    bottom: Value,
    windows: Sequence[Window],
    round_up: bool,
    average: bool = False,
) -> Sequence[Value]:
    param: dict[str, object] = {"pool": "AVE"} if average else {}
    for field, defaults in (("kernel_size", None), ("stride", 1), ("pad", 0)):
        sides = [getattr(window, field.removesuffix("_size")) for window in windows]
        if sides[0] != sides[1]:
            stem = field.removesuffix("_size")
            param |= {f"{stem}_h": sides[0], f"{stem}_w": sides[1]}
        elif sides[0] != defaults:
            param[field] = sides[0]
    if not round_up:
        param["round_mode"] = "FLOOR"
        it.warnings.append(
            "rounds down, which is round_mode: FLOOR in Caffe; forks from before 2018 lack that"
        )
    return it.layer("Pooling", [it.unpadded(bottom)], pooling_param=param)


@rule("LRN")
def _lrn(it: NodeReader) -> Sequence[Value]:
    size = it.get("size", 0)
    param = {
        "local_size": size,
        "alpha": it.get("alpha", 1e-4),
        "beta": it.get("beta", 0.75),
        "k": it.get("bias", 1.0),
    }
    return it.layer("LRN", [it.value()], lrn_param=param)
