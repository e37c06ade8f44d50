"""Recognize a SqueezeNet by its Fire modules, whoever wrote it and however it is named."""

from __future__ import annotations

from math import prod

from ..formats.schema import LayerParameter
from .graph import Graph, Node
from .imagenet import IMAGENET_CLASSES
from .shapes import NetShapes

_Layer = Node[LayerParameter]
EXPANDED = [1, 3]  # kernels of the convolutions that a Fire module concatenates


def is_imagenet(shapes: NetShapes) -> bool:
    """Whether a net is a SqueezeNet with as many outputs as ImageNet has classes."""
    outputs = {prod(shapes.blobs.get(name, ())[1:]) for name in shapes.graph.output_names()}
    return outputs == {IMAGENET_CLASSES} and is_squeezenet(shapes.graph)


def is_squeezenet(graph: Graph[LayerParameter]) -> bool:
    """Whether a net has a Fire module: a Concat of a 1x1 and a 3x3 convolution of one squeeze."""
    return any(node.layer.type == "Concat" and _is_fire(graph, node) for node in graph.nodes)


def _is_fire(graph: Graph[LayerParameter], concat: _Layer) -> bool:
    expands = [_convolution(graph, concat, position) for position in range(len(concat.bottoms))]
    squeezes = [node and _convolution(graph, node, 0) for node in expands]
    first = squeezes[0]
    return (
        first is not None
        and sorted(map(_kernel, expands)) == EXPANDED
        and _kernel(first) == 1
        and all(node is first for node in squeezes)
    )


def _convolution(graph: Graph[LayerParameter], node: _Layer, position: int) -> _Layer | None:
    """Return the convolution whose output a bottom is, through layers of one bottom and one top."""
    while (source := node.sources[position]) is not None:
        node, position = graph.nodes[source.layer], 0
        if node.layer.type == "Convolution":
            return node
        if len(node.bottoms) != 1 or len(node.tops) != 1 or node.layer.type == "Pooling":
            return None
    return None


def _kernel(node: _Layer | None) -> int:
    sizes = node.layer.convolution_param.kernel_size if node is not None else ()
    return sizes[0] if sizes else 0
