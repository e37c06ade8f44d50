"""BatchNorm, Scale and Bias: layers with a value per channel."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812

from .base import Kernel, PassContext, Tensor, Tensors, canonical, channel_view


class BatchNorm(Kernel):
    """batch_norm_layer.cpp: (x - mean) / sqrt(variance + eps), without a scale or a shift.

    Its blobs are decaying sums over batches of the mean, the unbiased variance, and the weight 1:
    each is multiplied by moving_average_fraction before a batch is added. The first two divided by
    the third are the stored statistics.
    """

    def set_up(self) -> None:
        """Decide between stored statistics and the batch's."""
        param = self.param.batch_norm_param
        self.stored = self.phase == "TEST"
        if param.HasField("use_global_stats"):
            self.stored = param.use_global_stats
        self.per_record = self.stored

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Normalize; with the batch's statistics, also add them to the blobs."""
        x, (means, variances, weight) = bottoms[0], blobs
        eps = self.param.batch_norm_param.eps
        if self.stored:
            factor = torch.where(weight == 0, torch.zeros_like(weight), 1 / weight)
            return [F.batch_norm(x, means * factor, variances * factor, eps=eps)]
        self._add_batch(x.detach(), means, variances, weight)
        if x.numel() == x.shape[1]:
            return [x * 0]  # one value per channel, which PyTorch refuses
        # Contiguous: PyTorch's channels-last kernel is off by 1e-4 after two iterations.
        return [F.batch_norm(x.contiguous(), None, None, training=True, eps=eps)]

    def _add_batch(self, x: Tensor, means: Tensor, variances: Tensor, weight: Tensor) -> None:
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
    """scale_layer.cpp: multiply by a parameter or the second bottom, then add an optional bias."""

    def set_up(self) -> None:
        """Records are independent unless the second operand spans them."""
        self.per_record = not _spans_records(self.param.scale_param, self)

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
    axis = getattr(param, "axis", 1) % len(kernel.layer.bottom_shapes[0])
    second = len(kernel.layer.bottom_shapes) > 1
    return axis == 0 if not second else axis != 0 or bool(kernel.layer.blobs)
