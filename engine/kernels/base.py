"""What a layer computes with: the kernel of its type, the run it is part of, and lazy concats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..wiring import WiredLayer

Tensor = torch.Tensor


class LazyConcat:
    """A concatenation along the channels that nobody has needed in one piece yet.

    A 1x1 convolution over it is a sum of convolutions, a pooling is one of each part: a Fire
    module's Concat then costs nothing (a twentieth of SqueezeNet's time in a test).
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = list(tensors)
        self._whole: Tensor | None = None

    def whole(self) -> Tensor:
        """The one tensor."""
        if self._whole is None:
            self._whole = torch.cat(self.tensors, 1)
        return self._whole


class PaddedPlane:
    """A blob whose border has one value a channel, as a padded 1x1 convolution makes it.

    A global average needs no more of it than the inner part.
    """

    def __init__(self, inner: Tensor, border: Tensor, pad: Sequence[int]) -> None:
        self.inner, self.border, self.pad = inner, border, tuple(pad)

    def whole(self) -> Tensor:
        """The one tensor."""
        n, channels, height, width = self.inner.shape
        ph, pw = self.pad
        shape = (n, channels, height + 2 * ph, width + 2 * pw)
        z = self.border.view(1, -1, 1, 1).expand(shape)
        z = z.contiguous(memory_format=torch.channels_last)
        z[:, :, ph : ph + height, pw : pw + width] = self.inner
        return z

    def mean(self) -> Tensor:
        """The average over each channel's plane, (n, channels, 1, 1)."""
        height, width = self.inner.shape[2:]
        total = (height + 2 * self.pad[0]) * (width + 2 * self.pad[1])
        sums = self.inner.sum((2, 3), keepdim=True)
        return (sums + self.border.view(1, -1, 1, 1) * (total - height * width)) / total


Lazy = LazyConcat | PaddedPlane
Value = Tensor | LazyConcat


def map_lazy(function: Callable[[Tensor], Tensor], value: Value) -> Value:
    """`function`, which treats every channel alone, of a tensor or of each part."""
    if isinstance(value, LazyConcat):
        return LazyConcat([function(part) for part in value.tensors])
    return function(value)


@dataclass
class PassWeights:
    """Parameters in the type that a pass computes in, and what kernels derive of them once.

    Attributes:
        tensors: by number of the parameter; shared ones are one object.
        derived: reordered or sliced forms, by whatever key a kernel likes.
    """

    tensors: list[Tensor]
    derived: dict[Any, Any] = field(default_factory=dict)


@dataclass
class PassContext:
    """One pass over some records of a batch.

    Attributes:
        weights: the parameters.
        gradients: whether a backward pass follows.
        key: (seed, number of the pass, first record): all that randomness depends on, so that a
            run repeats itself whatever the number of threads, and can be resumed.
        normalizers: divisor of a loss over the whole batch, by layer name; where it is not given,
            the records at hand are the whole batch.
    """

    weights: PassWeights
    gradients: bool
    key: tuple[int, int, int]
    normalizers: dict[str, float] = field(default_factory=dict)

    def uniform(self, layer: int, like: Tensor) -> Tensor:
        """Uniform numbers from [0, 1) in the shape of `like`, the layer's own."""
        source = np.random.Generator(np.random.SFC64([*self.key, layer]))
        numbers = torch.from_numpy(source.random(like.numel(), dtype=np.float32))
        return numbers.view(like.shape).to(like.device)


class Kernel:
    """How layers of a type compute; a subclass for each.

    Attributes:
        takes_parts, takes_bordered: whether `forward` knows what to do with those.
        by_record: whether each record of a batch is computed alone, so that a batch can be cut.
        reduces: whether the layer turns a batch into one score (losses, accuracies): it is then
            given the whole batch in the end, and `objective` serves a part of it.
        index: number of the layer in its net.
    """

    accepts_lazy_concat = False
    accepts_padded_plane = False
    per_record = True
    reduces = False

    def __init__(self, layer: WiredLayer, index: int, phase: str) -> None:
        self.layer = layer
        self.param = layer.param
        self.index = index
        self.phase = phase
        self.set_up()

    def set_up(self) -> None:
        """Read the layer's own parameters."""

    def forward(self, run: PassContext, bottoms: list[Any], blobs: list[Tensor]) -> list[Any]:
        """The tops."""
        raise NotImplementedError(self.layer.type)

    def normalizer(self, labels: Tensor, records: int) -> float:
        """Of a loss: what its sum over the whole batch is divided by."""
        raise NotImplementedError(self.layer.type)

    def objective(self, run: PassContext, bottoms: list[Tensor]) -> Tensor:
        """Of a loss: its value in a form to be differentiated, for the records at hand."""
        raise NotImplementedError(self.layer.type)


def canonical(axis: int, tensor: Tensor) -> int:
    """A possibly negative axis as an index."""
    return axis % tensor.dim()


def channel_view(values: Tensor, like: Tensor, axis: int) -> Tensor:
    """`values` in a shape that broadcasts over `like` from `axis` on."""
    shape = [1] * axis + list(values.shape)
    return values.view(shape + [1] * (like.dim() - len(shape)))
