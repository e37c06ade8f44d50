"""Decide whether a batch can be split into micro-batches without changing the result.

Each layer must compute each record independently. Losses and accuracies may end such a net: they
run on the whole batch. For the gradients of a micro-batch, the divisor of a loss comes from the
labels of the whole batch.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from math import prod

import torch

from ..nets.layer_types import LAYER_TYPES
from ..nets.windows import ShapeError
from .input_batch import InputBlob
from .kernels import SOURCES
from .schedule import Step
from .wiring import WiredLayer


def loss_labels(layers: Sequence[WiredLayer]) -> dict[int, str]:
    """Return the number of each loss layer -> the top of a data layer that holds its labels.

    Splits may pass the labels on. A loss whose labels other layers compute is missing.
    """
    labels: dict[int, str] = {}
    data_tops: dict[str, str] = {}  # blob -> the top of a data layer that it equals
    for number, layer in enumerate(layers):
        source = data_tops.get(layer.bottoms[0]) if layer.type == "Split" else None
        if any(layer.loss_weights) and len(layer.bottoms) > 1 and layer.bottoms[1] in data_tops:
            labels[number] = data_tops[layer.bottoms[1]]
        for name in layer.tops:
            data_tops.pop(name, None)
            if layer.type in SOURCES or source is not None:
                data_tops[name] = source or name
    return labels


def can_split(layers: Sequence[WiredLayer], steps: Sequence[Step], labels: Container[int]) -> bool:
    """Decide whether a batch of the net can be split.

    Args:
        layers: all layers of the net.
        steps: its fused schedule.
        labels: numbers of the losses in `loss_labels`.
    """
    inputs = [layer for layer in layers if layer.type in SOURCES]
    shapes = [shape for layer in inputs for shape in layer.top_shapes]
    if not shapes or any(not shape or shape[0] != shapes[0][0] for shape in shapes):
        return False
    kernels = {id(step.layer): step.kernel for step in steps}
    scores: set[str] = set()  # one value for the whole batch: no layer may read them
    for number, layer in enumerate(layers):
        if layer.type in SOURCES:
            continue
        kernel = kernels.get(id(layer))  # None for a layer fused into another
        if scores & set(layer.bottoms) or (kernel is not None and not kernel.per_record):
            return False
        if kernel is not None and kernel.reduces:
            if any(layer.loss_weights) and number not in labels:
                return False
            scores |= set(layer.tops)
        elif not _is_per_record(layer, shapes[0][0]):
            return False
    return True


def _is_per_record(layer: WiredLayer, records: int) -> bool:
    """Decide whether the layer's shapes for one record are those of the batch, batch size aside."""
    if any(not shape or shape[0] != records for shape in layer.bottom_shapes):
        return False
    single = [(1, *shape[1:]) for shape in layer.bottom_shapes]
    try:
        tops = LAYER_TYPES[layer.type].top_shapes(layer.param, single, None)
    except ShapeError:
        return False
    expected = [(1, *shape[1:]) for shape in layer.top_shapes]
    return tops == expected and all(shape[0] == records for shape in layer.top_shapes)


def largest_blob(layers: Sequence[WiredLayer]) -> int:
    """Return the number of elements of the largest blob of one record."""
    sizes = [prod(s) // s[0] for layer in layers for s in layer.top_shapes if s and s[0]]
    return max(sizes, default=1)


def loss_normalizers(
    steps: Sequence[Step],
    labels: Mapping[int, str],
    inputs: Mapping[str, InputBlob],
    records: int,
    dtype: torch.dtype,
) -> dict[int, float]:
    """Return the number of each loss layer -> its divisor, from the labels of the whole batch.

    Args:
        steps: the schedule.
        labels: from `loss_labels`.
        inputs: the tops of the data layers.
        records: in the batch.
        dtype: of the inputs.
    """
    divisors = {}
    for step in steps:
        if step.kernel.reduces and step.is_loss:
            index = step.kernel.index
            values = inputs[labels[index]].slice_records(0, records, dtype, torch.device("cpu"))
            divisors[index] = step.kernel.normalizer(values, records)
    return divisors
