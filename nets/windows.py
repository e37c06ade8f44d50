"""Sliding windows: the output size of a convolution or pooling along one spatial axis.

Height and width go through the same functions, each with its own kernel, stride and pad.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from google.protobuf.message import Message

from ..formats.schema import ConvolutionParameter, PoolingParameter

_SIDES = ("_h", "_w")
MAX_INT = (1 << 31) - 1  # Caffe stores sizes in an int


class ShapeError(ValueError):
    """Shapes that don't fit a layer; the message is about the layer, without its name."""


class UnknownSizeError(ShapeError):
    """A shape that depends on the records of a data layer."""


class Window(NamedTuple):
    """A window along one axis."""

    kernel: int
    stride: int
    pad: int
    dilation: int = 1
    pooling: bool = False
    round_up: bool = False
    clip: bool = False

    def extent(self, size: int) -> int:
        """Return the number of window positions; 0 or less where the window does not fit."""
        span = self.dilation * (self.kernel - 1) + 1
        room = size + 2 * self.pad - span
        if not self.pooling:
            # conv_layer.cpp divides as C++ does, towards zero: a kernel that exceeds its input by
            # less than a stride still has one position, and reads zeros outside.
            return (room // self.stride if room >= 0 else -(-room // self.stride)) + 1
        # pooling_layer.cpp: rounded up (or down), then the last window must start inside.
        extent = (-(-room // self.stride) if self.round_up else room // self.stride) + 1
        if self.clip and (extent - 1) * self.stride >= size + self.pad:
            extent -= 1
        return extent

    def clipped_kernel(self, size: int, position: int) -> int:
        """Return the size of a window of pooling, cut off behind the pad (pooling_layer.cpp)."""
        start = position * self.stride - self.pad
        return min(start + self.kernel, size + self.pad) - start

    def transposed_extent(self, size: int) -> int:
        """Return the output size of a Deconvolution (deconv_layer.cpp); may be 0 or less."""
        return self.stride * (size - 1) + self.dilation * (self.kernel - 1) + 1 - 2 * self.pad


def axis_index(axis: int, axes: int) -> int:
    """Return a possibly negative axis as an index (Blob::CanonicalAxisIndex)."""
    if not -axes <= axis < axes:
        raise ShapeError(f"axis {axis} is out of range for a blob of {axes} axes")
    return axis % axes


def window_extents(windows: Sequence[Window], sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the output size along every axis.

    Raises:
        ShapeError: a window does not fit.
    """
    extents = tuple(window.extent(size) for window, size in zip(windows, sizes, strict=True))
    for window, size, extent in zip(windows, sizes, extents, strict=True):
        if extent <= 0:
            shape = "x".join(map(str, sizes))
            raise ShapeError(
                f"its input of {shape} shrinks to nothing: a window of {window.kernel}"
                f" does not fit in {size} with pad {window.pad}"
            )
    return extents


def transposed_extents(windows: Sequence[Window], sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the output size of a Deconvolution along every axis.

    Raises:
        ShapeError: nothing is left.
    """
    extents = tuple(w.transposed_extent(size) for w, size in zip(windows, sizes, strict=True))
    for window, extent in zip(windows, extents, strict=True):
        if extent <= 0:
            raise ShapeError(f"pad {window.pad} leaves nothing of its output")
    return extents


# Field of ConvolutionParameter -> its default; None where it is required.
_CONVOLUTION_FIELDS = {"kernel_size": None, "stride": 1, "pad": 0, "dilation": 1}


def convolution_windows(param: ConvolutionParameter, axes: int) -> list[Window]:
    """Return the windows of a ConvolutionParameter along its `axes` spatial axes.

    Raises:
        ShapeError: a field is missing, given in two ways, or a wrong number of times.
    """
    columns = [along_axes(param, field, axes) for field in _CONVOLUTION_FIELDS]
    windows = [Window(*row) for row in zip(*columns, strict=True)]
    if any(value > MAX_INT for window in windows for value in window):
        raise ShapeError(f"kernel_size, stride, pad and dilation can be at most {MAX_INT}")
    if any(not (w.kernel and w.stride and w.dilation) for w in windows):
        raise ShapeError("kernel_size, stride and dilation must be positive")
    return windows


def along_axes(param: Message, field: str, axes: int) -> list[int]:
    """Return a field's value on every axis: `pad: 1`, `pad: 1 pad: 2`, or `pad_h: 1 pad_w: 2`."""
    values = list(getattr(param, field))
    default = _CONVOLUTION_FIELDS[field]
    if field != "dilation":
        sides = [field.removesuffix("_size") + side for side in _SIDES]
        if any(param.HasField(side) for side in sides):
            if values or axes != 2:
                raise ShapeError(f"give {field}, or {sides[0]} and {sides[1]} for two axes")
            return [getattr(param, side) for side in sides]
    if len(values) == axes:
        return values
    if len(values) > 1:
        raise ShapeError(f"{field} is given {len(values)} times for {axes} spatial axes")
    if not values and default is None:
        raise ShapeError(f"{field} is missing")
    return (values or [default]) * axes


def pooling_window(param: PoolingParameter, axis: int, size: int) -> Window:
    """Return the window of a PoolingParameter along height (axis 0) or width (axis 1)."""
    kernel, stride, pad = (
        _along_axis(param, field, axis) for field in ("kernel_size", "stride", "pad")
    )
    if param.global_pooling:
        if kernel or pad or stride != 1:
            raise ShapeError("global_pooling takes no kernel_size, pad or stride")
        kernel = size
    if not kernel or not stride:
        raise ShapeError("kernel_size and stride must be positive")
    if max(kernel, stride, pad) > MAX_INT:
        raise ShapeError(f"kernel_size, stride and pad can be at most {MAX_INT}")
    if pad >= kernel:
        raise ShapeError(f"pad {pad} must be less than the kernel, {kernel}")
    padded = bool(param.pad or param.pad_h or param.pad_w)
    round_up = param.round_mode == PoolingParameter.CEIL
    return Window(kernel, stride, pad, pooling=True, round_up=round_up, clip=padded)


def _along_axis(param: Message, field: str, axis: int) -> int:
    """Return a field's value on one axis: `pad: 1`, or `pad_h: 1 pad_w: 2`."""
    stem = field.removesuffix("_size")
    sides = [param.HasField(stem + side) for side in _SIDES]
    if any(sides) and (not all(sides) or param.HasField(field)):
        raise ShapeError(f"give {field}, or both {stem}_h and {stem}_w")
    return int(getattr(param, stem + _SIDES[axis] if any(sides) else field))
