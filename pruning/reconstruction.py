"""Reconstruct what a pruned net's filters compute, by least squares over images.

A layer that has lost channels of its input gets new weights: those with which it comes nearest to
what it computed of all of them (He et al., arXiv:1707.06168; AMC, arXiv:1802.03494, does so, too).
The sums of the layer's input say all that this takes: with X'X, no image is needed again, and a
choice of channels costs a solution of equations with as many unknowns as a filter has weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ..weights.channel_order import Order
from ..weights.net_arrays import Arrays
from .channel_groups import ChannelGroups, WiredLayer
from .shrink import Shrinking

if TYPE_CHECKING:
    from ..engine.input_sums import InputSums

RIDGE = 1e-3  # of the mean square of the inputs
_PHASE = "TEST"


def reconstructible(groups: ChannelGroups) -> list[WiredLayer]:
    """Return the layers whose weights a reconstruction can change.

    Those are convolutions without groups and inner products that share no parameters.
    """
    return [
        wired
        for wired in groups.wired[_PHASE]
        if wired.filters.size
        and wired.conv_groups == 1
        and len(wired.bottoms) == 1
        and not any(spec.name for spec in wired.item.layer.param)
    ]


def reconstruct(
    groups: ChannelGroups, shrinking: Shrinking, arrays: Arrays, sums: Mapping[str, InputSums]
) -> dict[str, list[np.ndarray]]:
    """Return the reconstructed weights and biases of layers of the shrunk net.

    Args:
        groups: of the whole net.
        shrinking: which channels go.
        arrays: weights of the whole net.
        sums: name of a layer -> the sums of its input.
    """
    solved = {}
    for wired in reconstructible(groups):
        kept = shrinking.kept(wired.bottoms[0])
        if wired.name in sums and len(kept) < len(wired.bottoms[0]):
            rows = shrinking.kept(wired.filters)
            solved[wired.name] = _solve(wired, arrays[wired.name], kept, rows, sums[wired.name])
    return solved


def _solve(
    wired: WiredLayer,
    blobs: Sequence[np.ndarray],
    kept: Order,
    filters: Order,
    sums: InputSums,
) -> list[np.ndarray]:
    """Return the weights and biases of `filters` that read `kept` channels only.

    They are those of the whole net, and what of the removed channels the kept ones and a constant
    can tell.
    """
    layer = wired.item.layer
    turned = layer.type == "InnerProduct" and layer.inner_product_param.transpose
    weights = np.asarray(blobs[0].T if turned else blobs[0], dtype=np.float64)[filters]
    each = prod(weights.shape[1:]) // len(wired.bottoms[0])
    columns = (kept[:, None] * each + np.arange(each)).reshape(-1)
    removed = np.setdiff1d(np.arange(len(wired.bottoms[0]) * each), columns)
    flat = weights.reshape(len(weights), -1)
    has_bias = len(blobs) > 1
    known = [*columns, *([flat.shape[1]] if has_bias else [])]
    products = sums.products
    normal = products[np.ix_(known, known)].copy()
    ridge = RIDGE * float(np.mean(np.diag(products)[:-1])) or 1.0  # all zero: nothing to fit
    normal[np.arange(len(columns)), np.arange(len(columns))] += ridge
    told = products[np.ix_(known, removed)] @ flat[:, removed].T
    more = np.linalg.solve(normal, told).T
    fitted = flat[:, columns] + more[:, : len(columns)]
    new = (
        fitted if weights.ndim == 2 else fitted.reshape(len(weights), len(kept), *weights.shape[2:])
    )
    result = [np.ascontiguousarray(new.T if turned else new).astype(np.float32)]
    if has_bias:
        bias = blobs[1].reshape(-1)[filters].astype(np.float64) + more[:, -1]
        result.append(bias.astype(np.float32))
    return result
