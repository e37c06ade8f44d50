"""Join tensors, and convert them to NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

Tensor = torch.Tensor


def join_batches(tensors: list[Tensor]) -> Tensor:
    """Return micro-batches as one batch."""
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Return whether no value is nan or inf; False also where squares overflow (above 1e19)."""
    # One pass over the memory. float64 may be inf in float32, which nan comes of.
    norms = [torch.linalg.vector_norm(tensor.detach().float()) for tensor in tensors]
    return not norms or bool(torch.stack(norms).isfinite().all())


def to_array(tensor: Tensor) -> np.ndarray:
    """Return a tensor as a NumPy array; bf16, which NumPy lacks, as float32.

    The array may share the tensor's memory.
    """
    tensor = tensor.detach().cpu()
    tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return np.asarray(tensor.contiguous().numpy())
