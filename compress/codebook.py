"""The codebook of compressed weights as constraints of a training: codes stay, values learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..formats.caffemodel import blob_array
from ..formats.constraints import ZERO, BlobName, Constraint
from ..formats.schema import NetParameter
from .weighted_layers import WeightedLayer


def codebook_constraints(
    model: NetParameter, layers: Sequence[WeightedLayer]
) -> dict[BlobName, Constraint]:
    """Return the constraints that keep a compressed net's size: zeros, and equal weights.

    Args:
        model: the decoded weights.
        layers: of its net; those whose weights are shared have constraints.
    """
    stored = {layer.name: layer for layer in model.layer if layer.blobs}
    found = {}
    for layer in layers:
        if not layer.is_shared:
            continue
        weights = blob_array(stored[layer.name].blobs[0]).reshape(layer.shapes[0])
        values, codes = np.unique(weights, return_inverse=True)
        # Codes count from 1 on, without the value that is zero.
        numbers = np.cumsum(values != 0)
        numbers[values == 0] = ZERO
        groups = numbers[codes.reshape(weights.shape)].astype(np.int32)
        found[BlobName(layer.name, 0)] = Constraint(groups, np.full(int(numbers.max()), np.nan))
    return found
