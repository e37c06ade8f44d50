"""Insert a Split layer where several layers read one blob (src/caffe/util/insert_splits.cpp).

The engine could do without, but Caffe's logs and files have them: each split has its lines at start
and a `layer` of its own in a caffemodel.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..formats.schema import message_class
from ..nets.graph import Top, build_graph

_LayerParameter = message_class("LayerParameter")


def insert_splits(layers: list[Any]) -> list[Any]:
    """Return copies of `layers` in which each top has at most one reader.

    A weight in the loss counts as a reader. No bottom may be unknown.
    """
    graph = build_graph(layers)
    result, used = [], Counter[Top]()  # tops of its split that are given out
    for node in graph.nodes:
        layer = _LayerParameter()
        layer.CopyFrom(node.layer)
        result.append(layer)
        for j, (name, source) in enumerate(zip(node.bottoms, node.sources, strict=True)):
            if source is None:
                raise KeyError(name)
            if graph.use_count(source) > 1:
                maker = layers[source.layer].name
                layer.bottom[j] = _blob_name(maker, name, source.position, used[source])
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


def _split(layer: str, blob: str, index: int, count: int, weight: float) -> Any:
    split = _LayerParameter(name=f"{blob}_{layer}_{index}_split", type="Split", bottom=[blob])
    split.top.extend(_blob_name(layer, blob, index, k) for k in range(count))
    if weight:
        split.loss_weight.extend([weight] + [0.0] * (count - 1))
    return split


def _blob_name(layer: str, blob: str, index: int, k: int) -> str:
    return f"{blob}_{layer}_{index}_split_{k}"
