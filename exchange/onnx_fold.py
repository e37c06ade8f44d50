"""Compute what an ONNX graph computes from constants alone, such as the shape of a Reshape."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from onnx import GraphProto, NodeProto, ValueInfoProto
from onnx.reference import ReferenceEvaluator

from ..errors import FormatError
from ..text import printable

# Operators on weights: the result is as large as an input.
_OF_WEIGHTS = frozenset("Cast Flatten Identity Reshape Squeeze Transpose Unsqueeze".split())
_ELEMENTWISE = frozenset("Abs Add Div Max Min Mul Neg Pow Reciprocal Sqrt Sub".split())
# Operators on shapes: of a few numbers.
_OF_SHAPES = frozenset(
    "Ceil Concat Equal Floor Gather Greater Less Mod Not ReduceProd Slice Where".split()
)
FOLDABLE = _OF_WEIGHTS | _ELEMENTWISE | _OF_SHAPES | {"ConstantOfShape"}
_FEW = 4096  # elements of a shape's operators, whose results may have their square
MAX_FOLDED = 1 << 28  # elements that a file makes of constants


def can_fold(node: NodeProto, inputs: Sequence[np.ndarray]) -> bool:
    """Decide whether a node of constants is computed: its result must be of bounded size."""
    if node.op_type == "ConstantOfShape":
        shape = inputs[0].reshape(-1).tolist() if inputs else [-1]
        return all(axis >= 0 for axis in shape) and prod(shape) <= MAX_FOLDED
    if node.op_type in _OF_WEIGHTS:
        return True
    few = sum(array.size for array in inputs) <= _FEW
    if node.op_type in _ELEMENTWISE:
        shapes = {array.shape for array in inputs if array.size > 1}
        return few or len(shapes) <= 1
    return few and node.op_type in FOLDABLE


def fold(node: NodeProto, inputs: dict[str, np.ndarray], opset: int, where: str) -> np.ndarray:
    """Return the first output of a node of constants.

    Raises:
        FormatError: the node is invalid.
    """
    graph = GraphProto(
        name="constant",
        node=[node],
        input=[ValueInfoProto(name=name) for name in inputs],
        output=[ValueInfoProto(name=node.output[0])],
    )
    try:
        with np.errstate(all="ignore"):
            made = ReferenceEvaluator(graph, opsets={"": opset}).run(None, inputs)
    except Exception as error:  # whatever an operator's code raises for a wrong node
        raise FormatError(f"{where}: can't be computed: {printable(str(error))}") from None
    return np.asarray(made[0])
