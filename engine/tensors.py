"""Tensors and arrays: whole, joined, converted."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

Tensor = torch.Tensor


def whole(value: Any) -> Tensor:
    """Return a blob as one tensor, also where a kernel left it lazy."""
    return value if isinstance(value, torch.Tensor) else value.whole()


def joined(tensors: list[Tensor]) -> Tensor:
    """Return micro-batches as one batch."""
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def to_array(tensor: Tensor) -> np.ndarray:
    """Return a copy as a NumPy array; bf16, which NumPy lacks, as float32."""
    tensor = tensor.detach().cpu()
    tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return np.asarray(tensor.contiguous().numpy())
