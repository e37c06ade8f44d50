"""Recognize a SqueezeNet by its Fire modules, whoever wrote it and however it is named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from ..formats.ristretto import plain_type
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
    """Whether a net has a Fire module."""
    return next(fire_modules(graph), None) is not None


@dataclass(frozen=True)
class FireModule:
    """A Fire module: a squeeze convolution, whose output two expand convolutions read, joined.

    Attributes:
        squeeze, concat: indices of its first and last layer.
        expands: indices of the convolutions that the Concat joins, in its order.
        layers: indices of all its layers, such as the ReLUs between these, in order.
    """

    squeeze: int
    expands: tuple[int, ...]
    concat: int
    layers: tuple[int, ...]


def fire_modules(graph: Graph[LayerParameter]) -> Iterator[FireModule]:
    """Yield the Fire modules: each a Concat of a 1x1 and a 3x3 convolution of one 1x1 squeeze."""
    for node in graph.nodes:
        module = _fire_module(graph, node) if node.layer.type == "Concat" else None
        if module is not None:
            yield module


def _fire_module(graph: Graph[LayerParameter], concat: _Layer) -> FireModule | None:
    expands = [_convolution(graph, concat, position) for position in range(len(concat.bottoms))]
    if sorted(_kernel(path[-1] if path else None) for path in expands) != EXPANDED:
        return None
    squeezes = [_convolution(graph, path[-1], 0) for path in expands]
    first = squeezes[0][-1] if squeezes[0] else None
    if _kernel(first) != 1 or any(not path or path[-1] is not first for path in squeezes):
        return None
    assert first is not None
    layers = {node.index for path in (*expands, *squeezes) for node in path} | {concat.index}
    ends = tuple(path[-1].index for path in expands)
    return FireModule(first.index, ends, concat.index, tuple(sorted(layers)))


def _convolution(graph: Graph[LayerParameter], node: _Layer, position: int) -> list[_Layer]:
    """Return the layers from a bottom up to the convolution that it is made of, or none.

    All between have one bottom and one top.
    """
    path: list[_Layer] = []
    while (source := node.sources[position]) is not None:
        node, position = graph.nodes[source.layer], 0
        path.append(node)
        if plain_type(node.layer.type) == "Convolution":
            return path
        if len(node.bottoms) != 1 or len(node.tops) != 1 or node.layer.type == "Pooling":
            break
    return []


def _kernel(node: _Layer | None) -> int:
    sizes = node.layer.convolution_param.kernel_size if node is not None else ()
    return sizes[0] if sizes else 0
