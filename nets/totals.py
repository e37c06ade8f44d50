"""Total parameters, multiply-accumulates and bytes of a net."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from .shapes import NetShapes

FLOAT_BYTES = 4


class Totals(NamedTuple):
    """Sums over a net of one phase.

    Attributes:
        parameters: learned elements; a blob shared by name counts once.
        statistics: elements stored but not learned (BatchNorm).
        macs: multiply-accumulates of convolutions and inner products for one image.
        activation_bytes: float32 bytes of all blobs for the batch; layers in place add none.
        batch: images in the batch.
    """

    parameters: int
    statistics: int
    macs: int
    activation_bytes: int
    batch: int

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights in float32: about the size of a caffemodel."""
        return (self.parameters + self.statistics) * FLOAT_BYTES


def totals(shapes: NetShapes) -> Totals:
    """Sum up a net."""
    shared: set[str] = set()
    sizes = {True: 0, False: 0}
    for item in shapes.layers:
        names = [spec.name for spec in item.layer.param]
        for index, blob in enumerate(item.blobs):
            name = names[index] if index < len(names) else ""
            if not name or name not in shared:
                sizes[blob.learned] += prod(blob.shape)
            shared.add(name)
    batch = batch_size(shapes)
    macs = sum(item.macs for item in shapes.layers)
    elements = sum(prod(shape) for shape in shapes.blobs.values())
    return Totals(sizes[True], sizes[False], macs // batch, elements * FLOAT_BYTES, batch)


def batch_size(shapes: NetShapes) -> int:
    """Return the first axis of what the first layer with MACs reads, or else of the first top."""
    multiplying = [item.bottoms[0] for item in shapes.layers if item.macs and item.bottoms[0]]
    tops = [item.tops[0] for item in shapes.layers if item.tops and item.tops[0]]
    return next((shape[0] for shape in (*multiplying, *tops)), 1)
