"""Elementwise layers (neuron_layer.hpp)."""

from __future__ import annotations

from math import log

import torch
import torch.nn.functional as F  # noqa: N812

from .base import (
    BlobValue,
    Kernel,
    PassContext,
    Tensors,
    Value,
    channel_view,
    map_lazy,
    materialize,
)
from .codes import Codes


class ReLU(Kernel):
    """max(x, 0) + negative_slope * min(x, 0)."""

    accepts_lazy_concat = True

    def set_up(self) -> None:
        """Read the slope."""
        self._slope = self.param.relu_param.negative_slope
        self.accepts_codes = not self._slope

    def forward(
        self, context: PassContext, bottoms: list[Value | Codes], blobs: Tensors
    ) -> list[BlobValue]:
        """Compute each element."""
        if isinstance(bottoms[0], Codes):
            return [bottoms[0].relu()]
        if self._slope:
            return [map_lazy(lambda x: F.leaky_relu(x, self._slope), bottoms[0])]
        return [map_lazy(F.relu, bottoms[0])]


class PReLU(Kernel):
    """max(x, 0) + slope * min(x, 0), with a learned slope per channel, or one for all."""

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Compute each element."""
        x, slope = bottoms[0], blobs[0]
        slope = slope if slope.dim() == 0 else channel_view(slope, x, 1)
        return [torch.where(x > 0, x, slope * x)]


class ELU(Kernel):
    """x above zero, alpha * (exp(x) - 1) below."""

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Compute each element."""
        return [F.elu(bottoms[0], self.param.elu_param.alpha)]


class Sigmoid(Kernel):
    """1 / (1 + exp(-x))."""

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Compute each element."""
        return [torch.sigmoid(bottoms[0])]


class TanH(Kernel):
    """The hyperbolic tangent."""

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Compute each element."""
        return [torch.tanh(bottoms[0])]


class Power(Kernel):
    """(shift + scale * x)^power."""

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Compute each element."""
        param, x = self.param.power_param, bottoms[0]
        if param.power == 0 or param.scale == 0:
            # power_layer.cpp: a constant, without gradient.
            constant = 1.0 if param.power == 0 else param.shift**param.power
            return [torch.where(torch.zeros_like(x, dtype=torch.bool), x, constant)]
        y = x * param.scale + param.shift
        return [y if param.power == 1 else y**param.power]


class Exp(Kernel):
    """exp_layer.cpp: base^(shift + scale * x), by default e^x."""

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Compute each element."""
        param = self.param.exp_param
        log_base = 1.0 if param.base == -1 else log(param.base)
        return [torch.exp((bottoms[0] * param.scale + param.shift) * log_base)]


class Log(Kernel):
    """log_layer.cpp: the logarithm of shift + scale * x to a base, by default e."""

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Compute each element."""
        param = self.param.log_param
        log_base = 1.0 if param.base == -1 else log(param.base)
        return [torch.log(bottoms[0] * param.scale + param.shift) / log_base]


class AbsVal(Kernel):
    """The absolute value; its gradient at 0 is 0."""

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Compute each element."""
        return [bottoms[0].abs()]


class BNLL(Kernel):
    """bnll_layer.cpp: log(1 + exp(x)), the binomial normal log likelihood."""

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Compute each element."""
        return [F.softplus(bottoms[0], threshold=50)]  # kBNLL_THRESHOLD, where float64 has x


class Swish(Kernel):
    """swish_layer.cpp: x * sigmoid(beta * x)."""

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Compute each element."""
        x = bottoms[0]
        return [x * torch.sigmoid(self.param.swish_param.beta * x)]


class Clip(Kernel):
    """clip_layer.cpp: max(min, min(x, max)); the gradient passes at both limits."""

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Compute each element."""
        param = self.param.clip_param
        return [bottoms[0].clamp(max=param.max).clamp(min=param.min)]


class Threshold(Kernel):
    """threshold_layer.cpp: 1 above the threshold, else 0; without a gradient."""

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Compute each element."""
        x = bottoms[0]
        return [(x > self.param.threshold_param.threshold).to(x.dtype)]


class Dropout(Kernel):
    """TRAIN: zero with probability dropout_ratio, else x / (1 - dropout_ratio). TEST: x."""

    accepts_lazy_concat = True

    def set_up(self) -> None:
        """Check the ratio, which Caffe does only in debug builds."""
        self.accepts_codes = self.phase != "TRAIN"
        ratio = self.param.dropout_param.dropout_ratio
        if not 0 <= ratio < 1:
            raise ValueError(f"dropout_ratio {ratio:g} is not in [0, 1)")

    def forward(
        self, context: PassContext, bottoms: list[BlobValue], blobs: Tensors
    ) -> list[BlobValue]:
        """Compute each element."""
        if self.phase != "TRAIN":
            return [bottoms[0]]
        ratio = self.param.dropout_param.dropout_ratio
        x = materialize(bottoms[0])
        kept = context.uniform(self.index, x) >= ratio
        return [x * (kept.to(x.dtype) * (1 / (1 - ratio)))]
