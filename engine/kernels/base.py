"""The base class of kernels, the context of a pass, and lazy forms of blobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from ..wiring import WiredLayer
from .codes import Codes, Encoder

Tensor = torch.Tensor
Tensors = list[Tensor]


class LazyConcat:
    """A concatenation along the channels, deferred until a kernel needs it in one tensor.

    A 1x1 convolution over it is a sum of convolutions over its parts, and pooling works on each
    part: the Concat of a Fire module then costs nothing, which saves 5% of SqueezeNet's test time.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = list(tensors)
        self._tensor: Tensor | None = None

    def materialize(self) -> Tensor:
        """Return it as one tensor."""
        if self._tensor is None:
            self._tensor = torch.cat(self.tensors, 1)
        return self._tensor


class PaddedPlane:
    """A blob whose border has one value per channel: the top of a padded 1x1 convolution.

    Global average pooling needs only the inner part and that value.
    """

    def __init__(self, inner: Tensor, border: Tensor, pad: Sequence[int]) -> None:
        self.inner, self.border, self.pad = inner, border, tuple(pad)

    def materialize(self) -> Tensor:
        """Return it as one tensor."""
        n, channels, height, width = self.inner.shape
        ph, pw = self.pad
        shape = (n, channels, height + 2 * ph, width + 2 * pw)
        z = self.border.view(1, -1, 1, 1).expand(shape)
        z = z.contiguous(memory_format=torch.channels_last)
        z[:, :, ph : ph + height, pw : pw + width] = self.inner
        return z

    def mean(self) -> Tensor:
        """Return the mean of each channel's plane: (n, channels, 1, 1)."""
        height, width = self.inner.shape[2:]
        total = (height + 2 * self.pad[0]) * (width + 2 * self.pad[1])
        sums = self.inner.sum((2, 3), keepdim=True)
        return (sums + self.border.view(1, -1, 1, 1) * (total - height * width)) / total


Value = Tensor | LazyConcat
BlobValue = Tensor | LazyConcat | PaddedPlane | Codes  # what `Kernel.forward` may return
BottomChange = Callable[[Tensor], Tensor]  # elementwise


def materialize(value: BlobValue) -> Tensor:
    """Return a blob as one tensor, also where a kernel left it lazy."""
    return value if isinstance(value, torch.Tensor) else value.materialize()


def map_lazy(function: Callable[[Tensor], Tensor], value: Value) -> Value:
    """Apply a channel-wise function to a tensor, or to each part of a lazy concatenation."""
    if isinstance(value, LazyConcat):
        return LazyConcat([function(part) for part in value.tensors])
    return function(value)


@dataclass
class PassWeights:
    """Parameters in the dtype of a pass, and the forms that kernels derive from them.

    Attributes:
        tensors: by number of the parameter; shared ones are one object.
        bottoms: layer -> what its bottoms pass through before it reads them, such as a quantizer.
        finite: whether no value is nan or inf, where a kernel could hide that.
        derived: a cache of reordered or sliced forms, under keys chosen by the kernels.
    """

    tensors: list[Tensor]
    bottoms: Mapping[str, BottomChange] = field(default_factory=dict)
    finite: bool = True
    derived: dict[Any, Any] = field(default_factory=dict)


@dataclass
class PassContext:
    """One pass over the records of a micro-batch.

    Attributes:
        weights: the parameters.
        gradients: whether a backward pass follows.
        key: (seed, number of the pass, first record); determines all random numbers, so that a run
            is reproducible with any number of threads, and can be resumed.
        normalizers: number of a loss layer in the net -> divisor of its loss over the whole batch;
            empty where the pass computes the whole batch.
        keeps_nan: whether no kernel may make 0 of nan, as parameters or inputs hold nan or inf.
    """

    weights: PassWeights
    gradients: bool
    key: tuple[int, int, int]
    normalizers: dict[int, float] = field(default_factory=dict)
    keeps_nan: bool = False

    def uniform(self, layer: int, like: Tensor, *, per_batch: bool = False) -> Tensor:
        """Return uniform numbers in [0, 1) for a layer, in the shape of `like`.

        `per_batch` gives every micro-batch of a batch the same; `layer` then needs bits above the
        32nd, so that no record's numbers are these.
        """
        key = (*self.key[:2], 0) if per_batch else self.key
        source = np.random.Generator(np.random.SFC64([*key, layer]))
        numbers = torch.from_numpy(source.random(like.numel(), dtype=np.float32))
        return numbers.view(like.shape).to(like.device)


class ScoreCounts(NamedTuple):
    """What a score of a batch is a mean of, so that batches can be averaged exactly.

    Attributes:
        divisor: what the sum over the batch was divided by.
        items: how many items the sum is over, in the unit of the mean over several batches.
    """

    divisor: float
    items: float


class Kernel:
    """The computation of a layer; a subclass for each layer type.

    Attributes:
        accepts_lazy_concat, accepts_padded_plane, accepts_codes: whether `forward` accepts these as
            bottoms; set by `set_up` where it depends on the layer. Of codes, its tops are codes of
            the same format.
        encoder: makes codes of each bottom, instead of what `PassWeights.bottoms` has; or None.
        per_record: whether each record is computed independently, so that a batch can be split into
            micro-batches.
        reduces: whether the layer reduces a batch to a score (losses, accuracies): `forward` then
            runs on the whole batch, and `objective`, of losses, on each micro-batch.
        quantizes_bottoms: whether `quantize_bottom` changes the bottoms, for all that read them
            from here on.
        index: the layer's number in the net.
    """

    accepts_lazy_concat = False
    accepts_padded_plane = False
    accepts_codes = False
    encoder: Encoder | None = None
    per_record = True
    reduces = False
    quantizes_bottoms = False

    def __init__(self, layer: WiredLayer, index: int, phase: str) -> None:
        self.layer = layer
        self.param = layer.param
        self.index = index
        self.phase = phase
        self.set_up()

    def set_up(self) -> None:
        """Read the layer's param message; a ValueError says what the engine can't run."""

    def accepts(self, value: LazyConcat | PaddedPlane | Codes) -> bool:
        """Return whether `forward` accepts a lazy form as a bottom."""
        if isinstance(value, LazyConcat):
            return self.accepts_lazy_concat
        return self.accepts_codes if isinstance(value, Codes) else self.accepts_padded_plane

    def forward(
        self, context: PassContext, bottoms: list[Any], blobs: Tensors
    ) -> Sequence[BlobValue]:
        """Compute the tops; `bottoms` are tensors, or the lazy forms that the kernel accepts."""
        raise NotImplementedError(self.layer.type)

    def quantize_bottom(self, context: PassContext, index: int, bottom: BlobValue) -> BlobValue:
        """Return what bottom number `index` becomes before the layer runs."""
        raise NotImplementedError(self.layer.type)

    def score_counts(self, bottoms: Tensors) -> ScoreCounts:
        """Return what the score of a whole batch is a mean of: by default its records."""
        records = float(bottoms[0].shape[0])
        return ScoreCounts(records, records)

    def normalizer(self, labels: Tensor, records: int) -> float:
        """Return the divisor of a loss summed over the whole batch, for `context.normalizers`."""
        raise NotImplementedError(self.layer.type)

    def objective(self, context: PassContext, bottoms: list[Tensor]) -> Tensor:
        """Return a micro-batch's part of a loss, divided by `context.normalizers`."""
        raise NotImplementedError(self.layer.type)


def widen(x: Tensor) -> Tensor:
    """Return bf16 as float32, which holds sums and indices of classes."""
    return x.float() if x.dtype == torch.bfloat16 else x


def canonical(axis: int, tensor: Tensor) -> int:
    """Return a possibly negative axis as an index; 0 for a scalar, which has none."""
    return axis % max(1, tensor.dim())


def channel_view(values: Tensor, like: Tensor, axis: int) -> Tensor:
    """View `values` in a shape that broadcasts over `like` from `axis` on."""
    shape = [1] * axis + list(values.shape)
    return values.view(shape + [1] * (like.dim() - len(shape)))
