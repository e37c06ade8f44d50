"""Layers that treat each element alone (neuron_layer.hpp)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812

from ...text import printable
from .base import Kernel, PassContext, Tensor, Value, channel_view, map_lazy


class ReLU(Kernel):
    """max(x, 0), and negative_slope times what is below."""

    accepts_lazy_concat = True

    def forward(self, run: PassContext, bottoms: list[Value], blobs: list[Tensor]) -> list[Any]:
        """Elementwise."""
        slope = self.param.relu_param.negative_slope
        if slope:
            return [map_lazy(lambda x: F.leaky_relu(x, slope), bottoms[0])]
        return [map_lazy(F.relu, bottoms[0])]


class PReLU(Kernel):
    """A learned slope below zero, one a channel or one for all."""

    def forward(self, run: PassContext, bottoms: list[Tensor], blobs: list[Tensor]) -> list[Tensor]:
        """Elementwise."""
        x, slope = bottoms[0], blobs[0]
        slope = slope if slope.dim() == 0 else channel_view(slope, x, 1)
        return [torch.where(x > 0, x, slope * x)]


class ELU(Kernel):
    """x, and alpha * (exp(x) - 1) below zero."""

    def forward(self, run: PassContext, bottoms: list[Tensor], blobs: list[Tensor]) -> list[Tensor]:
        """Elementwise."""
        return [F.elu(bottoms[0], self.param.elu_param.alpha)]


class Sigmoid(Kernel):
    """1 / (1 + exp(-x))."""

    def forward(self, run: PassContext, bottoms: list[Tensor], blobs: list[Tensor]) -> list[Tensor]:
        """Elementwise."""
        return [torch.sigmoid(bottoms[0])]


class TanH(Kernel):
    """The hyperbolic tangent."""

    def forward(self, run: PassContext, bottoms: list[Tensor], blobs: list[Tensor]) -> list[Tensor]:
        """Elementwise."""
        return [torch.tanh(bottoms[0])]


class Power(Kernel):
    """(shift + scale * x)^power."""

    def forward(self, run: PassContext, bottoms: list[Tensor], blobs: list[Tensor]) -> list[Tensor]:
        """Elementwise."""
        param, x = self.param.power_param, bottoms[0]
        if param.power == 0 or param.scale == 0:
            # power_layer.cpp: a constant, with no gradient.
            constant = 1.0 if param.power == 0 else param.shift**param.power
            return [torch.where(torch.zeros_like(x, dtype=torch.bool), x, constant)]
        y = x * param.scale + param.shift
        return [y if param.power == 1 else y**param.power]


class Dropout(Kernel):
    """TRAIN: zero with probability dropout_ratio, the rest scaled up; TEST: nothing."""

    accepts_lazy_concat = True

    def set_up(self) -> None:
        """Check the ratio; Caffe does so in debug builds alone."""
        ratio = self.param.dropout_param.dropout_ratio
        if not 0 <= ratio < 1:
            name = printable(self.layer.name)
            raise ValueError(f"layer '{name}': dropout_ratio {ratio:g} is not from 0 to below 1")

    def forward(self, run: PassContext, bottoms: list[Value], blobs: list[Tensor]) -> list[Any]:
        """Elementwise."""
        if self.phase != "TRAIN":
            return [bottoms[0]]
        ratio = self.param.dropout_param.dropout_ratio
        x = bottoms[0] if isinstance(bottoms[0], torch.Tensor) else bottoms[0].whole()
        kept = run.uniform(self.index, x) >= ratio
        return [x * (kept.to(x.dtype) * (1 / (1 - ratio)))]
