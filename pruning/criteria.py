"""Which channels matter: a score for each group, by criterion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod

import numpy as np

from ..errors import DesignError
from ..text import did_you_mean, printable
from ..weights.net_arrays import Arrays
from .channel_groups import ChannelGroups, WiredLayer

INPUTS, FILTERS, RANDOM = BY_WEIGHTS = ("l1-inputs", "l1-filters", "random")
TAYLOR, FISHER = BY_GRADIENTS = ("taylor", "fisher")
CRITERIA = BY_WEIGHTS + BY_GRADIENTS


def check_criterion(criterion: str, has_images: bool) -> None:
    """Check a criterion.

    Raises:
        DesignError: there is no such, or it needs images.
    """
    shown = f"--criterion {printable(criterion)}"
    if criterion not in CRITERIA:
        hint = did_you_mean(criterion, CRITERIA)
        raise DesignError(f"{shown}: one of {', '.join(CRITERIA)}{hint}")
    if criterion in BY_GRADIENTS and not has_images:
        raise DesignError(f"{shown}: needs images for its gradients: give --data")


def score_groups(
    criterion: str, groups: ChannelGroups, arrays: Arrays, seed: int = 0
) -> dict[int, float]:
    """Return root -> how much a group matters, by weights.

    `l1-inputs` sums |W| of the weights that read its channels (AMC, arXiv:1802.03494, its code's
    `prune_kernel`), `l1-filters` of the filters that make them (Li et al., arXiv:1608.08710).

    Args:
        criterion: one of `BY_WEIGHTS`.
        groups: of the net.
        arrays: its weights.
        seed: of `random`.

    Raises:
        DesignError: there is no such criterion, or it needs images.
    """
    check_criterion(criterion, has_images=False)
    if criterion == RANDOM:
        random = np.random.default_rng(seed)
        return dict(zip(groups.groups, random.uniform(size=len(groups.groups)), strict=True))
    scores = dict.fromkeys(groups.groups, 0.0)
    for wired, weights in weighted_layers(groups, arrays):
        if criterion == FILTERS:
            channels, sums = wired.filters, np.abs(weights).reshape(len(weights), -1).sum(1)
        else:
            channels, sums = wired.bottoms[0], reading_sums(wired, weights)
        for root, value in zip(groups.roots(channels).tolist(), sums.tolist(), strict=True):
            if root in scores:
                scores[root] += value
    return scores


def score_by_gradients(
    criterion: str, groups: ChannelGroups, gates: Mapping[str, np.ndarray]
) -> dict[int, float]:
    """Return root -> how much a group matters, by gradients.

    With g the gradient of an image's loss by a factor on all channels of the group, `taylor` is the
    mean of |g| over images (Molchanov et al., arXiv:1611.06440), `fisher` the mean of g^2 / 2
    (Theis et al., arXiv:1801.05787). A factor on channels that go together is one: their gradients
    are summed first.

    Args:
        criterion: one of `BY_GRADIENTS`.
        groups: of the net.
        gates: layer -> gradients by factors on its filters, (images, filters).
    """
    images = max(map(len, gates.values()), default=1)  # none: no filter changes the output
    sums = {root: np.zeros(images) for root in groups.groups}
    for root, group in groups.groups.items():
        for layer, index in group.channels:
            if layer in gates:
                sums[root] += gates[layer][:, index]
    if criterion == TAYLOR:
        return {root: float(np.abs(values).mean()) for root, values in sums.items()}
    return {root: float((values * values).mean() / 2) for root, values in sums.items()}


def weighted_layers(
    groups: ChannelGroups, arrays: Arrays
) -> Iterator[tuple[WiredLayer, np.ndarray]]:
    """Yield each layer of filters once, with its weights in float64: (out, in, ...)."""
    seen: set[str] = set()
    for wired in groups.layers():
        if wired.filters.size and wired.name in arrays and wired.name not in seen:
            seen.add(wired.name)
            yield wired, filter_rows(wired, np.asarray(arrays[wired.name][0], dtype=np.float64))


def filter_rows(wired: WiredLayer, weights: np.ndarray) -> np.ndarray:
    """Return the weights of a layer of filters with a row for each filter."""
    layer = wired.item.layer
    is_transposed = layer.type == "InnerProduct" and layer.inner_product_param.transpose
    return weights.T if is_transposed else weights


def reading_sums(wired: WiredLayer, rows: np.ndarray) -> np.ndarray:
    """Return the sum of |W| by which a layer reads each channel of its bottom."""
    sums: np.ndarray = column_sums(wired, np.abs(rows)).sum(0)
    return sums


def column_sums(wired: WiredLayer, rows: np.ndarray) -> np.ndarray:
    """Sum the weights of each filter and channel: (filters, channels of the bottom).

    A filter of a convolution in groups reads the channels of its own group; all others are 0.
    """
    channels = len(wired.bottoms[0])
    if wired.item.layer.type == "InnerProduct":
        inner = prod(wired.item.bottoms[0][2:])
        whole: np.ndarray = rows.reshape(len(rows), channels, inner).sum(2)
        return whole
    sums: np.ndarray = rows.reshape(len(rows), rows.shape[1], -1).sum(2)
    if wired.conv_groups == 1:
        return sums
    spread = np.zeros((len(rows), channels))
    outputs, inputs = len(rows) // wired.conv_groups, rows.shape[1]
    for number in range(wired.conv_groups):
        own = slice(number * outputs, (number + 1) * outputs)
        spread[own, number * inputs : (number + 1) * inputs] = sums[own]
    return spread
