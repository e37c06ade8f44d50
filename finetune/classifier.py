"""Find the linear classifier at the end of a net, and write a fitted one into it.

A 1x1 convolution and an average over all positions commute, so that the scores are a linear
function of the averaged features. Positions that the convolution pads with have the bias alone: of
H x W positions padded by p, the features count H W / ((H + 2p) (W + 2p)).
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from ..errors import NetError
from ..formats.schema import LayerParameter, PoolingParameter
from ..nets.definition import NetDefinition
from ..nets.graph import Graph, Node
from ..nets.layer_types import Shape
from ..nets.shapes import LayerShapes, NetShapes, require_shapes
from ..text import printable

_Node = Node[LayerParameter]


class Classifier(NamedTuple):
    """The linear classifier of a net.

    Attributes:
        layer: name of the Convolution or InnerProduct.
        features: the blob that it reads.
        classes: number of its outputs.
        shapes: of its parameter blobs: weights, and the bias.
        weight: of an average of the features in the scores; 1 without padding.
        pools: whether it averages over positions.
    """

    layer: str
    features: str
    classes: int
    shapes: tuple[Shape, ...]
    weight: float
    pools: bool

    def blobs(self, weights: np.ndarray, bias: np.ndarray) -> list[np.ndarray]:
        """Return the layer's blobs that give the scores `weights @ x + bias` of features x.

        Args:
            weights: (classes, features).
            bias: (classes,).
        """
        arrays = (weights / self.weight, bias)
        return [a.reshape(s).astype(np.float32) for a, s in zip(arrays, self.shapes, strict=True)]


def find_classifier(net: NetDefinition) -> Classifier:
    """Find the classifier of a deploy net.

    Raises:
        NetError: the net does not end in one, or its scores are no linear function of features.
    """
    shapes = require_shapes(net, "TEST")
    graph = shapes.graph
    where = printable(net.source)
    if len(graph.outputs) != 1:
        names = ", ".join(map(printable, graph.output_names()))
        raise NetError(f"{where}: has the outputs {names}; a classifier has one")
    node: _Node | None = graph.nodes[graph.outputs[0].layer]
    pooled = False
    while node is not None and node.layer.type in ("Softmax", "Dropout", "Pooling"):
        if node.layer.type == "Pooling":
            _check_average(node, shapes, where)
            pooled = True
        node = _above(graph, node)
    if node is None or node.layer.type not in ("Convolution", "InnerProduct"):
        what = "nothing" if node is None else f"layer '{printable(node.layer.name)}'"
        remedy = (
            "; build it with --no-classifier-relu" if node and node.layer.type == "ReLU" else ""
        )
        raise NetError(
            f"{where}: its scores are those of {what}, no linear function of features{remedy}"
        )
    item = next(item for item in shapes.layers if item.layer is node.layer)
    return _classifier(item, pooled, where)


def _above(graph: Graph[LayerParameter], node: _Node) -> _Node | None:
    source = node.sources[0]
    return None if source is None else graph.nodes[source.layer]


def _check_average(node: _Node, shapes: NetShapes, where: str) -> None:
    param = node.layer.pooling_param
    item = next(item for item in shapes.layers if item.layer is node.layer)
    is_average = param.pool == PoolingParameter.AVE and not param.pad
    if not is_average or prod(item.tops[0][2:]) != 1:
        raise NetError(
            f"{where}: layer '{printable(node.layer.name)}' is no average over all positions"
        )


def _classifier(item: LayerShapes, pooled: bool, where: str) -> Classifier:
    layer, features = item.layer, item.bottoms[0]
    named = f"{where}: layer '{printable(layer.name)}'"
    if len(item.blobs) != 2:
        raise NetError(f"{named} has no bias; a classifier needs one")
    weight = 1.0
    if layer.type == "Convolution":
        param = layer.convolution_param
        expected = (item.tops[0][1], features[1], 1, 1)
        if item.blobs[0].shape != expected or {*param.stride} - {1} or {*param.dilation} - {1}:
            raise NetError(f"{named} is no 1x1 convolution, so that its scores are no linear")
        weight = prod(features[2:]) / prod(item.tops[0][2:])
    elif pooled:
        raise NetError(f"{named} is an InnerProduct with a Pooling behind")
    shapes = tuple(blob.shape for blob in item.blobs)
    return Classifier(
        layer.name, layer.bottom[0], item.tops[0][1], shapes, weight, layer.type == "Convolution"
    )
