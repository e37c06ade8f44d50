"""Summarize a net: the shapes, parameters, multiply-accumulates and memory of each layer.

A layer whose type is unknown has no costs, and what depends on it no shapes; totals leave them out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from math import prod
from typing import Any, NamedTuple

from ..formats.schema import LayerParameter
from .definition import NetDefinition
from .layer_types import Shape
from .shapes import UNKNOWN_LAYERS, LayerShapes, NetShapes, Problem, require_shapes
from .totals import FLOAT_BYTES, Totals, batch_size, totals


class LayerSummary(NamedTuple):
    """A layer of a summary.

    Attributes:
        name, type: as in the prototxt.
        bottoms, tops: (name of the blob, shape) of each; None is an unknown shape.
        parameters: learned elements; None where they are unknown, and so below.
        statistics: elements stored but not learned (BatchNorm).
        macs: multiply-accumulates for one image.
        activation_bytes: float32 bytes of the tops for the batch; 0 in place.
    """

    name: str
    type: str
    bottoms: list[tuple[str, Shape | None]]
    tops: list[tuple[str, Shape | None]]
    parameters: int | None
    statistics: int | None
    macs: int | None
    activation_bytes: int | None

    @property
    def is_known(self) -> bool:
        """Whether its costs are known."""
        return self.parameters is not None


class Summary(NamedTuple):
    """A net in one phase.

    Attributes:
        name: of the net.
        phase: `TRAIN` or `TEST`.
        layers: all layers in order.
        totals: sums over the layers whose costs are known.
        warnings: on layers whose types are unknown, a line each type.
    """

    name: str
    phase: str
    layers: list[LayerSummary]
    totals: Totals
    warnings: list[str]

    @property
    def unknown(self) -> list[str]:
        """The names of the layers whose costs are unknown; totals are exact where there is none."""
        return [layer.name for layer in self.layers if not layer.is_known]

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as plain data, as `sqgen summary --json` prints it."""
        return {
            "name": self.name,
            "phase": self.phase,
            "unknown": self.unknown,
            "totals": {**self.totals._asdict(), "weight_bytes": self.totals.weight_bytes},
            "layers": [
                {
                    **layer._asdict(),
                    "bottoms": _plain(layer.bottoms),
                    "tops": _plain(layer.tops),
                }
                for layer in self.layers
            ],
        }


def _plain(blobs: Iterable[tuple[str, Shape | None]]) -> dict[str, list[int] | None]:
    return {name: None if shape is None else list(shape) for name, shape in blobs}


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
    return summarize_shapes(net, phase, require_shapes(net, phase, image, UNKNOWN_LAYERS))


def summarize_shapes(net: NetDefinition, phase: str, shapes: NetShapes) -> Summary:
    """Summarize a net from shapes, where those that aren't known cost nothing.

    Args:
        net: the net.
        phase: `TRAIN` or `TEST`.
        shapes: of this net in this phase.
    """
    batch = batch_size(shapes)
    known = {id(item.layer): item for item in shapes.layers}
    layers = [
        _layer(known[id(layer)], batch) if id(layer) in known else _unknown(layer, shapes.blobs)
        for layer in (node.layer for node in shapes.graph.nodes)
    ]
    return Summary(net.param.name, phase, layers, totals(shapes), _warnings(net, shapes.problems))


def _warnings(net: NetDefinition, problems: Iterable[Problem]) -> list[str]:
    """Return a line for each unknown type: its first layer, and how many more there are."""
    first: dict[str, Problem] = {}
    counts: Counter[str] = Counter()
    for problem in problems:
        first.setdefault(problem.layer.type, problem)
        counts[problem.layer.type] += 1
    return [
        f"{net.place(problem.layer)}: {problem.message}"
        + (f" ({counts[kind] - 1} more of this type)" if counts[kind] > 1 else "")
        for kind, problem in first.items()
    ]


def _unknown(layer: LayerParameter, blobs: Mapping[str, Shape]) -> LayerSummary:
    bottoms = [(name, blobs.get(name)) for name in layer.bottom]
    tops = [(name, blobs.get(name)) for name in layer.top]
    return LayerSummary(layer.name, layer.type, bottoms, tops, None, None, None, None)


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
