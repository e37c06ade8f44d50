"""Pooling, SPP and LRN (pooling_layer.cpp, lrn_layer.cpp), with Caffe's window extents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812

from ...formats.schema import LRNParameter, PoolingParameter
from ...nets.layer_families.pooling import pyramid_levels
from ...nets.windows import pooling_window
from .base import (
    BlobValue,
    Kernel,
    PaddedPlane,
    PassContext,
    Tensor,
    Tensors,
    map_lazy,
    materialize,
)
from .codes import Codes

FLT_MAX = torch.finfo(torch.float32).max
FLT_MIN = torch.finfo(torch.float32).tiny
MAX, AVE = PoolingParameter.MAX, PoolingParameter.AVE
STOCHASTIC = PoolingParameter.STOCHASTIC


class Pooling(Kernel):
    """MAX, AVE and STOCHASTIC pooling; a second top of MAX holds each maximum's index in the plane.

    Attributes:
        masks: whether its backward pass includes that of the ReLU below, on the smaller blob: a
            maximum passes a gradient only if it is above zero.
        native: whether PyTorch's ceil_mode gives Caffe's extents.
    """

    masks = False

    def set_up(self) -> None:
        """Read the windows of both axes, and decide which lazy bottoms pool part by part."""
        param, sizes = self.param.pooling_param, self.layer.bottom_shapes[0][2:]
        self.method = param.pool
        self.windows = [pooling_window(param, axis, size) for axis, size in enumerate(sizes)]
        self.sizes = sizes
        self.extents = [w.extent(size) for w, size in zip(self.windows, sizes, strict=True)]
        self.is_global = all(
            w.kernel == size and out == 1 and not w.pad
            for w, size, out in zip(self.windows, sizes, self.extents, strict=True)
        )
        self.kernel = [window.kernel for window in self.windows]
        self.stride = [window.stride for window in self.windows]
        self.pad = [window.pad for window in self.windows]
        self.native = self._is_native()
        one_top = len(self.layer.tops) == 1
        # STOCHASTIC draws its random numbers for all channels at once.
        self.accepts_lazy_concat = one_top and self.method != STOCHASTIC
        self.accepts_padded_plane = one_top and self.method == AVE and self.is_global
        self.accepts_codes = one_top and self.method == MAX and self.native
        self._window_sizes = self._clipped_sizes()
        self._divisors: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def _is_native(self) -> bool:
        """Compare PyTorch's rounding rule with Caffe's."""
        for window, size, out in zip(self.windows, self.sizes, self.extents, strict=True):
            extent = -(-(size + 2 * window.pad - window.kernel) // window.stride) + 1
            if (extent - 1) * window.stride >= size + window.pad:
                extent -= 1
            if extent != out or 2 * window.pad > window.kernel:
                return False
        return True

    def forward(
        self, context: PassContext, bottoms: list[Any], blobs: Tensors
    ) -> Sequence[BlobValue]:
        """Compute the pooled blob, and the mask of MAX as a second top."""
        bottom: BlobValue = bottoms[0]
        if isinstance(bottom, PaddedPlane):
            return [bottom.mean()]
        if isinstance(bottom, Codes):
            return [bottom.max_pool(self.kernel, self.stride, self.pad, self.extents)]
        if self.method == AVE:
            return [map_lazy(self._average, bottom)]
        if self.method == MAX and len(self.layer.tops) == 1:
            return [map_lazy(self._max, bottom)]
        x = materialize(bottom)
        return self._with_mask(x) if self.method == MAX else [self._stochastic(context, x)]

    def _max(self, x: Tensor) -> Tensor:
        if self.masks and x.requires_grad:
            masked: Tensor = _MaxPoolOfRelu.apply(  # type: ignore[no-untyped-call]
                x, self.kernel, self.stride, self.pad
            )
            return masked
        if self.native:
            return F.max_pool2d(x, self.kernel, self.stride, self.pad, ceil_mode=True)
        return F.max_pool2d(self._pad_windows(x, _lowest(x)), self.kernel, self.stride)

    def _with_mask(self, x: Tensor) -> Tensors:
        padded = self._pad_windows(x, _lowest(x))
        y, where = F.max_pool2d(padded, self.kernel, self.stride, return_indices=True)
        width = padded.shape[3]
        row = where // width - self.windows[0].pad
        column = where % width - self.windows[1].pad
        index = row * self.sizes[1] + column
        # A window wholly outside the input has no maximum.
        index = index.where(y > _lowest(x), torch.full_like(index, -1))
        # bf16 holds no integers above 256.
        return [y, index.to(torch.promote_types(x.dtype, torch.float32))]

    def _average(self, x: Tensor) -> Tensor:
        if self.is_global:
            return x.mean((2, 3), keepdim=True)
        padded = self._pad_windows(x, 0.0)
        sums = F.avg_pool2d(padded, self.kernel, self.stride, divisor_override=1)
        return sums / self._divisor(x)

    def _stochastic(self, context: PassContext, x: Tensor) -> Tensor:
        """TRAIN samples in proportion to the values, TEST averages with the values as weights.

        From pooling_layer.cu: Caffe has no CPU code for it.
        """
        n, channels = x.shape[:2]
        columns = F.unfold(self._pad_windows(x, 0.0), tuple(self.kernel), stride=tuple(self.stride))
        columns = columns.view(n, channels, -1, columns.shape[-1])
        if self.phase == "TRAIN":
            sums = columns.cumsum(2)
            threshold = context.uniform(self.index, sums[:, :, :1]) * sums[:, :, -1:]
            chosen = (sums < threshold).sum(2, keepdim=True).clamp(max=sums.shape[2] - 1)
            y = columns.gather(2, chosen)
        else:
            y = (columns * columns).sum(2) / (columns.sum(2) + FLT_MIN)
        return y.reshape(n, channels, *self.extents)

    def _pad_windows(self, x: Tensor, value: float) -> Tensor:
        """Pad so that every window lies inside."""
        pads: list[int] = []
        for w, size, out in zip(self.windows, self.sizes, self.extents, strict=True):
            end = (out - 1) * w.stride + w.kernel - size - w.pad
            pads = [w.pad, end, *pads]
        # A negative pad drops what no window reads.
        return F.pad(x, pads, value=value) if any(pads) else x

    def _clipped_sizes(self) -> Tensor:
        """Return the size of each window, clipped to the padded input as in Caffe."""
        rows, columns = (
            torch.tensor([window.clipped_kernel(size, position) for position in range(out)])
            for window, size, out in zip(self.windows, self.sizes, self.extents, strict=True)
        )
        return rows[:, None] * columns[None, :]

    def _divisor(self, like: Tensor) -> Tensor:
        """Return the clipped sizes of the windows as `like` has its values."""
        key = (like.dtype, like.device)
        if key not in self._divisors:
            with torch.inference_mode(False):  # autograd can't save a tensor made in it
                self._divisors[key] = self._window_sizes.to(like.device, like.dtype)
        return self._divisors[key]


def _lowest(x: Tensor) -> float:
    """Return Caffe's -FLT_MAX, or the lowest number of a narrower type."""
    return max(-FLT_MAX, torch.finfo(x.dtype).min)


class _MaxPoolOfRelu(torch.autograd.Function):
    """MAX pooling whose backward pass includes that of the ReLU below."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernel: list[int], stride: list[int], pad: list[int]
    ) -> Tensor:
        y, where = torch.ops.aten.max_pool2d_with_indices(x, kernel, stride, pad, [1, 1], True)
        ctx.save_for_backward(x, y, where)
        ctx.window = (kernel, stride, pad)
        return y  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, y, where = ctx.saved_tensors
        kernel, stride, pad = ctx.window
        g = torch.ops.aten.threshold_backward(gradients[0], y, 0)
        g = torch.ops.aten.max_pool2d_with_indices_backward(
            g, x, kernel, stride, pad, [1, 1], True, where
        )
        return g, None, None, None


class SPP(Kernel):
    """spp_layer.cpp: spatial pyramid pooling, several poolings of one bottom. He et al. 2014."""

    def set_up(self) -> None:
        """Make the pooling of each level."""
        bottom = self.layer.bottom_shapes[0]
        self._levels = [
            Pooling(replace(self.layer, param=level), self.index + (number << 32), self.phase)
            for number, level in enumerate(pyramid_levels(self.param, bottom))
        ]

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Pool at each level; several are flattened and concatenated."""
        tops = [materialize(level.forward(context, bottoms, [])[0]) for level in self._levels]
        return tops if len(tops) == 1 else [torch.cat([top.flatten(1) for top in tops], 1)]


class LRN(Kernel):
    """x / (k + alpha/n * sum of n squares)^beta, across channels or within one."""

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Normalize in either norm_region."""
        param, x = self.param.lrn_param, bottoms[0]
        size = param.local_size
        if param.norm_region == LRNParameter.WITHIN_CHANNEL:
            # Caffe's inner power layer shifts by 1 instead of k.
            # Padded here: PyTorch 2.11's own backward pass of a padded avg_pool2d is wrong for
            # channels-last tensors on a GPU.
            padded = F.pad(x * x, [size // 2] * 4)
            mean = F.avg_pool2d(padded, size, 1)
            return [x * (1 + param.alpha * mean) ** -param.beta]
        return [F.local_response_norm(x, size, param.alpha, param.beta, param.k)]
