"""Deconvolution and Im2col: the backward pass of a convolution, and the columns it multiplies."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F  # noqa: N812

from .base import BlobValue, PassContext, Tensor, Tensors
from .convolution import WindowKernel

_TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


class Deconvolution(WindowKernel):
    """deconv_layer.cpp: a transposed convolution; its weights are (inputs, outputs of a group)."""

    def forward(
        self, context: PassContext, bottoms: Tensors, blobs: Tensors
    ) -> Sequence[BlobValue]:
        """Compute each top."""
        weight, bias = blobs[0], blobs[1] if len(blobs) > 1 else None
        transposed = _TRANSPOSED[len(self.kernel) - 1]

        def deconvolve(x: Tensor) -> Tensor:
            return transposed(
                x.to(weight.dtype),
                weight,
                bias,
                stride=self.stride,
                padding=self.pad,
                groups=self.group,
                dilation=self.dilation,
            )

        return [self.over_images(deconvolve, bottom) for bottom in bottoms]


class Im2col(WindowKernel):
    """im2col_layer.cpp: the window at each position as channels, zeros where it is padded."""

    def forward(
        self, context: PassContext, bottoms: Tensors, blobs: Tensors
    ) -> Sequence[BlobValue]:
        """Return (images, channels * kernel, positions...)."""
        return [self.over_images(self._columns, bottoms[0])]

    def _columns(self, x: Tensor) -> Tensor:
        pads = [side for pad in reversed(self.pad) for side in (pad, pad)]
        x = F.pad(F.pad(x, pads), self.end_pad() or [0, 0])
        for axis, window in enumerate(self.windows, 2):
            span = window.dilation * (window.kernel - 1) + 1
            x = x.unfold(axis, span, window.stride)[..., :: window.dilation]
        axes = len(self.windows)
        # (images, channels, positions..., kernel...) -> the kernel behind the channels
        x = x.permute(0, 1, *range(2 + axes, 2 + 2 * axes), *range(2, 2 + axes))
        return x.flatten(1, 1 + axes)
