"""What the data layers of a net hand out for one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..nets.layer_types import Shape
from .fillers import fill

Tensor = torch.Tensor


@dataclass
class InputBatch:
    """A blob of a whole batch.

    Attributes:
        values: (batch, ...), bytes or floats.
        mean: (channels,) to be subtracted from bytes, or None.
        scale: to multiply with then.
        finished: whether both are in already.
    """

    values: Tensor
    mean: Tensor | None = None
    scale: float = 1.0
    finished: bool = True

    @property
    def records(self) -> int:
        """Of the batch; a scalar is one."""
        return len(self.values) if self.values.dim() else 1

    def part(self, start: int, end: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Records from `start` to `end` as the net computes with them.

        Pixels become (pixel - mean) * scale, as DataTransformer computes it.
        """
        values = self.values[start:end] if self.values.dim() else self.values
        if device.type != "cpu":
            values = values.to(device, non_blocking=True)
        if not self.finished:
            values = values.to(dtype)
            if self.mean is not None:
                _subtract(values, self.mean.to(device=device, dtype=dtype))
            if self.scale != 1.0:
                values = values.mul_(self.scale)
        values = values.to(dtype)
        if values.dim() == 4:
            values = values.contiguous(memory_format=torch.channels_last)
        return values


def _subtract(pixels: Tensor, mean: Tensor) -> None:
    """Subtract each channel's mean; whole rows at once where channels lie together, which is
    several times faster."""
    rows = pixels.permute(0, 2, 3, 1)
    if rows.is_contiguous():
        n, height, width, channels = rows.shape
        rows.view(n, height, width * channels).sub_(mean.repeat(width))
    else:
        pixels.sub_(mean[:, None, None])


def dummy_batch(
    param: Any, index: int, shape: Shape, key: tuple[int, ...], where: str
) -> InputBatch:
    """A top of a DummyData layer: constants stay, the rest is drawn anew for each pass.

    Args:
        param: the DummyDataParameter.
        index: of the top.
        shape: of the top.
        key: what the random numbers depend on.
        where: the layer, for messages.
    """
    fillers = param.data_filler
    if not fillers:
        return InputBatch(torch.zeros(shape))
    filler = fillers[index if len(fillers) > 1 else 0]
    return InputBatch(torch.from_numpy(fill(filler, shape, (*key, index), where)))


def batch_of_array(values: Any, shape: Shape, name: str) -> InputBatch:
    """An array from Python for a blob.

    Raises:
        ValueError: it has other axes than the blob, the batch aside.
    """
    array = np.asarray(values, order="C")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32)
    if array.ndim and not len(array):
        raise ValueError(f"blob '{name}': an array of no records")
    if array.ndim != len(shape) or array.shape[1:] != tuple(shape[1:]):
        raise ValueError(f"blob '{name}' has shape {tuple(shape)}, not {array.shape}")
    return InputBatch(torch.from_numpy(array))
