"""Reduce a net to what it computes from its inputs in the TEST phase.

Data layers become inputs. Losses, accuracies and the probabilities at the end go, and so do Split
and Dropout, which pass their bottom on. Each version of a blob gets a name of its own, so that a
name stands for one value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..errors import NetError
from ..formats.fork_fields import COMPUTED
from ..formats.schema import LayerParameter, NetParameter
from ..text import printable
from .data_layers import is_data_layer
from .definition import NetDefinition
from .graph import Graph, Node, Top, build_graph
from .layer_types import LAYER_TYPES, Shape
from .shapes import LayerShapes, require_shapes
from .windows import ShapeError, UnknownSizeError

_PASSED_ON = ("Split", "Dropout")
# Fields without effect on what a layer computes in TEST.
_LEFT_OUT: Final = (
    "include",
    "exclude",
    "phase",
    "param",
    "blobs",
    "loss_weight",
    "propagate_down",
)


@dataclass
class InferenceGraph:
    """The layers of a net; each blob is the top of one layer.

    Attributes:
        source: the net's file, for messages.
        inputs: name of a blob -> its shape; None where the net does not say.
        layers: LayerParameters in order, without weights.
    """

    source: str
    inputs: dict[str, Shape | None]
    layers: list[LayerParameter]

    def definition(
        self, shapes: Mapping[str, Shape], layers: Sequence[LayerParameter]
    ) -> NetDefinition:
        """Make a net of Input layers of these shapes, and of some of the layers."""
        param = NetParameter()
        for name, shape in shapes.items():
            layer = param.layer.add(name=f"input {name}", type="Input", top=[name])
            layer.input_param.shape.add(dim=shape)
        param.layer.extend(layers)
        return NetDefinition(param, self.source)

    def infer_shapes(self, shapes: Mapping[str, Shape]) -> list[LayerShapes]:
        """Infer the shapes of all layers from those of the inputs.

        Raises:
            NetError: the shapes don't fit.
        """
        result = require_shapes(self.definition(shapes, self.layers), "TEST")
        return result.layers[len(shapes) :]

    @property
    def outputs(self) -> list[str]:
        """Blobs that no layer reads."""
        graph = build_graph(self.layers)
        return [graph.name(top) for top in graph.outputs]


def inference_graph(net: NetDefinition, image: Shape | None = None) -> InferenceGraph:
    """Build the inference graph of a net.

    Args:
        net: the net.
        image: (channels, height, width) of the records of data layers that don't say.

    Raises:
        FormatError: a field of a fork changes what a layer computes.
        NetError: the net has no layers in TEST, or two of one name.
    """
    layers = net.layers("TEST")
    if not layers:
        raise NetError(f"{printable(net.source)}: has no layers in TEST")
    graph = _build_graph(layers, net.source, image)
    net.require_caffe("TEST", COMPUTED, {layer.name for layer in graph.layers})
    return graph


def inference_graph_of_model(
    model: NetParameter, source: str, image: Shape | None = None
) -> InferenceGraph:
    """Build the inference graph of the layers in a caffemodel (Net::ToProto).

    They are those of one phase, mostly TRAIN, so that their include and exclude rules don't count.

    Args:
        model: the NetParameter.
        source: its file, for messages.
        image: as of `inference_graph`.

    Raises:
        NetError: the caffemodel has names and weights alone, or two layers of one name.
    """
    bare = [layer.name for layer in model.layer if layer.blobs and not layer.top]
    if bare:
        raise NetError(
            f"{printable(source)}: has weights, but not the definitions of their layers, such"
            f" as '{printable(bare[0])}'; give the net they were trained with: --from NET"
        )
    return _build_graph(model.layer, source, image)


def _build_graph(
    layers: Sequence[LayerParameter], source: str, image: Shape | None
) -> InferenceGraph:
    _check_names(layers, source)
    blobs = _UniqueNames(build_graph(layers))
    inputs: dict[str, Shape | None] = {}
    kept = []
    for node in blobs.graph.nodes:
        layer = _stripped(node.layer)
        bottoms = [blobs.read_name(node, index) for index in range(len(node.bottoms))]
        undefined = (b for b, top in zip(bottoms, node.sources, strict=True) if top is None)
        inputs |= dict.fromkeys(undefined)  # of a caffemodel from before Input layers
        if layer.type in _PASSED_ON and bottoms:
            blobs.pass_on(node, bottoms[0])
            continue
        tops = [blobs.make_name(node, index) for index in range(len(node.tops))]
        layer.bottom[:], layer.top[:] = bottoms, tops
        if bottoms or layer.type == "Parameter":
            kept.append(layer)
        else:
            shapes = _input_shapes(layer, image, source)
            inputs |= zip(tops, shapes, strict=True)
    kept = _without_ends(kept)
    read = {name for layer in kept for name in layer.bottom}
    return InferenceGraph(source, {k: v for k, v in inputs.items() if k in read}, kept)


class _UniqueNames:
    """A name for each version of each blob: its own, or with a number where that is taken."""

    def __init__(self, graph: Graph[LayerParameter]) -> None:
        self.graph = graph
        self._names: dict[Top | str, str] = {}  # version, or blob that no layer makes -> name
        self._taken: set[str] = set()

    def read_name(self, node: Node[LayerParameter], index: int) -> str:
        """Return the name of what a bottom reads."""
        blob, source = node.bottoms[index], node.sources[index]
        if source is None and blob not in self._names:
            self._names[blob] = self._new(blob)
        return self._names[blob if source is None else source]

    def make_name(self, node: Node[LayerParameter], index: int) -> str:
        """Choose the name of a top."""
        name = self._names[Top(node.index, index)] = self._new(node.tops[index])
        return name

    def pass_on(self, node: Node[LayerParameter], name: str) -> None:
        """Give all tops of a layer the name of its bottom, which they equal."""
        tops = (Top(node.index, index) for index in range(len(node.tops)))
        self._names |= dict.fromkeys(tops, name)

    def _new(self, blob: str) -> str:
        name = blob if blob not in self._taken else f"{blob} ({len(self._taken)})"
        self._taken.add(name)
        return name


def _check_names(layers: Sequence[LayerParameter], source: str) -> None:
    seen: set[str] = set()
    for layer in layers:
        if is_data_layer(layer):
            continue  # one for each phase may have the name
        if layer.name in seen:
            name = printable(layer.name)
            raise NetError(
                f"{printable(source)}: two layers are called '{name}'; rename one: weights go by"
                " name"
            )
        seen.add(layer.name)


def _stripped(layer: LayerParameter) -> LayerParameter:
    copy = type(layer)()
    copy.CopyFrom(layer)
    for name in _LEFT_OUT:
        copy.ClearField(name)
    return copy


def _input_shapes(layer: LayerParameter, image: Shape | None, source: str) -> list[Shape | None]:
    """Return the shapes of the tops of a layer without bottoms; None where it does not say."""
    where = f"{printable(source)}: layer '{printable(layer.name)}'"
    kind = LAYER_TYPES.get(layer.type)
    unknown: list[Shape | None] = [None] * len(layer.top)
    if kind is None or (layer.type == "Input" and not layer.input_param.shape):
        return unknown
    if not is_data_layer(layer):
        raise NetError(f"{where}: a {layer.type} without a bottom; it must read something")
    try:
        return list(kind.top_shapes(layer, [], image))
    except UnknownSizeError:
        return unknown
    except ShapeError as error:
        raise NetError(f"{where}: {error}") from None


def _without_ends(layers: list[LayerParameter]) -> list[LayerParameter]:
    """Drop layers at the end that only score, or turn scores into probabilities."""
    read: set[str] = set()
    kept = []
    for layer in reversed(layers):
        kind = LAYER_TYPES.get(layer.type)
        ending = layer.type.endswith("Loss") or layer.type == "Silence"
        ending = ending or (kind is not None and kind.ends_net)
        if ending and not read & set(layer.top):
            continue
        read.update(layer.bottom)
        kept.append(layer)
    return kept[::-1]
