"""What the data layers of a net hand out for one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..formats.layers import Shape
from .fillers import fill

Tensor = torch.Tensor


@dataclass
class Feed:
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

        Pixels become float32 first: (pixel - mean) * scale, as DataTransformer does.
        """
        values = self.values[start:end] if self.values.dim() else self.values
        if device.type != "cpu":
            values = values.to(device, non_blocking=True)
        if not self.finished:
            wide = dtype if dtype == torch.float64 else torch.float32
            if self.mean is None:
                values = values.to(wide)
            else:
                values = values - self.mean.to(device=device, dtype=wide)[:, None, None]
            if self.scale != 1.0:
                values = values * self.scale
        values = values.to(dtype)
        if values.dim() == 4:
            values = values.contiguous(memory_format=torch.channels_last)
        return values


def dummy_feed(param: Any, index: int, shape: Shape, key: tuple[int, ...], where: str) -> Feed:
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
        return Feed(torch.zeros(shape))
    filler = fillers[index if len(fillers) > 1 else 0]
    return Feed(torch.from_numpy(fill(filler, shape, (*key, index), where)))


def array_feed(values: Any, shape: Shape, name: str) -> Feed:
    """An array from Python for a blob.

    Raises:
        ValueError: it has other axes than the blob, the batch aside.
    """
    array = np.asarray(values, order="C")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32)
    if array.ndim != len(shape) or array.shape[1:] != tuple(shape[1:]):
        raise ValueError(f"blob '{name}' has shape {tuple(shape)}, not {array.shape}")
    return Feed(torch.from_numpy(array))
