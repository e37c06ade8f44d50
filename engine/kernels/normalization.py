"""BatchNorm, Scale and Bias: what works with a value for each channel."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812

from .base import Kernel, PassContext, Tensor, canonical, channel_view


class BatchNorm(Kernel):
    """batch_norm_layer.cpp: (x - mean) / sqrt(variance + eps), without a scale or a shift.

    Its blobs are sums: of means, of unbiased variances, and of the weights that they were added
    with, each multiplied by moving_average_fraction before a batch is added. They are divided by
    the third when they are used.
    """

    def set_up(self) -> None:
        """Whether the batch's own statistics are used."""
        param = self.param.batch_norm_param
        self.stored = self.phase == "TEST"
        if param.HasField("use_global_stats"):
            self.stored = param.use_global_stats
        self.per_record = self.stored

    def forward(self, run: PassContext, bottoms: list[Tensor], blobs: list[Tensor]) -> list[Tensor]:
        """Normalized; in TRAIN the blobs take in the batch."""
        x, (means, variances, weight) = bottoms[0], blobs
        eps = self.param.batch_norm_param.eps
        if self.stored:
            factor = torch.where(weight == 0, torch.zeros_like(weight), 1 / weight)
            return [F.batch_norm(x, means * factor, variances * factor, eps=eps)]
        self._take_in(x.detach(), means, variances, weight)
        if x.numel() == x.shape[1]:
            return [x * 0]  # one value a channel, which PyTorch refuses
        # Not channels-last: PyTorch's kernel for that order is off by 1e-4 after two iterations.
        return [F.batch_norm(x.contiguous(), None, None, training=True, eps=eps)]

    def _take_in(self, x: Tensor, means: Tensor, variances: Tensor, weight: Tensor) -> None:
        axes = [axis for axis in range(x.dim()) if axis != 1]
        x = x.to(means.dtype)
        variance, mean = torch.var_mean(x, axes, correction=0)
        count = x.numel() // x.shape[1]
        fraction = self.param.batch_norm_param.moving_average_fraction
        with torch.no_grad():
            weight.mul_(fraction).add_(1)
            means.mul_(fraction).add_(mean)
            variances.mul_(fraction).add_(variance, alpha=count / (count - 1) if count > 1 else 1)


class Scale(Kernel):
    """scale_layer.cpp: times a blob (its own, or the second bottom), and a bias if asked for."""

    def set_up(self) -> None:
        """A blob from axis 0 on has an element a record, so records are not alone."""
        self.per_record = not _spans_records(self.param.scale_param, self)

    def forward(self, run: PassContext, bottoms: list[Tensor], blobs: list[Tensor]) -> list[Tensor]:
        """Broadcast from `axis` on."""
        param, x = self.param.scale_param, bottoms[0]
        factors = bottoms[1] if len(bottoms) > 1 else blobs[0]
        axis = canonical(param.axis, x)
        y = x * channel_view(factors, x, axis if factors.dim() else 0)
        if param.bias_term:
            bias = blobs[-1]
            y = y + channel_view(bias, x, axis if bias.dim() else 0)
        return [y]


class Bias(Kernel):
    """bias_layer.cpp: plus a blob (its own, or the second bottom)."""

    def set_up(self) -> None:
        """A blob from axis 0 on has an element a record, so records are not alone."""
        self.per_record = not _spans_records(self.param.bias_param, self)

    def forward(self, run: PassContext, bottoms: list[Tensor], blobs: list[Tensor]) -> list[Tensor]:
        """Broadcast from `axis` on."""
        x = bottoms[0]
        bias = bottoms[1] if len(bottoms) > 1 else blobs[0]
        axis = canonical(self.param.bias_param.axis, x)
        return [x + channel_view(bias, x, axis if bias.dim() else 0)]


def _spans_records(param: object, kernel: Kernel) -> bool:
    axis = getattr(param, "axis", 1) % len(kernel.layer.bottom_shapes[0])
    second = len(kernel.layer.bottom_shapes) > 1
    return axis == 0 if not second else axis != 0 or bool(kernel.layer.blobs)
