"""The windows of a Conv or a pooling: kernel, strides, dilations, pads, maybe automatic ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...nets.layer_types import Shape
from .base import NodeReader, NoLayerError, Padding


class Axis(NamedTuple):
    """The window along one axis.

    Attributes:
        begin, end: the pads, those of a Pad node before included.
        behind: of `end`, those of the Pad node, where windows may begin.
        ceil: whether a last window may go past the end.
    """

    size: int
    kernel: int
    stride: int
    dilation: int
    begin: int
    end: int
    behind: int = 0
    ceil: bool = False

    @property
    def span(self) -> int:
        """Elements from the first to the last that a window reads."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def extent(self) -> int:
        """The number of windows; with `ceil`, the last must begin before the pad behind."""
        room = self.size + self.begin + self.end - self.span
        if not self.ceil:
            return room // self.stride + 1
        extent = -(-room // self.stride) + 1
        return extent - ((extent - 1) * self.stride >= self.size + self.begin + self.behind)


def read_axes(
    it: NodeReader, sizes: Shape, kernel: Sequence[int], padding: Padding | None
) -> list[Axis]:
    """Return the windows along each axis, the pads of a Pad node before added.

    Raises:
        NoLayerError: its attributes contradict each other.
    """
    count = len(sizes)
    strides = it.get("strides", [1] * count)
    dilations = it.get("dilations", [1] * count)
    pads = it.get("pads", [0] * 2 * count)
    if not (len(kernel) == len(strides) == len(dilations) == count and len(pads) == 2 * count):
        raise NoLayerError(f"its attributes are not for {count} axes")
    if min(*kernel, *strides, *dilations) < 1 or min(pads) < 0:
        raise NoLayerError("its kernel, strides, dilations or pads are too small")
    ceil = bool(it.get("ceil_mode", 0))
    columns = zip(sizes, kernel, strides, dilations, pads[:count], pads[count:], strict=True)
    axes = [Axis(*column)._replace(ceil=ceil) for column in columns]
    automatic = it.get("auto_pad", b"NOTSET").decode(errors="replace")
    if automatic not in ("NOTSET", ""):
        axes = [_automatic(axis, automatic) for axis in axes]
    if padding is not None:
        pairs = zip(axes, padding.begins, padding.ends, strict=True)
        axes = [
            axis._replace(begin=axis.begin + begin, end=axis.end + end, behind=end)
            for axis, begin, end in pairs
        ]
    if any(axis.extent < 1 for axis in axes):
        raise NoLayerError("its window does not fit its input")
    return axes


def _automatic(axis: Axis, mode: str) -> Axis:
    if mode == "VALID":
        return axis._replace(begin=0, end=0)
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise NoLayerError(f"auto_pad {mode} is none")
    outputs = -(-axis.size // axis.stride)
    total = max(0, (outputs - 1) * axis.stride + axis.span - axis.size)
    less, more = total // 2, total - total // 2
    return axis._replace(
        begin=less if mode == "SAME_UPPER" else more, end=more if mode == "SAME_UPPER" else less
    )


def fields(name: str, values: Sequence[int]) -> dict[str, list[int]]:
    """Return a repeated field of ConvolutionParameter, once where all axes have the same."""
    return {name: list(values[:1]) if len({*values}) == 1 else list(values)}
