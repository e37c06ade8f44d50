"""BatchNorm, MVN, Scale and Bias: layers with a value per channel."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812

from ...nets.layer_families.base import four_axes
from .base import Kernel, PassContext, Tensor, Tensors, canonical, channel_view, widen

_PART = 1 << 18  # elements that fit into a core's cache


Affine = tuple[Tensor, Tensor]  # a factor and a shift per channel: (channels,) each, float64


class AffineKernel(Kernel):
    """A layer that may multiply each channel by a factor and add a shift.

    Attributes:
        relu: whether it computes the ReLU that follows.
    """

    relu = False

    def channel_affine(self, blobs: Tensors) -> Affine | None:
        """Return the factors and shifts; None where it does anything else."""
        raise NotImplementedError


class BatchNorm(AffineKernel):
    """batch_norm_layer.cpp: (x - mean) / sqrt(variance + eps), without a scale or a shift.

    Its blobs are decaying sums over batches of the mean, the unbiased variance, and the weight 1:
    each is multiplied by moving_average_fraction before a batch is added. The first two divided by
    the third are the stored statistics. The blobs of a fused Scale follow.

    Attributes:
        fuses_relu, relu, masks: as in `Convolution`, of the ReLU that follows.
    """

    fuses_relu = True
    masks = True

    def set_up(self) -> None:
        """Decide between stored statistics and the batch's."""
        param = self.param.batch_norm_param
        self.stored = self.phase == "TEST"
        if param.HasField("use_global_stats"):
            self.stored = param.use_global_stats
        self.per_record = self.stored

    def channel_affine(self, blobs: Tensors) -> Affine | None:
        """Return the factors and shifts; None with the statistics of the batch."""
        if not self.stored:
            return None
        means, variances, weight, *scale = (blob.double() for blob in blobs)
        inverse = torch.where(weight == 0, torch.zeros_like(weight), 1 / weight)
        factor = (variances * inverse + self.param.batch_norm_param.eps).rsqrt()
        shift = -means * inverse * factor
        return (factor * scale[0], shift * scale[0] + scale[1]) if scale else (factor, shift)

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Normalize; with the batch's statistics, also add them to the blobs."""
        x, (means, variances, weight, *scale) = bottoms[0], blobs
        factor, shift = (values.to(means.dtype) for values in scale) if scale else (None, None)
        eps = self.param.batch_norm_param.eps
        if self.stored:
            inverse = torch.where(weight == 0, torch.zeros_like(weight), 1 / weight)
            y = F.batch_norm(x, means * inverse, variances * inverse, factor, shift, eps=eps)
            return [F.relu(y) if self.relu else y]
        result, mean, variance = _BatchNormWithRelu.apply(  # type: ignore[no-untyped-call]
            x, factor, shift, means.dtype, eps, self.relu, self.relu and self.masks
        )
        with torch.no_grad():
            count = x.numel() // x.shape[1]
            fraction = self.param.batch_norm_param.moving_average_fraction
            weight.mul_(fraction).add_(1)
            means.mul_(fraction).add_(mean)
            variances.mul_(fraction).add_(variance, alpha=count / (count - 1) if count > 1 else 1)
        return [result]


class _BatchNormWithRelu(torch.autograd.Function):
    """Normalization by the batch's statistics, Scale and ReLU; returns also mean and variance.

    PyTorch's own function computes the statistics of a channels-last blob in plain float32 sums,
    which are off by 1e-4 after two iterations, and does not subtract the mean first, as Caffe does,
    which is off where the mean is far larger than the deviation. `torch.var_mean` is exact and
    takes five times as long.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        factor: Tensor | None,
        shift: Tensor | None,
        dtype: torch.dtype,
        eps: float,
        relu: bool,
        masks: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = _channels_last(x)
        mean = _rows(x).mean(0, dtype=dtype)
        centered = (x - channel_view(mean, x, 1)).to(x.dtype)
        rows = _rows(centered)
        variance = torch.zeros_like(mean)
        for part in torch.split(rows, max(1, _PART // x.shape[1])):
            variance += part.to(dtype).square().sum(0)
        variance /= len(rows)
        zeros = torch.zeros_like(mean)
        y = F.batch_norm(centered, zeros, variance, factor, shift, eps=eps)
        if relu:
            F.relu_(y)
        ctx.save_for_backward(
            centered, factor, zeros, (variance + eps).rsqrt(), y if masks else None
        )
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        centered, factor, zeros, inverse, y = ctx.saved_tensors
        g = gradients[0]
        if y is not None:
            g = torch.ops.aten.threshold_backward(g, y, 0)
        needs = list(ctx.needs_input_grad[:3])
        results = torch.ops.aten.native_batch_norm_backward(
            _channels_last(g), centered, factor, None, None, zeros, inverse, True, ctx.eps, needs
        )
        # On a GPU, there are also gradients that are not needed.
        wanted = (g if needed else None for g, needed in zip(results, needs, strict=True))
        return (*wanted, *(None,) * 4)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x.contiguous()


def _rows(x: Tensor) -> Tensor:
    """Return x as (positions, channels)."""
    return x.movedim(1, -1).reshape(-1, x.shape[1])


class MVN(Kernel):
    """mvn_layer.cpp: (x - mean) / (deviation + eps) of each channel's plane, or of each record."""

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Normalize; the top has four axes."""
        param, x = self.param.mvn_param, bottoms[0]
        axes = (1, 2, 3) if param.across_channels else (2, 3)
        wide = widen(x).reshape(four_axes(tuple(x.shape)))
        centered = wide - wide.mean(axes, keepdim=True)
        if not param.normalize_variance:
            return [centered.to(x.dtype)]
        squares = centered.detach().square()
        deviation = squares.mean(axes, keepdim=True).sqrt() + param.eps
        # Caffe's gradient is that of a deviation with this slope: it takes eps for part of it.
        slope = (centered.detach() / deviation * centered).mean(axes, keepdim=True)
        return [(centered / (deviation + (slope - slope.detach()))).to(x.dtype)]


class Scale(AffineKernel):
    """scale_layer.cpp: multiply by a parameter or the second bottom, then add an optional bias."""

    def set_up(self) -> None:
        """Records are independent unless the second operand spans them."""
        self.per_record = not _spans_records(self.param.scale_param, self)

    def channel_affine(self, blobs: Tensors) -> Affine | None:
        """Return the factors and shifts; None where there is no one factor a channel."""
        channels = self.layer.bottom_shapes[0][1:2]
        is_per_channel = len(self.layer.bottoms) == 1 and self.param.scale_param.axis == 1
        if not is_per_channel or any(tuple(blob.shape) != channels for blob in blobs):
            return None
        factor, *shift = (blob.double() for blob in blobs)
        return factor, shift[0] if shift else torch.zeros_like(factor)

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Broadcast the second operand from `axis` on."""
        param, x = self.param.scale_param, bottoms[0]
        factors = bottoms[1] if len(bottoms) > 1 else blobs[0]
        axis = canonical(param.axis, x)
        y = x * channel_view(factors, x, axis if factors.dim() else 0)
        if param.bias_term:
            bias = blobs[-1]
            y = y + channel_view(bias, x, axis if bias.dim() else 0)
        return [y]


class Bias(Kernel):
    """bias_layer.cpp: add a parameter or the second bottom."""

    def set_up(self) -> None:
        """Records are independent unless the second operand spans them."""
        self.per_record = not _spans_records(self.param.bias_param, self)

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Broadcast the second operand from `axis` on."""
        x = bottoms[0]
        bias = bottoms[1] if len(bottoms) > 1 else blobs[0]
        axis = canonical(self.param.bias_param.axis, x)
        return [x + channel_view(bias, x, axis if bias.dim() else 0)]


def _spans_records(param: object, kernel: Kernel) -> bool:
    """Return whether the operand has values that do not go with single records."""
    axis = getattr(param, "axis", 1) % max(1, len(kernel.layer.bottom_shapes[0]))
    second = len(kernel.layer.bottom_shapes) > 1
    return axis == 0 if not second else axis != 0 or bool(kernel.layer.blobs)
