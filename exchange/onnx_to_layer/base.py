"""What a rule gets that makes Caffe's layers of an ONNX node, and the table of the rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from ...formats.schema import LayerParameter
from ...nets.layer_types import LAYER_TYPES, Shape
from ...nets.windows import ShapeError


class NoLayerError(ValueError):
    """A node that no layer of Caffe computes; the message says why, without the node's name."""


@dataclass(eq=False)
class Value:
    """What a layer makes, or an input of the net.

    Attributes:
        shape: with the batch of the net's inputs.
        layer: that makes it; None for an input.
        name: of the ONNX value that is equal to it, or empty.
        uses: number of nodes and outputs of the ONNX graph that read it.
        padding: what the layer that reads it has to add around it; then `shape` is that without.
    """

    shape: Shape
    layer: MadeLayer | None = None
    name: str = ""
    uses: int = 0
    padding: Padding | None = None


@dataclass(eq=False)
class MadeLayer:
    """A layer; its bottoms and tops are values, which get names later."""

    param: LayerParameter
    bottoms: list[Value]
    tops: list[Value]
    blobs: list[np.ndarray]
    stem: str = ""


@dataclass(frozen=True)
class Padding:
    """A Pad node: of which value, how much along height, width and so on, and of what."""

    source: Value
    begins: list[int]
    ends: list[int]
    filler: float


@dataclass(frozen=True)
class NodeReader:
    """A node of the graph, with its inputs.

    Attributes:
        node: the node.
        opset: version of its operator.
        inputs: a value, a constant, or None for an input that is left out.
        layers: receives the layers.
        warnings: receives what the user should know.
    """

    node: NodeProto
    opset: int
    inputs: Sequence[Value | np.ndarray | None]
    layers: list[MadeLayer]
    warnings: list[str] = field(default_factory=list)

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        for attribute in self.node.attribute:
            if attribute.name == name:
                return helper.get_attribute_value(attribute)
        return default

    def has(self, index: int) -> bool:
        """Whether an input is there."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def value(self, index: int = 0, padded: bool = False) -> Value:
        """Return an input that a layer makes; `padded` says that the rule adds a Pad before it.

        Raises:
            NoLayerError: the input is a constant, or a Pad that can't be part of this layer.
        """
        found = self.inputs[index] if self.has(index) else None
        if not isinstance(found, Value):
            raise NoLayerError(f"its input {index} is a constant, and not a layer's result")
        if found.padding is not None and not padded:
            raise NoLayerError("it reads a Pad, which Caffe has in convolutions and poolings alone")
        return found

    @staticmethod
    def unpadded(value: Value) -> Value:
        """Return what a value is without its padding."""
        return value if value.padding is None else value.padding.source

    def constant(self, index: int, what: str) -> np.ndarray:
        """Return an input that is known.

        Raises:
            NoLayerError: it is computed, or missing.
        """
        found = self.inputs[index] if self.has(index) else None
        if not isinstance(found, np.ndarray):
            raise NoLayerError(f"its {what} is computed, and Caffe wants a constant")
        return found

    def integers(self, index: int, attribute: str, default: Any = None) -> Any:
        """Return a list that is an input in later opsets, and an attribute in earlier ones."""
        if self.has(index):
            return [int(each) for each in self.constant(index, attribute).reshape(-1)]
        return self.get(attribute, default)

    def layer(
        self,
        kind: str,
        bottoms: Sequence[Value],
        blobs: Sequence[np.ndarray] = (),
        tops: int = 1,
        **params: Any,
    ) -> list[Value]:
        """Add a layer; return its tops.

        Args:
            kind: its type.
            bottoms: what it reads.
            blobs: its parameters.
            tops: how many it makes.
            params: the name of a field of LayerParameter -> a mapping of its fields, or a message.

        Raises:
            NoLayerError: Caffe would refuse the layer.
        """
        param = LayerParameter(type=kind, **{name: each for name, each in params.items() if each})
        param.top.extend(map(str, range(tops)))
        shapes = [bottom.shape for bottom in bottoms]
        try:
            made = LAYER_TYPES[kind].top_shapes(param, shapes, None)
            expected = [blob.shape for blob in LAYER_TYPES[kind].blobs(param, shapes)]
        except ShapeError as error:
            raise NoLayerError(f"Caffe's {kind} refuses it: {error}") from None
        if [blob.shape for blob in blobs] != expected:
            raise NoLayerError(f"its weights don't fit its input of shape {shapes[0]}")
        del param.top[:]
        arrays = [np.asarray(blob, "f4") for blob in blobs]
        result = MadeLayer(param, list(bottoms), [], arrays)
        result.tops = [Value(shape, result, uses=1) for shape in made]
        self.layers.append(result)
        return result.tops

    def reshape(self, value: Value, shape: Shape) -> Value:
        """Reshape a value; the first axis stays that of the batch where it is."""
        if value.shape == shape:
            return value
        if len(shape) == 2 and value.shape[:1] == shape[:1]:
            return self.layer("Flatten", [value])[0]
        dims = list(shape)
        if value.shape[:1] == shape[:1]:
            dims[0] = 0
        return self.layer("Reshape", [value], reshape_param={"shape": {"dim": dims}})[0]

    def maker(self, value: Value, *kinds: str) -> MadeLayer | None:
        """Return the layer of one of these types that makes a value for this node alone."""
        made = value.layer
        return made if made and value.uses == 1 and made.param.type in kinds else None


Rule = Callable[[NodeReader], Sequence[Value]]
RULES: dict[str, Rule] = {}


def rule(*operators: str) -> Callable[[Rule], Rule]:
    """Add a function to the table: from a node of one of `operators` to the values it makes."""

    def add(function: Rule) -> Rule:
        for name in operators:
            if name in RULES:
                raise ValueError(f"operator {name} has two rules")
            RULES[name] = function
        return function

    return add
