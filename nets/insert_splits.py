"""Insert a Split layer where several layers read one blob (src/caffe/util/insert_splits.cpp).

Caffe logs each split as it sets up a net, and writes it to caffemodels. Fusion relies on at most
one reader of each blob, and then bypasses the splits.
"""

from __future__ import annotations

from collections import Counter

from ..formats.schema import LayerParameter
from .graph import Top, build_graph


def insert_splits(layers: list[LayerParameter]) -> list[LayerParameter]:
    """Return copies of `layers` in which each top has at most one reader.

    A loss_weight counts as a reader.

    Raises:
        KeyError: no layer makes a bottom.
    """
    graph = build_graph(layers)
    result = []
    used = Counter[Top]()  # how many tops of the split are taken
    for node in graph.nodes:
        layer = LayerParameter()
        layer.CopyFrom(node.layer)
        result.append(layer)
        for j, (name, source) in enumerate(zip(node.bottoms, node.sources, strict=True)):
            if source is None:
                raise KeyError(name)
            if graph.use_count(source) > 1:
                producer = layers[source.layer].name
                layer.bottom[j] = _blob_name(producer, name, source.position, used[source])
                used[source] += 1
        for j, name in enumerate(node.tops):
            top = Top(node.index, j)
            count, weight = graph.use_count(top), graph.loss_weight(top)
            if count > 1:
                result.append(_split(layer.name, name, j, count, weight))
                if weight:
                    layer.ClearField("loss_weight")
                    used[top] += 1
    return result


def _split(layer: str, blob: str, index: int, count: int, weight: float) -> LayerParameter:
    split = LayerParameter(name=f"{blob}_{layer}_{index}_split", type="Split", bottom=[blob])
    split.top.extend(_blob_name(layer, blob, index, k) for k in range(count))
    if weight:
        split.loss_weight.extend([weight] + [0.0] * (count - 1))
    return split


def _blob_name(layer: str, blob: str, index: int, k: int) -> str:
    return f"{blob}_{layer}_{index}_split_{k}"
