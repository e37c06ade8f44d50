"""Convolution and InnerProduct.

On a CPU, oneDNN's fused operators run where PyTorch has them: ReLU in the same pass, weights
reordered once, and a 1x1 convolution over a lazy concatenation as a sum over its parts. Each is
faster than the plain operator (`benchmarks/engine.py` measures the whole).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812

from ...nets.windows import axis_index, convolution_windows
from .base import (
    BlobValue,
    Kernel,
    LazyConcat,
    PaddedPlane,
    PassContext,
    Tensor,
    Tensors,
    Value,
    canonical,
    map_lazy,
    materialize,
)

_PLAIN = (F.conv1d, F.conv2d, F.conv3d)


def has_onednn() -> bool:
    """Return whether this PyTorch has oneDNN's fused convolutions."""
    names = ("_convolution_pointwise", "_convolution_pointwise_", "_reorder_convolution_weight")
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and all(hasattr(torch.ops.mkldnn, name) for name in names)


def has_bf16() -> bool:
    """Return whether this processor has what oneDNN needs for bf16, such as AVX-512."""
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return supported is not None and bool(supported())


_ONEDNN = has_onednn()
_ONEDNN_TYPES = {torch.float32, torch.bfloat16} if has_bf16() else {torch.float32}
if _ONEDNN:
    # Overloads: resolving them at each call takes as long as a small convolution.
    _POINTWISE = torch.ops.mkldnn._convolution_pointwise.default
    _POINTWISE_ADD = torch.ops.mkldnn._convolution_pointwise_.binary
    _REORDER = torch.ops.mkldnn._reorder_convolution_weight.default


def is_fused(dtype: torch.dtype, device: torch.device) -> bool:
    """Return whether oneDNN's fused operators run, whose ReLU makes 0 of nan."""
    return _ONEDNN and device.type == "cpu" and dtype in _ONEDNN_TYPES


class WindowKernel(Kernel):
    """A layer with windows along 1 to 3 spatial axes, those behind the axis of the channels."""

    def set_up(self) -> None:
        """Read the windows along each spatial axis."""
        param = self.param.convolution_param
        shape = self.layer.bottom_shapes[0]
        self.axis = axis_index(param.axis, len(shape))
        self.spatial = shape[self.axis + 1 :]
        if not 1 <= len(self.spatial) <= 3:
            raise ValueError(f"convolves {len(self.spatial)} spatial axes; 1 to 3 are supported")
        self.windows = convolution_windows(param, len(self.spatial))
        self.kernel = [window.kernel for window in self.windows]
        self.stride = [window.stride for window in self.windows]
        self.pad = [window.pad for window in self.windows]
        self.dilation = [window.dilation for window in self.windows]
        self.group = param.group

    def end_pad(self) -> list[int]:
        """Return, in F.pad's order, the zeros that a kernel larger than its padded input reads."""
        pads: list[int] = []
        for window, size in zip(self.windows, self.spatial, strict=True):
            span = window.dilation * (window.kernel - 1) + 1
            reach = (window.extent(size) - 1) * window.stride + span
            pads = [0, max(0, reach - size - 2 * window.pad), *pads]
        return pads if any(pads) else []

    def over_images(self, function: Callable[[Any], BlobValue], bottom: Value) -> BlobValue:
        """Apply a function of (images, channels, ...) to a bottom with any axes before these."""
        if self.axis == 1:
            return function(bottom)
        x = materialize(bottom)
        outer = x.shape[: self.axis]
        y = materialize(function(x.reshape(prod(outer), *x.shape[self.axis :])))
        return y.reshape(*outer, *y.shape[1:])


class Convolution(WindowKernel):
    """conv_layer.cpp, base_conv_layer.cpp.

    Attributes:
        fuses_relu: whether it can compute the ReLU that follows.
        relu: whether it computes the ReLU that follows.
        masks: whether its backward pass includes that ReLU's; if not, the next pooling's does.
    """

    accepts_lazy_concat = True
    fuses_relu = True
    relu = False
    masks = True

    def set_up(self) -> None:
        """Read the windows, and decide whether it is a matrix product at each pixel."""
        super().set_up()
        self._end_pad = self.end_pad()
        self.pointwise = set(self.kernel) == set(self.stride) == {1}

    def forward(
        self, context: PassContext, bottoms: list[Value], blobs: Tensors
    ) -> Sequence[BlobValue]:
        """Convolve each bottom."""
        weight, bias = blobs[0], blobs[1] if len(blobs) > 1 else None

        def convolve(x: Value) -> BlobValue:
            return self._convolve(context, x, weight, bias)

        return [self.over_images(convolve, bottom) for bottom in bottoms]

    def _convolve(
        self, context: PassContext, x: Value, weight: Tensor, bias: Tensor | None
    ) -> Tensor | PaddedPlane:
        parts = x.tensors if isinstance(x, LazyConcat) else [x]
        if any(part.dtype != weight.dtype for part in parts):
            x = map_lazy(lambda part: part.to(weight.dtype), x)
        hides_nan = self.relu and context.keeps_nan
        fused = not hides_nan and is_fused(weight.dtype, weight.device)
        if fused and len(self.kernel) == 2 and not context.gradients:
            if self.pointwise and self.group == 1:
                return self._pointwise(context, x, weight, bias)
            return self._fused(context, self._pad_end(materialize(x)), weight, bias, self.pad)
        if fused and len(self.kernel) == 2:
            return self._with_gradients(materialize(x), weight, bias)
        return self._plain(materialize(x), weight, bias)

    def _pointwise(
        self, context: PassContext, x: Value, weight: Tensor, bias: Tensor | None
    ) -> Tensor | PaddedPlane:
        # Summing over parts pays where there are fewer outputs than inputs.
        summed = isinstance(x, LazyConcat) and weight.shape[0] < weight.shape[1]
        parts = x.tensors if isinstance(x, LazyConcat) and summed else [materialize(x)]
        y = self._convolve_parts(context, parts, weight, bias)
        if not any(self.pad):
            return y
        border = bias if bias is not None else y.new_zeros(y.shape[1])
        return PaddedPlane(y, F.relu(border) if self.relu else border, self.pad)

    def _pad_end(self, x: Tensor) -> Tensor:
        return F.pad(x, self._end_pad) if self._end_pad else x

    def _plain(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        convolve = _PLAIN[len(self.kernel) - 1]
        y = convolve(
            self._pad_end(x), weight, bias, self.stride, self.pad, self.dilation, self.group
        )
        return F.relu(y) if self.relu else y

    def _with_gradients(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        pads = self.pad
        if self.pointwise and any(pads):
            # oneDNN has no fast kernel for a padded 1x1 convolution (bf16: a tenth of the speed).
            x = F.pad(x, [pads[1], pads[1], pads[0], pads[0]])
            pads = [0, 0]
        result: Tensor = _ConvolutionWithRelu.apply(  # type: ignore[no-untyped-call]
            self._pad_end(x),
            weight,
            bias,
            self.stride,
            pads,
            self.dilation,
            self.group,
            self.relu,
            self.relu and self.masks,
        )
        return result

    def _packed(
        self, context: PassContext, shape: tuple[int, ...], weight: Tensor, start: int
    ) -> Tensor:
        """Return the weights of input channels from `start` on, in oneDNN's order for `shape`."""
        # The memory order does not depend on the number of records.
        key = (self.index, shape[1:], start)
        packed: Tensor | None = context.weights.derived.get(key)
        if packed is None:
            pads = [0, 0] if self.pointwise and self.group == 1 else self.pad
            part = weight[:, start : start + shape[1]] if self.group == 1 else weight
            packed = _REORDER(
                part.contiguous(), pads, self.stride, self.dilation, self.group, list(shape)
            )
            context.weights.derived[key] = packed
        assert packed is not None
        return packed

    def _fused(
        self, context: PassContext, x: Tensor, weight: Tensor, bias: Tensor | None, pads: list[int]
    ) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        packed = self._packed(context, tuple(x.shape), weight, 0)
        attribute = "relu" if self.relu else "none"
        result: Tensor = _POINTWISE(
            x, packed, bias, pads, self.stride, self.dilation, self.group, attribute, [], ""
        )
        return result

    def _convolve_parts(
        self, context: PassContext, parts: list[Tensor], weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        """Compute an unpadded 1x1 convolution over the channels of all parts."""
        if len(parts) == 1:
            return self._fused(context, parts[0], weight, bias, [0, 0])
        window = ([0, 0], self.stride, self.dilation, 1)
        y: Tensor | None = None
        start = 0
        for number, part in enumerate(parts):
            part = part.contiguous(memory_format=torch.channels_last)
            packed = self._packed(context, tuple(part.shape), weight, start)
            start += part.shape[1]
            last = number == len(parts) - 1
            if y is None:
                y = _POINTWISE(part, packed, bias, *window, "none", [], "")
            else:
                y = _POINTWISE_ADD(
                    y,
                    part,
                    packed,
                    None,
                    *window,
                    "add",
                    1.0,
                    "relu" if self.relu and last else None,
                    [],
                    "",
                )
        assert y is not None
        return y


class _ConvolutionWithRelu(torch.autograd.Function):
    """Convolution and ReLU in one pass of oneDNN, with its own backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: list[int],
        pad: list[int],
        dilation: list[int],
        group: int,
        relu: bool,
        masks: bool,
    ) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        y: Tensor = _POINTWISE(
            x, weight, bias, pad, stride, dilation, group, "relu" if relu else "none", [], ""
        )
        ctx.save_for_backward(x, weight, y if masks else None)
        ctx.window = (stride, pad, dilation, group)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, weight, y = ctx.saved_tensors
        stride, pad, dilation, group = ctx.window
        g = gradients[0]
        if y is not None:
            g = torch.ops.aten.threshold_backward(g, y, 0)
        needs = list(ctx.needs_input_grad[:3])
        if weight.shape[2:].numel() == 1 and set(stride) == {1} and not any(pad) and group == 1:
            return (*_pointwise_backward(g, x, weight, needs), *(None,) * 6)
        gx, gw, gb = torch.ops.aten.convolution_backward(
            g, x, weight, [weight.shape[0]], stride, pad, dilation, False, [0, 0], group, needs
        )
        return (gx, gw, gb, *(None,) * 6)


def _pointwise_backward(
    g: Tensor, x: Tensor, weight: Tensor, needs: list[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Compute the gradients of a 1x1 convolution as matrix products over all pixels.

    With one thread and few records, PyTorch's own backward pass is several times slower.
    """
    n, outputs, height, width = g.shape
    inputs = x.shape[1]
    # (pixels, channels): a view, as the memory order is channels-last.
    rows = g.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
    rows = rows.reshape(-1, outputs)
    gx = gw = gb = None
    if needs[0]:
        matrix = weight.reshape(outputs, inputs)
        gx = (rows @ matrix).view(n, height, width, inputs).permute(0, 3, 1, 2)
    if needs[1]:
        pixels = x.permute(0, 2, 3, 1).reshape(-1, inputs)
        gw = (rows.t() @ pixels).view(weight.shape)
    if needs[2]:
        gb = rows.sum(0)
    return gx, gw, gb


class InnerProduct(Kernel):
    """inner_product_layer.cpp: flattens the axes from `axis` on."""

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Multiply by the weights; outer axes are kept."""
        param, x = self.param.inner_product_param, bottoms[0]
        flat = x.flatten(canonical(param.axis, x))
        weight = blobs[0].t() if param.transpose else blobs[0]
        return [F.linear(flat.to(weight.dtype), weight, blobs[1] if len(blobs) > 1 else None)]
