"""Join tensors, and convert them to NumPy arrays."""

from __future__ import annotations

import numpy as np
import torch

Tensor = torch.Tensor


def join_batches(tensors: list[Tensor]) -> Tensor:
    """Return micro-batches as one batch."""
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def to_array(tensor: Tensor) -> np.ndarray:
    """Return a tensor as a NumPy array; bf16, which NumPy lacks, as float32.

    The array may share the tensor's memory.
    """
    tensor = tensor.detach().cpu()
    tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return np.asarray(tensor.contiguous().numpy())
