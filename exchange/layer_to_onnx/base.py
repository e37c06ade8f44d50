"""What a rule gets that writes a layer as ONNX operators, and the table of the rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...formats.schema import LayerParameter
from ...nets.layer_types import Shape
from ..onnx_graph import GraphBuilder


class NoOperatorError(ValueError):
    """A layer that ONNX can't express; the message says why, without the layer's name."""


@dataclass(frozen=True)
class LayerWriter:
    """A layer, and the graph that its operators are added to.

    Attributes:
        layer: its parameters.
        inputs: the values that it reads, a name per bottom.
        bottoms, tops: shapes; axis 0 of each is the batch where `free_batch` is set.
        blobs: its parameter blobs in float32.
        graph: where nodes go.
        free_batch: whether the graph is for any size of the batch.
    """

    layer: LayerParameter
    inputs: Sequence[str]
    bottoms: Sequence[Shape]
    tops: Sequence[Shape]
    blobs: Sequence[np.ndarray]
    graph: GraphBuilder
    free_batch: bool

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output; return the output's name."""
        return self.nodes(operator, inputs, 1, **attributes)[0]

    def nodes(
        self, operator: str, inputs: Sequence[str], outputs: int, **attributes: Any
    ) -> list[str]:
        """Add a node with several outputs; return their names."""
        stem = f"{self.layer.name}/{operator}"
        names = [self.graph.value(f"{stem}_output") for _ in range(outputs)]
        self.graph.node(stem, operator, inputs, names, attributes)
        return names

    def weights(self, suffix: str, array: np.ndarray) -> str:
        """Add a constant of float32, named after the layer."""
        return self.graph.initializer(f"{self.layer.name}.{suffix}", array.astype("f4", copy=False))

    def scalar(self, suffix: str, value: float) -> str:
        """Add a number, named after the layer."""
        return self.weights(suffix, np.array(value, "f4"))

    def integers(self, suffix: str, values: Sequence[int]) -> str:
        """Add a list of int64, named after the layer."""
        return self.graph.initializer(f"{self.layer.name}.{suffix}", np.array(values, "i8"))

    def reshape(self, value: str, before: Shape, after: Shape) -> str:
        """Reshape a value, whatever the size of its batch."""
        if before == after:
            return value
        dims = list(after)
        if self.free_batch and dims:
            dims[0] = 0 if before and before[0] == after[0] else -1
        return self.node("Reshape", value, self.integers("shape", dims))

    def affine(self, value: str, scale: float, shift: float) -> str:
        """Return scale * value + shift, without what does nothing."""
        if scale != 1:
            value = self.node("Mul", value, self.scalar("scale", scale))
        if shift != 0:
            value = self.node("Add", value, self.scalar("shift", shift))
        return value

    def reduce(self, operator: str, value: str, axes: Sequence[int], keep: bool = False) -> str:
        """Reduce axes, which stay with size 1 or go."""
        inputs, attributes = [value], {"keepdims": int(keep)}
        # The axes became an input of ReduceSum in opset 13, of the others in 18.
        if self.graph.opset < 18 and operator != "ReduceSum":
            return self.node(operator, *inputs, axes=list(axes), **attributes)
        return self.node(operator, *inputs, self.integers("axes", axes), **attributes)


Rule = Callable[[LayerWriter], Sequence[str]]
RULES: dict[str, Rule] = {}


def rule(*types: str) -> Callable[[Rule], Rule]:
    """Add a function to the table: from a layer of one of `types` to the values of its tops."""

    def add(function: Rule) -> Rule:
        for name in types:
            if name in RULES:
                raise ValueError(f"layer type {name} has two rules")
            RULES[name] = function
        return function

    return add
