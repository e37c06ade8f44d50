"""Summarize a net: the shapes, parameters, multiply-accumulates and memory of each layer."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

from .definition import NetDefinition
from .layer_types import Shape
from .shapes import LayerShapes, require_shapes
from .totals import FLOAT_BYTES, Totals, batch_size, totals


class LayerSummary(NamedTuple):
    """A layer of a summary.

    Attributes:
        name, type: as in the prototxt.
        bottoms, tops: (name of the blob, shape) of each.
        parameters: learned elements.
        statistics: elements stored but not learned (BatchNorm).
        macs: multiply-accumulates for one image.
        activation_bytes: float32 bytes of the tops for the batch; 0 in place.
    """

    name: str
    type: str
    bottoms: list[tuple[str, Shape]]
    tops: list[tuple[str, Shape]]
    parameters: int
    statistics: int
    macs: int
    activation_bytes: int


class Summary(NamedTuple):
    """A net in one phase: its layers and their sums."""

    name: str
    phase: str
    layers: list[LayerSummary]
    totals: Totals

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as plain data, as `sqgen summary --json` prints it."""
        return {
            "name": self.name,
            "phase": self.phase,
            "totals": {**self.totals._asdict(), "weight_bytes": self.totals.weight_bytes},
            "layers": [
                {
                    **layer._asdict(),
                    "bottoms": {name: list(shape) for name, shape in layer.bottoms},
                    "tops": {name: list(shape) for name, shape in layer.tops},
                }
                for layer in self.layers
            ],
        }


def summary(net: NetDefinition, phase: str = "TEST", image: Shape | None = None) -> Summary:
    """Summarize a net in one phase.

    Args:
        net: the net, from `read_net`.
        phase: `TRAIN` or `TEST`.
        image: (channels, height, width) of the records, where the prototxt does not say.

    Raises:
        NetError: the shapes don't fit.
    """
    phase = phase.upper()
    shapes = require_shapes(net, phase, image)
    batch = batch_size(shapes)
    layers = [_layer(item, batch) for item in shapes.layers]
    return Summary(net.param.name, phase, layers, totals(shapes))


def _layer(item: LayerShapes, batch: int) -> LayerSummary:
    layer = item.layer
    sizes = {
        learned: sum(prod(blob.shape) for blob in item.blobs if blob.learned == learned)
        for learned in (True, False)
    }
    elements = sum(
        prod(shape)
        for name, shape in zip(layer.top, item.tops, strict=False)
        if name not in layer.bottom
    )
    return LayerSummary(
        layer.name,
        layer.type,
        list(zip(layer.bottom, item.bottoms, strict=True)),
        list(zip(layer.top, item.tops, strict=False)),
        sizes[True],
        sizes[False],
        item.macs // batch,
        elements * FLOAT_BYTES,
    )
