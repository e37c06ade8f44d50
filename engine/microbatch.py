"""Whether a batch may be cut: whether a net does with a part of it what it does with the whole.

Each layer must compute each record alone. Losses and accuracies may end such a net: they are given
the whole batch, and the divisor of a loss, for gradients of a part, is known from the labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from ..nets.layer_types import LAYER_TYPES
from ..nets.windows import ShapeError
from .input_batch import InputBatch
from .kernels import SOURCES
from .schedule import Step
from .wiring import WiredLayer


def is_separable(layers: Sequence[WiredLayer], steps: Sequence[Step]) -> bool:
    """Whether a batch of the net may be cut."""
    sources = [layer for layer in layers if layer.type in SOURCES]
    shapes = [shape for layer in sources for shape in layer.top_shapes]
    if not shapes or any(not shape or shape[0] != shapes[0][0] for shape in shapes):
        return False
    fed = {name for layer in sources for name in layer.tops}
    kernels = {id(step.kernel.layer): step.kernel for step in steps}
    ends: set[str] = set()  # scores of the whole batch, which no layer may read
    for layer in layers:
        if layer.type in SOURCES:
            continue
        kernel = kernels.get(id(layer))  # none where it was merged into another
        if ends & set(layer.bottoms) or (kernel is not None and not kernel.per_record):
            return False
        if layer.type == "Split" and set(layer.bottoms) <= fed:
            fed |= set(layer.tops)
        if kernel is not None and kernel.reduces:
            if any(layer.loss_weights) and layer.bottoms[1] not in fed:
                return False
            ends |= set(layer.tops)
        elif not _by_record(layer, shapes[0][0]):
            return False
    return True


def _by_record(layer: WiredLayer, records: int) -> bool:
    """Whether the shape rule makes of one record what it makes of each of many."""
    if any(not shape or shape[0] != records for shape in layer.bottom_shapes):
        return False
    one = [(1, *shape[1:]) for shape in layer.bottom_shapes]
    try:
        tops = LAYER_TYPES[layer.type].top_shapes(layer.param, one, None)
    except ShapeError:
        return False
    expected = [(1, *shape[1:]) for shape in layer.top_shapes]
    return tops == expected and all(shape[0] == records for shape in layer.top_shapes)


def largest_blob(layers: Sequence[WiredLayer]) -> int:
    """Elements of the largest blob of one record."""
    sizes = [prod(s) // s[0] for layer in layers for s in layer.top_shapes if s and s[0]]
    return max(sizes, default=1)


def normalizers_of(
    steps: Sequence[Step], feeds: Mapping[str, InputBatch], records: int
) -> dict[str, float]:
    """The divisor of each loss by its layer's name, from the labels of the whole batch."""
    return {
        step.kernel.layer.name: step.kernel.normalizer(feeds[step.bottoms[1]].values, records)
        for step in steps
        if step.kernel.reduces and any(step.weights)
    }
