"""An ONNX graph while it is built: nodes and initializers under unique names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from .unique_names import UniqueNames


class GraphBuilder:
    """Collects the nodes and initializers of a graph.

    Attributes:
        opset: version of the operators, 13 or later.
        nodes: in order.
    """

    def __init__(self, opset: int, reserved: Iterable[str] = ()) -> None:
        self.opset = opset
        self.nodes: list[NodeProto] = []
        self._initializers: list[TensorProto] = []
        self._values = UniqueNames(reserved)
        self._names = UniqueNames()

    def value(self, name: str) -> str:
        """Return a name for a value: `name`, with a number where that is taken."""
        return self._values.make(name)

    def node(
        self,
        name: str,
        operator: str,
        inputs: Iterable[str],
        outputs: Iterable[str],
        attributes: dict[str, Any],
    ) -> None:
        """Add a node; its name gets a number where it is taken."""
        name = self._names.make(name)
        self.nodes.append(helper.make_node(operator, inputs, outputs, name, **attributes))

    def initializer(self, name: str, array: np.ndarray) -> str:
        """Add a constant; return its name, with a number where that is taken."""
        name = self.value(name)
        self._initializers.append(numpy_helper.from_array(array, name))
        return name

    def rename_value(self, first: int, old: str, new: str) -> bool:
        """Rename a value that a node from number `first` on makes; return whether one does."""
        nodes = self.nodes[first:]
        if not any(old in node.output for node in nodes):
            return False
        for node in nodes:
            node.input[:] = [new if name == old else name for name in node.input]
            node.output[:] = [new if name == old else name for name in node.output]
        return True

    def rename_last_node(self, name: str) -> None:
        """Give the last node a name of its own."""
        self.nodes[-1].name = self._names.make(name)

    def graph(
        self, name: str, inputs: list[ValueInfoProto], outputs: list[ValueInfoProto]
    ) -> GraphProto:
        """Return the graph."""
        return helper.make_graph(self.nodes, name, inputs, outputs, self._initializers)
