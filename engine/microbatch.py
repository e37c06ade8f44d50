"""Decide whether a batch can be split into micro-batches without changing the result.

Each layer must compute each record independently. Losses and accuracies may end such a net: they
run on the whole batch. For the gradients of a micro-batch, the divisor of a loss comes from the
labels of the whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from ..nets.layer_types import LAYER_TYPES
from ..nets.windows import ShapeError
from .input_batch import InputBlob
from .kernels import SOURCES
from .schedule import Step
from .wiring import WiredLayer


def can_split(layers: Sequence[WiredLayer], steps: Sequence[Step]) -> bool:
    """Decide whether a batch of the net can be split.

    Args:
        layers: all layers of the net.
        steps: its fused schedule.
    """
    inputs = [layer for layer in layers if layer.type in SOURCES]
    shapes = [shape for layer in inputs for shape in layer.top_shapes]
    if not shapes or any(not shape or shape[0] != shapes[0][0] for shape in shapes):
        return False
    input_blobs = {name for layer in inputs for name in layer.tops}
    kernels = {id(step.layer): step.kernel for step in steps}
    scores: set[str] = set()  # one value for the whole batch: no layer may read them
    for layer in layers:
        if layer.type in SOURCES:
            continue
        kernel = kernels.get(id(layer))  # None for a layer fused into another
        if scores & set(layer.bottoms) or (kernel is not None and not kernel.per_record):
            return False
        if layer.type == "Split" and set(layer.bottoms) <= input_blobs:
            input_blobs |= set(layer.tops)
        if kernel is not None and kernel.reduces:
            if any(layer.loss_weights) and layer.bottoms[1] not in input_blobs:
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
    steps: Sequence[Step], inputs: Mapping[str, InputBlob], records: int
) -> dict[str, float]:
    """Return layer name -> divisor of its loss, from the labels of the whole batch."""
    return {
        step.layer.name: step.kernel.normalizer(inputs[step.bottoms[1]].values, records)
        for step in steps
        if step.kernel.reduces and step.is_loss
    }
