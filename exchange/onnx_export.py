"""Write a deploy net and its weights as an ONNX model.

Every blob keeps its name; where layers work in place, it is that of the last value. A node has the
name of its layer, and the other nodes of that layer one that begins so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, checker, helper
from onnx.defs import onnx_opset_version

from ..errors import NetError
from ..formats.files import BINARY_LIMIT
from ..formats.schema import LayerParameter, NetParameter
from ..nets.definition import NetDefinition
from ..nets.graph import Graph, Node, Top
from ..nets.shapes import LayerShapes, NetShapes, infer_shapes, require_shapes
from ..text import printable
from ..version import __version__
from ..weights.net_arrays import Arrays
from .layer_to_onnx import RULES, LayerWriter, NoOperatorError
from .onnx_graph import GraphBuilder
from .onnx_preprocessing import Preprocessing
from .unique_names import UniqueNames

OLDEST_OPSET = 13
BATCH = "batch"  # the symbolic dimension
PRODUCER = "sqgen"
TOO_LARGE = "its weights are larger than the 2 GiB that protobuf can write"
OVERWRITTEN = re.compile(r".*/output(_\d+)?")  # a value that a layer works in place on


def newest_opset() -> int:
    """Return the newest version of the operators that the onnx package has."""
    return int(onnx_opset_version())


def onnx_model(
    net: NetDefinition,
    arrays: Arrays,
    opset: int = OLDEST_OPSET,
    metadata: Mapping[str, str] | None = None,
    preprocessing: Preprocessing | None = None,
) -> ModelProto:
    """Return a net as an ONNX model, checked by onnx's checker.

    The batch is a symbolic dimension where the net takes any.

    Args:
        net: a deploy net.
        arrays: name of a layer -> its parameter blobs.
        opset: version of the operators.
        metadata: `metadata_props` of the model.
        preprocessing: operators in front of a net with one input.

    Raises:
        NetError: ONNX has no operators for a layer, with its file:line, or the weights are too
            large for a file.
    """
    if sum(blob.size for blobs in arrays.values() for blob in blobs) * 4 > BINARY_LIMIT:
        raise NetError(f"{printable(net.source)}: {TOO_LARGE}")
    writer = _NetWriter(net, opset, preprocessing)
    for node, item in zip(writer.graph.nodes, writer.shapes.layers, strict=True):
        if node.layer.type == "Input":
            writer.write_inputs(node)
        else:
            writer.write_layer(node, item, arrays.get(node.layer.name, ()))
    model = writer.model(metadata or {})
    checker.check_model(model, full_check=True)
    return model


class _NetWriter:
    """Writes the layers of a net one by one.

    Attributes:
        shapes, graph: of the net.
        free_batch: whether the model takes batches of any size.
    """

    def __init__(self, net: NetDefinition, opset: int, preprocessing: Preprocessing | None) -> None:
        self.shapes = require_shapes(net, "TEST")
        self.graph = self.shapes.graph
        self.free_batch = has_free_batch(net, self.shapes)
        self._net = net
        self._preprocessing = preprocessing
        self._names = _value_names(self.graph)
        self._builder = GraphBuilder(opset, self._names.values())
        self._values: dict[Top, str] = {}
        self._inputs: list[ValueInfoProto] = []

    def write_inputs(self, node: Node[LayerParameter]) -> None:
        """Make the tops of an Input layer inputs of the graph."""
        for top in _tops(node):
            name = self._values[top] = self._names[top]
            dims = self._dims(name)
            if self._preprocessing is None:
                info = helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
            else:
                info = self._preprocessing.value_info(name, dims)
                self._values[top] = self._preprocessing.write(self._builder, name)
            self._inputs.append(info)

    def write_layer(
        self, node: Node[LayerParameter], item: LayerShapes, blobs: Sequence[np.ndarray]
    ) -> None:
        """Add the nodes of a layer; the last has its name, and its values those of its tops."""
        builder, layer = self._builder, node.layer
        writer = LayerWriter(
            layer,
            [self._values[source] for source in node.sources if source is not None],
            item.bottoms,
            item.tops,
            [np.asarray(blob, "f4") for blob in blobs],
            builder,
            self.free_batch,
        )
        first = len(builder.nodes)
        made = self._apply_rule(writer)
        if len(builder.nodes) > first:
            builder.rename_last_node(layer.name)
        for top, value in zip(_tops(node), made, strict=True):
            name = self._names[top]
            self._values[top] = name if builder.rename_value(first, value, name) else value

    def _apply_rule(self, writer: LayerWriter) -> Sequence[str]:
        layer = writer.layer
        where = f"{self._net.place(layer)}: layer '{printable(layer.name)}'"
        if layer.type not in RULES:
            raise NetError(f"{where}: ONNX has no operators for {layer.type}; take the layer out")
        try:
            return RULES[layer.type](writer)
        except NoOperatorError as error:
            raise NetError(f"{where}: ONNX can't express it: {error}") from None

    def model(self, metadata: Mapping[str, str]) -> ModelProto:
        """Return the model of what was written."""
        outputs = []
        for top in self.graph.outputs:
            name = self.graph.name(top)
            if self._values[top] != name:  # of a layer that passes its bottom on
                self._builder.node(f"{name}/Identity", "Identity", [self._values[top]], [name], {})
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, self._dims(name)))
        opsets = [helper.make_opsetid("", self._builder.opset)]
        model = helper.make_model(
            self._builder.graph(self._net.param.name or "net", self._inputs, outputs),
            producer_name=PRODUCER,
            producer_version=__version__,
            opset_imports=opsets,
            ir_version=helper.find_min_ir_version_for(opsets),
        )
        helper.set_model_props(model, dict(metadata))
        return model

    def _dims(self, blob: str) -> list[int | str]:
        dims: list[int | str] = list(self.shapes.blobs[blob])
        return [BATCH, *dims[1:]] if self.free_batch and dims else dims


def _tops(node: Node[LayerParameter]) -> list[Top]:
    return [Top(node.index, position) for position in range(len(node.tops))]


def _value_names(graph: Graph[LayerParameter]) -> dict[Top, str]:
    """Name each version of a blob: the last as the blob, the others after their layers."""
    last = {top: name for name, tops in graph.makers.items() for top in tops[-1:]}
    unique = UniqueNames(last.values())
    names: dict[Top, str] = {}
    for node in graph.nodes:
        for top in _tops(node):
            names[top] = last.get(top) or unique.make(f"{node.layer.name}/output")
    return names


def has_free_batch(net: NetDefinition, shapes: NetShapes) -> bool:
    """Decide whether a net takes batches of any size: axis 0 of every blob is the batch."""
    for batch in (2, 3):
        param = NetParameter()
        param.CopyFrom(net.param)
        for layer in param.layer:
            for shape in layer.input_param.shape:
                if shape.dim:
                    shape.dim[0] = batch
        other = infer_shapes(NetDefinition(param), "TEST")
        if other.problems or not all(
            _differ_in_batch(item, there, batch)
            for item, there in zip(shapes.layers, other.layers, strict=True)
        ):
            return False
    return True


def _differ_in_batch(here: LayerShapes, there: LayerShapes, batch: int) -> bool:
    if here.blobs != there.blobs:
        return False
    if here.layer.type == "Parameter":
        return True
    return all(
        shape[:1] == (batch,) and shape[1:] == other[1:]
        for other, shape in zip(here.tops, there.tops, strict=True)
    )


def blob_values(model: ModelProto, net: NetDefinition) -> dict[str, str]:
    """Return the blobs of a net that a model written of it has, each as the value of its name."""
    made = {name for node in model.graph.node for name in node.output}
    made.update(value.name for value in model.graph.input)
    blobs = (name for layer in net.param.layer for name in layer.top)
    return {name: name for name in blobs if name in made}


def encode_onnx(model: ModelProto) -> bytes:
    """Return the bytes of a model, the same for the same net."""
    return bytes(model.SerializeToString(deterministic=True))
