"""Make a deploy net and its weights of an ONNX model.

What an operator computes from constants is computed here, as are shapes: exporters write a Reshape
to (batch, -1) as Shape, Gather, Unsqueeze and Concat. Names are made printable, and no two are the
same. A layer has the name of its weights' module, or else that of its node or value.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from ..errors import FormatError, NetError
from ..formats.files import BINARY_LIMIT
from ..formats.schema import LayerParameter, NetParameter
from ..nets.definition import NetDefinition
from ..nets.layer_types import MAX_ELEMENTS, Shape
from ..nets.shapes import require_shapes
from ..text import printable
from .onnx_export import OVERWRITTEN, PRODUCER, TOO_LARGE
from .onnx_file import tensor_array
from .onnx_fold import FOLDABLE, MAX_FOLDED, can_fold, fold
from .onnx_to_layer import RULES, MadeLayer, NodeReader, NoLayerError, Value
from .unique_names import UniqueNames

# Layers that overwrite their bottom where nothing else reads it, as in published nets.
_IN_PLACE = frozenset("BatchNorm Bias Clip ELU PReLU ReLU Scale Sigmoid TanH".split())
_WEIGHTS = re.compile(
    r"(.+?)[._/](?:weights?|w|kernel|bias|b|running_mean|running_var)(?:_\d+)?", re.I
)
_FLOAT_TYPES = (TensorProto.FLOAT, TensorProto.UNDEFINED)


@dataclass(frozen=True)
class Imported:
    """A net made of an ONNX model.

    Attributes:
        net: a deploy net.
        arrays: name of a layer -> its parameter blobs.
        values: name of a blob -> that of the equal value in the model: inputs, outputs and others.
        warnings: what the user should know, a line each.
        metadata: of the model.
    """

    net: NetDefinition
    arrays: dict[str, list[np.ndarray]]
    values: dict[str, str]
    warnings: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)


def import_onnx(model: ModelProto, source: str, image: Shape | None = None) -> Imported:
    """Make a net of a model.

    Args:
        model: from `read_onnx`.
        source: its file, for messages.
        image: (channels, height, width) of an input that doesn't say.

    Raises:
        FormatError: the model is damaged.
        NetError: Caffe has no layer for an operator; names it, its node and its output.
    """
    reader = _ModelReader(model, source, image)
    for node in _needed_nodes(model, source):
        reader.read_node(node)
    return _NetMaker(reader, model).imported()


def _needed_nodes(model: ModelProto, source: str) -> list[NodeProto]:
    """Return the nodes that outputs depend on, in the order of the file.

    Raises:
        FormatError: two nodes or constants have the same name.
    """
    makers: dict[str, int] = {}
    for index, tensor in enumerate(model.graph.initializer, -len(model.graph.initializer)):
        if makers.setdefault(tensor.name, index) != index:
            raise FormatError(
                f"{source}: two constants are '{printable(tensor.name)}'; the file is damaged"
            )
    for index, node in enumerate(model.graph.node):
        for name in filter(None, node.output):
            if makers.setdefault(name, index) != index:
                raise FormatError(
                    f"{source}: two nodes make '{printable(name)}'; the file is damaged"
                )
    queue = [value.name for value in model.graph.output]
    needed: set[int] = set()
    while queue:
        index = makers.get(queue.pop(), -1)
        if index >= 0 and index not in needed:
            needed.add(index)
            queue += model.graph.node[index].input
    return [model.graph.node[index] for index in sorted(needed)]


class _ModelReader:
    """Reads the nodes of a model one by one.

    Attributes:
        values: name -> the value of a layer, or a constant.
        inputs: the values that are inputs of the net.
        layers: made so far.
        warnings: a line each.
    """

    def __init__(self, model: ModelProto, source: str, image: Shape | None) -> None:
        self.source = source
        self.layers: list[MadeLayer] = []
        self.warnings: list[str] = []
        self.inputs: list[Value] = []
        self.values: dict[str, Value | np.ndarray] = {}
        self._initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        self._folded = 0  # elements of constants made of others
        opsets = {each.domain: each.version for each in model.opset_import}
        self._opset = opsets.get("", opsets.get("ai.onnx", 0))
        self._uses = Counter(name for node in model.graph.node for name in node.input)
        self._uses.update(value.name for value in model.graph.output)
        for info in model.graph.input:
            if info.name not in self._initializers:
                self._add_input(info, image)

    def _add_input(self, info: ValueInfoProto, image: Shape | None) -> None:
        where = f"{self.source}: input '{printable(info.name)}'"
        tensor = info.type.tensor_type
        if tensor.elem_type not in _FLOAT_TYPES:
            kind = TensorProto.DataType.keys()[tensor.elem_type] if tensor.elem_type < 17 else "?"
            raise NetError(f"{where}: is of type {kind}; a net of Caffe takes FLOAT")
        shape = [axis.dim_value for axis in tensor.shape.dim]
        if shape and shape[0] <= 0:
            shape[0] = 1  # any batch
        if image is not None and len(shape) == 4:
            shape[1:] = image
        if not shape or min(shape) < 1:
            raise NetError(f"{where}: its size is unknown; give --image CxHxW")
        if prod(shape) > MAX_ELEMENTS:
            raise FormatError(f"{where}: has a shape that Caffe can't have")
        value = Value(tuple(shape), name=info.name, uses=self._uses[info.name])
        self.inputs.append(value)
        self.values[info.name] = value

    def read_node(self, node: NodeProto) -> None:
        """Add the layers of a node, or what it computes of constants."""
        where = f"{self.source}: {_describe(node)}"
        inputs = [self._find(name, where) if name else None for name in node.input]
        constants = [each for each in inputs if isinstance(each, np.ndarray)]
        made: Sequence[Value | np.ndarray]
        if node.domain not in ("", "ai.onnx"):
            raise NetError(f"{where}: is no operator of ONNX, but of {printable(node.domain)}")
        if node.op_type == "Constant":
            made = [_constant(node, where)]
        elif node.op_type in ("Shape", "Size") and isinstance(inputs[0], Value):
            made = [_shape(node, inputs[0])]
        elif node.op_type in FOLDABLE and len(constants) == len([*filter(None, node.input)]):
            if not can_fold(node, constants):
                raise FormatError(f"{where}: makes a constant that is too large")
            named = dict(zip(filter(None, node.input), constants, strict=True))
            made = [self._count(fold(node, named, self._opset, where), where)]
        else:
            made = self._apply_rule(node, inputs, where)
        for name, value in zip(node.output, made, strict=False):
            self._bind(name, value)

    def _count(self, array: np.ndarray, where: str) -> np.ndarray:
        """Return what was made of constants, if all of it is not too large."""
        self._folded += array.size
        if self._folded > MAX_FOLDED:
            raise FormatError(f"{where}: the file makes constants that are too large")
        return array

    def _find(self, name: str, where: str) -> Value | np.ndarray:
        if name not in self.values and name in self._initializers:
            tensor = self._initializers[name]
            self.values[name] = tensor_array(tensor, f"{self.source}: '{printable(name)}'")
        if name not in self.values:
            raise FormatError(f"{where}: reads '{printable(name)}', which nothing above it makes")
        return self.values[name]

    def _apply_rule(
        self, node: NodeProto, inputs: Sequence[Value | np.ndarray | None], where: str
    ) -> Sequence[Value]:
        if node.op_type not in RULES:
            raise NetError(f"{where}: Caffe has no layer for it")
        first, warnings = len(self.layers), list[str]()
        reader = NodeReader(node, self._opset, inputs, self.layers, warnings)
        try:
            with np.errstate(all="ignore"):  # of weights that are not finite
                made = RULES[node.op_type](reader)
        except NoLayerError as error:
            raise NetError(f"{where}: {error}") from None
        except (AttributeError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
            # An attribute of another type, or too few inputs: onnx's checker would refuse it.
            raise FormatError(
                f"{where}: is invalid: {printable(str(error), 100)}; check it with onnx.checker"
            ) from None
        self.warnings += [f"{where}: {warning}" for warning in warnings]
        for number, layer in enumerate(self.layers[first:]):
            layer.stem = _stem(node) + (f"_{layer.param.type.lower()}" if number else "")
        return made

    def _bind(self, name: str, value: Value | np.ndarray) -> None:
        """Name what a node made; a value that it passed on has one reader less, its own."""
        self.values[name] = value
        if isinstance(value, Value):
            value.uses += self._uses[name] - 1
            if value.layer is not None:
                value.name = name


def _describe(node: NodeProto) -> str:
    """Return the operator of a node, its name and its output, for messages."""
    name = f" '{printable(node.name)}'" if node.name else ""
    output = f", which makes '{printable(node.output[0])}'" if node.output else ""
    return f"operator {printable(node.op_type)}{name}{output}"


def _stem(node: NodeProto) -> str:
    """Return what the layers of a node are named after."""
    for name in node.input[1:]:
        match = _WEIGHTS.fullmatch(name)
        if match:
            return match[1]
    return str(node.name or node.output[0])


def _constant(node: NodeProto, where: str) -> np.ndarray:
    for attribute in node.attribute:
        if attribute.name == "value":
            return tensor_array(attribute.t, where)
        if attribute.name in ("value_float", "value_floats"):
            return np.array(helper.get_attribute_value(attribute), "f4")
        if attribute.name in ("value_int", "value_ints"):
            return np.array(helper.get_attribute_value(attribute), "i8")
    raise NetError(f"{where}: is a constant that Caffe can't have")


def _shape(node: NodeProto, value: Value) -> np.ndarray:
    if node.op_type == "Size":
        return np.array(prod(value.shape), "i8")
    bounds = {each.name: each.i for each in node.attribute}
    return np.array(value.shape[bounds.get("start", 0) : bounds.get("end")], "i8")


class _NetMaker:
    """Names layers and blobs, and writes the net."""

    def __init__(self, reader: _ModelReader, model: ModelProto) -> None:
        self._reader = reader
        self._model = model
        self._own = model.producer_name == PRODUCER
        self._outputs = [self._output(info.name) for info in model.graph.output]
        self._layers = self._live_layers()
        self._readers = Counter(id(value) for layer in self._layers for value in layer.bottoms)
        self._names = UniqueNames()  # of layers
        self._blobs: dict[int, str] = {}  # id of a value -> name of its blob

    def _output(self, name: str) -> Value:
        found = self._reader.values.get(name)
        where = f"{self._reader.source}: output '{printable(name)}'"
        if found is None:
            raise FormatError(f"{where}: nothing makes it; the file is damaged")
        if not isinstance(found, Value) or found.layer is None or found.padding is not None:
            raise NetError(f"{where}: is an input, a constant or a Pad, and no layer's result")
        found.name = name
        return found

    def _live_layers(self) -> list[MadeLayer]:
        """Return the layers that outputs depend on, in order."""
        live: set[int] = set()
        queue = [value.layer for value in self._outputs]
        while queue:
            layer = queue.pop()
            if layer is not None and id(layer) not in live:
                live.add(id(layer))
                queue += [value.layer for value in layer.bottoms]
        return [layer for layer in self._reader.layers if id(layer) in live]

    def imported(self) -> Imported:
        """Return the net, its weights, and which blob is which value."""
        param = NetParameter(name=_fit(self._model.graph.name))
        for layer in self._layers:
            layer.param.name = self._names.make(_fit(layer.stem))
        self._name_blobs()
        param.layer.extend(self._input_layers())
        for layer in self._layers:
            made = param.layer.add()
            made.CopyFrom(layer.param)
            made.bottom.extend(self._blobs[id(value)] for value in layer.bottoms)
            made.top.extend(self._blobs[id(value)] for value in layer.tops)
        unread = self._unread()
        if unread:
            param.layer.add(name=self._names.make("silence"), type="Silence", bottom=unread)
        net = NetDefinition(param, self._reader.source)
        require_shapes(net, "TEST")
        arrays = {layer.param.name: layer.blobs for layer in self._layers if layer.blobs}
        if sum(blob.nbytes for blobs in arrays.values() for blob in blobs) > BINARY_LIMIT:
            raise NetError(f"{self._reader.source}: {TOO_LARGE}")
        metadata = {entry.key: entry.value for entry in self._model.metadata_props}
        values = {self._blobs[id(value)]: value.name for value in self._values() if value.name}
        return Imported(net, arrays, values, self._reader.warnings, metadata)

    def _values(self) -> Iterator[Value]:
        yield from self._reader.inputs
        for layer in self._layers:
            yield from layer.tops

    def _unread(self) -> list[str]:
        """Return the blobs that are no outputs and that no layer reads."""
        outputs = {*map(id, self._outputs)}
        tops = (value for layer in self._layers for value in layer.tops)
        unread = (each for each in tops if not self._readers[id(each)] and id(each) not in outputs)
        return [self._blobs[id(value)] for value in unread]

    def _input_layers(self) -> Iterator[LayerParameter]:
        for value in self._reader.inputs:
            blob = self._blobs[id(value)]
            layer = LayerParameter(name=self._names.make(blob), type="Input", top=[blob])
            layer.input_param.shape.add(dim=value.shape)
            yield layer

    def _name_blobs(self) -> None:
        """Name the blobs: inputs and outputs as in the model, others as the layers that make them.

        A model of sqgen's own has the names of the blobs (onnx_export.py).
        """
        blobs: dict[int, list[Value]] = {}  # id of a value -> the values of its blob, in order
        for value in self._values():
            bottom = self._overwritten(value)
            blob = blobs[id(value)] = blobs[id(bottom)] if bottom is not None else []
            blob.append(value)
        outputs = {*map(id, self._outputs)}
        names = UniqueNames()
        distinct = {id(blob): blob for blob in blobs.values()}
        named_first = sorted(
            distinct.values(),
            key=lambda blob: blob[0].layer is not None and id(blob[-1]) not in outputs,
        )
        for blob in named_first:
            name, maker = blob[-1].name, blob[0].layer
            if maker is not None and not (self._own and name) and id(blob[-1]) not in outputs:
                name = maker.param.name if len(maker.tops) == 1 else name or maker.param.name
            name = names.make(_fit(name))
            self._blobs |= {id(value): name for value in blob}

    def _overwritten(self, value: Value) -> Value | None:
        """Return the value that a layer works on in place; None where it makes a new blob."""
        layer = value.layer
        if layer is None or layer.param.type not in _IN_PLACE:
            return None
        bottom = layer.bottoms[0]
        if self._readers[id(bottom)] > 1 or bottom in self._outputs or bottom.layer is None:
            return None
        return bottom if not self._own or OVERWRITTEN.fullmatch(bottom.name) else None


def _fit(name: str) -> str:
    """Return a name that any Caffe and its tools take: printable ASCII without blanks."""
    return re.sub(r"[^!-~]", "_", name.lstrip("/"))[:200] or "unnamed"
