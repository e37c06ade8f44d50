"""Fold BatchNorm and Scale into the convolution before them; give other BatchNorms a Scale.

caffe2onnx, caffe-onnx and RKNN-Toolkit2 compute a BatchNorm that no Scale follows wrongly, and say
nothing. Behind a sum, a pooling or a blob that others read, where nothing can be folded, a Scale
that changes nothing follows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import NetError
from ..formats.schema import BatchNormParameter, LayerParameter, NetParameter
from ..nets.definition import NetDefinition
from ..nets.deploy_lint import lacks_scale
from ..nets.graph import Graph, Node, build_graph
from ..nets.origins import LayerOrigin
from ..text import printable
from ..weights.net_arrays import Arrays

_Node = Node[LayerParameter]
_Affine = tuple[np.ndarray, np.ndarray]  # a factor and a shift per channel


class Folded(NamedTuple):
    """A net that computes the same, with fewer layers.

    Attributes:
        net: its layers keep their names, and have the lines of the net that it was made of.
        arrays: name of a layer -> its parameter blobs; those that changed are in float64.
        folded: names of the layers that are gone.
        scaled: names of the BatchNorms that got a Scale.
    """

    net: NetDefinition
    arrays: dict[str, Sequence[np.ndarray]]
    folded: list[str]
    scaled: list[str]


def fold_batch_norm(net: NetDefinition, arrays: Arrays) -> Folded:
    """Fold what can be folded, as in y = f (W x + b) + s = (f W) x + (f b + s).

    Args:
        net: a deploy net.
        arrays: name of a layer -> its parameter blobs.

    Raises:
        NetError: a BatchNorm takes the statistics of its batch; has file:line.
    """
    graph = build_graph(net.layers("TEST"))
    result = dict(arrays)
    convolutions: dict[int, _Node] = {}  # index of a folded layer -> the convolution that it is in
    tops: dict[int, str] = {}  # index of a convolution -> the top of the last layer in it
    for node in graph.nodes:
        _check_statistics(net, node.layer)
        convolution = _convolution_before(graph, node, convolutions, arrays)
        if convolution is not None:
            name = convolution.layer.name
            result[name] = _fold(result[name], _affine(node.layer, arrays[node.layer.name]))
            convolutions[node.index] = convolution
            tops[convolution.index] = node.tops[0]
            del result[node.layer.name]
    param = NetParameter()
    param.CopyFrom(net.param)
    del param.layer[:]
    origins: list[LayerOrigin] = []
    scaled: list[str] = []
    for node in graph.nodes:
        if node.index in convolutions:
            continue
        layer = param.layer.add()
        layer.CopyFrom(node.layer)
        origins.append(net.origin(node.layer))
        if node.index in tops:
            layer.top[:] = [tops[node.index]]
            layer.convolution_param.ClearField("bias_term")
        if layer.type == "BatchNorm":
            result[layer.name] = _move_eps(layer, arrays[layer.name])
        if lacks_scale(graph, node):
            scale = param.layer.add()
            scale.CopyFrom(_identity_scale(graph, node.layer))
            origins.append(origins[-1])
            count = arrays[layer.name][0].size
            result[scale.name] = [np.ones(count, "f4"), np.zeros(count, "f4")]
            scaled.append(layer.name)
    folded = [graph.nodes[index].layer.name for index in convolutions]
    definition = NetDefinition(param, net.source, origins=origins)
    return Folded(definition, result, folded, scaled)


def _check_statistics(net: NetDefinition, layer: LayerParameter) -> None:
    param = layer.batch_norm_param
    of_batch = param.HasField("use_global_stats") and not param.use_global_stats
    if layer.type == "BatchNorm" and of_batch:
        raise NetError(
            f"{net.place(layer)}: layer '{printable(layer.name)}': use_global_stats: false in TEST"
            " takes the statistics of the batch; take it out"
        )


def _convolution_before(
    graph: Graph[LayerParameter], node: _Node, convolutions: dict[int, _Node], arrays: Arrays
) -> _Node | None:
    """Return the convolution that a layer can be folded into; None where it can't."""
    source = node.sources[0] if len(node.bottoms) == 1 else None
    if node.layer.type not in ("BatchNorm", "Scale") or source is None:
        return None
    before = convolutions.get(source.layer, graph.nodes[source.layer])
    param = before.layer.convolution_param
    if (
        before.layer.type != "Convolution"
        or len(before.tops) != 1
        or param.axis != 1
        or any(spec.name for spec in before.layer.param)  # others have its weights
        or len(graph.readers(source)) != 1
    ):
        return None
    if node.layer.type == "Scale":
        is_per_channel = arrays[node.layer.name][0].shape == (param.num_output,)
        return before if is_per_channel and node.layer.scale_param.axis == 1 else None
    return before


def _affine(layer: LayerParameter, blobs: Sequence[np.ndarray]) -> _Affine:
    """Return what a BatchNorm or a Scale does in TEST (batch_norm_layer.cpp, scale_layer.cpp)."""
    first, *others = (np.asarray(blob, "f8") for blob in blobs)
    if layer.type == "Scale":
        return first, (others[0] if others else np.zeros_like(first))
    variance, weight = others
    correction = 1 / weight.item() if weight.item() else 0.0
    with np.errstate(invalid="ignore", divide="ignore"):  # what isn't finite can't be proven
        factor = 1 / np.sqrt(variance * correction + layer.batch_norm_param.eps)
    return factor, -first * correction * factor


def _fold(blobs: Sequence[np.ndarray], affine: _Affine) -> list[np.ndarray]:
    weights, *biases = (np.asarray(blob, "f8") for blob in blobs)
    factor, shift = affine
    folded = weights * factor.reshape(-1, *[1] * (weights.ndim - 1))
    return [folded, (biases[0] if biases else 0.0) * factor + shift]


def _move_eps(layer: LayerParameter, blobs: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """Add eps to the variance where it can be: RKNN-Toolkit2 takes Caffe's default for any."""
    if not layer.batch_norm_param.HasField("eps"):
        return blobs
    mean, variance, weight = (np.asarray(blob, "f8") for blob in blobs)
    moved = variance + (layer.batch_norm_param.eps - BatchNormParameter().eps) * weight
    if not weight.item() or not moved.min() >= 0:
        return blobs
    layer.batch_norm_param.ClearField("eps")
    return [mean, moved, weight]


def _identity_scale(graph: Graph[LayerParameter], layer: LayerParameter) -> LayerParameter:
    taken = {node.layer.name for node in graph.nodes}
    name = f"{layer.name}_scale"
    while name in taken:
        name += "_"
    scale = LayerParameter(name=name, type="Scale", bottom=[layer.top[0]], top=[layer.top[0]])
    scale.scale_param.bias_term = True
    return scale
