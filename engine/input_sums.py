"""Sums over images of what layers of filters read: all that least squares needs of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from ..formats.schema import NetParameter
from ..nets.definition import NetDefinition
from ..nets.shapes import LayerShapes
from ..nets.windows import convolution_windows
from .executor import Executor

POSITIONS = 400  # of a convolution that are sampled, the same of each image
_PHASE = "TEST"


class InputSums(NamedTuple):
    """X'X of what the filters of a layer read, and of a constant 1 behind it.

    Attributes:
        products: (n + 1, n + 1) in float64, n being the weights of a filter.
        samples: how many rows X has.
    """

    products: np.ndarray
    samples: int


def collect_sums(
    net: NetDefinition,
    model: NetParameter,
    layers: Sequence[LayerShapes],
    batches: Iterable[np.ndarray],
) -> dict[str, InputSums]:
    """Run a net on images, and sum up what each of some layers reads.

    Args:
        net: a net with one input.
        model: its weights.
        layers: convolutions without groups, and inner products, whose bottoms keep their values
            after they read them.
        batches: images, (batch, channels, height, width) each.
    """
    executor = Executor(net, _PHASE)
    executor.load(model, net.source)
    top = executor.inputs.layers[0].tops[0]
    samplers = {item.layer.name: _Sampler(item) for item in layers}
    for batch in batches:
        blobs = executor.forward({top: batch}, keep={s.blob for s in samplers.values()})
        for sampler in samplers.values():
            sampler.add(torch.from_numpy(blobs[sampler.blob]))
    return {
        name: InputSums(sampler.products.numpy(), sampler.samples)
        for name, sampler in samplers.items()
    }


class _Sampler:
    """Sums up what a layer's filters read at some positions."""

    def __init__(self, item: LayerShapes) -> None:
        self.blob = item.layer.bottom[0]
        self.samples = 0
        self._item = item
        size = item.blobs[0].shape[1:]
        count = int(np.prod(size))
        if item.layer.type == "InnerProduct" and item.layer.inner_product_param.transpose:
            count = item.blobs[0].shape[0]
        self.products = torch.zeros(count + 1, count + 1, dtype=torch.float64)
        self._positions: torch.Tensor | None = None

    def add(self, blob: torch.Tensor) -> None:
        """Add a batch of the layer's bottom."""
        rows = self._rows(blob).double()
        rows = torch.cat([rows, torch.ones(len(rows), 1, dtype=torch.float64)], 1)
        self.products += rows.T @ rows
        self.samples += len(rows)

    def _rows(self, blob: torch.Tensor) -> torch.Tensor:
        """Return what a filter reads at each position, in the order of its weights."""
        layer = self._item.layer
        if layer.type == "InnerProduct":
            return blob.reshape(len(blob), -1)
        windows = convolution_windows(layer.convolution_param, blob.dim() - 2)
        kernel, stride, pad, dilation = (
            tuple(getattr(window, field) for window in windows)
            for field in ("kernel", "stride", "pad", "dilation")
        )
        if all(size == 1 for size in kernel):
            padded = F.pad(blob, [p for p in reversed(pad) for _ in range(2)])
            patches = padded[:, :, :: stride[0], :: stride[1]].flatten(2)
        else:
            patches = F.unfold(blob, kernel, dilation=dilation, padding=pad, stride=stride)
        return self._sampled(patches).transpose(1, 2).reshape(-1, patches.shape[1])

    def _sampled(self, patches: torch.Tensor) -> torch.Tensor:
        count = patches.shape[2]
        if count <= POSITIONS:
            return patches
        if self._positions is None:
            chosen = np.random.default_rng(0).choice(count, POSITIONS, replace=False)
            self._positions = torch.from_numpy(np.sort(chosen))
        return patches[:, :, self._positions]
