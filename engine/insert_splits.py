"""Split layers where several layers read one blob (src/caffe/util/insert_splits.cpp).

The engine itself could do without them. They are made because Caffe's logs and files have them:
every split has its lines at start, and a `layer` of its own in a caffemodel.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..formats.schema import message_class

_LayerParameter = message_class("LayerParameter")
_Top = tuple[int, int]  # (layer, index of its top)


def insert_splits(layers: list[Any]) -> list[Any]:
    """Copies of `layers` in which each blob has at most one reader; a loss weight is one too."""
    sources, readers, weights = _survey(layers)
    result, used = [], Counter[_Top]()
    for index, original in enumerate(layers):
        layer = _LayerParameter()
        layer.CopyFrom(original)
        result.append(layer)
        for j, name in enumerate(layer.bottom):
            top = sources[index, j]
            if readers[top] > 1:
                layer.bottom[j] = _blob_name(layers[top[0]].name, name, top[1], used[top])
                used[top] += 1
        for j, name in enumerate(layer.top):
            top = (index, j)
            if readers[top] > 1:
                result.append(_split(layer.name, name, j, readers[top], weights.get(top, 0.0)))
                if weights.get(top):
                    layer.ClearField("loss_weight")
                    used[top] += 1
    return result


def _survey(layers: list[Any]) -> tuple[dict[_Top, _Top], Counter[_Top], dict[_Top, float]]:
    """Which top each bottom is, how many read it, and what it weighs in the loss."""
    made: dict[str, _Top] = {}
    sources: dict[_Top, _Top] = {}
    readers: Counter[_Top] = Counter()
    weights: dict[_Top, float] = {}
    for index, layer in enumerate(layers):
        for j, name in enumerate(layer.bottom):
            sources[index, j] = made[name]
            readers[made[name]] += 1
        for j, name in enumerate(layer.top):
            made[name] = (index, j)
        for j, weight in enumerate(layer.loss_weight[: len(layer.top)]):
            weights[index, j] = weight
            readers[index, j] += bool(weight)
    return sources, readers, weights


def _split(layer: str, blob: str, index: int, count: int, weight: float) -> Any:
    split = _LayerParameter(name=f"{blob}_{layer}_{index}_split", type="Split", bottom=[blob])
    split.top.extend(_blob_name(layer, blob, index, k) for k in range(count))
    if weight:
        split.loss_weight.extend([weight] + [0.0] * (count - 1))
    return split


def _blob_name(layer: str, blob: str, index: int, k: int) -> str:
    return f"{blob}_{layer}_{index}_split_{k}"
