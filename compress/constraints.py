"""What compression fixes, as constraints of a training: zeros stay, weights share their values."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from ..errors import NetError
from ..formats.caffemodel import blob_array
from ..formats.constraints import FREE, ZERO, BlobName, Constraint
from ..formats.schema import NetParameter
from .prune import DensityRule, find_density, prune
from .weighted_layers import WeightedLayer


def prune_constraints(
    model: NetParameter, layers: Sequence[WeightedLayer], rules: Sequence[DensityRule]
) -> dict[BlobName, Constraint]:
    """Return the masks of a training of pruned weights: the largest of each layer are free.

    Args:
        model: the weights before pruning.
        layers: of its net; those that a rule names, and whose weights are shared, are pruned.
        rules: densities.

    Raises:
        NetError: a layer would be left without weights.
    """
    stored = {layer.name: layer for layer in model.layer if layer.blobs}
    found = {}
    for layer in layers:
        density = find_density(layer.name, rules)
        if not layer.is_shared or density is None:
            continue
        weights = prune(blob_array(stored[layer.name].blobs[0]), density).reshape(layer.shapes[0])
        if not weights.any():
            raise NetError(f"{layer.shown}: a density of {density:g} leaves none of its weights")
        codes = np.where(weights != 0, FREE, ZERO).astype(np.int32)
        found[BlobName(layer.name, 0)] = Constraint(codes, np.zeros(0))
    return found


def codes_digest(layers: Sequence[WeightedLayer], blobs: Sequence[Sequence[np.ndarray]]) -> bytes:
    """Return a digest of which weights are zero and which are equal, whatever their values.

    Args:
        layers: of the net; those whose weights are shared count.
        blobs: decoded, of each layer.
    """
    digest = sha256()
    for layer, (weights, *_) in zip(layers, blobs, strict=True):
        if layer.is_shared:
            values, first, codes = np.unique(weights, return_index=True, return_inverse=True)
            # A group goes by the place of its first member.
            places = np.where(values == 0, -1, first)
            digest.update(places[codes.reshape(-1)].astype("<i8").tobytes())
    return digest.digest()


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
