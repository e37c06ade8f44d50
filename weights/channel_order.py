"""The orders of channels in which two nets of one function may differ.

A Concat with its bottoms swapped gives the same channels in another order, and all that reads them
has to know. An *order* of a blob says it: channel i of the target's is channel order[i] of the
source's. Three steps lead to the orders of all blobs:

1. In each net, channels that an Eltwise combines are tied together: they move as one
   (`Ties.of_layer`).
2. Ties of the target are matched with ties of the source that have channels of the same layers,
   which gives the order of what each convolution makes (`match`). What nothing ties stays as it is.
3. The orders are followed from the inputs on (`follow`). That takes nothing for granted of the
   second step: a layer that can't compute the same with what it reads is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from ..nets.layer_types import Shape
from ..nets.shapes import LayerShapes

Order = np.ndarray[Any, np.dtype[np.int64]]
Slot = tuple[int, int]  # (what makes a channel, in both nets the same; its number there)

_EACH = frozenset(
    "ReLU ELU Sigmoid TanH Power PReLU BatchNorm Pooling Scale Bias Softmax LRN".split()
)
_WITHIN_CHANNEL = 1  # LRNParameter.NormRegion


class OrderError(ValueError):
    """Orders that don't go together; the message is about the layer, without its name."""


def channels(shape: Shape) -> int:
    """The size of axis 1, or 0 where there is none."""
    return shape[1] if len(shape) > 1 else 0


def behaviour(item: LayerShapes) -> str:
    """What a layer does to channels.

    Returns:
        `mix`: its filters read them all; `each`: it treats each alone; `join`, `combine`,
        `cut`, `flatten`: Concat, Eltwise, Slice and Flatten; `whole`: their order matters.
    """
    layer, axes = item.layer, len(item.bottoms[0])
    kind = layer.type
    if axes < 2:
        return "whole"
    if kind in ("Convolution", "InnerProduct"):
        param = layer.convolution_param if kind == "Convolution" else layer.inner_product_param
        return "mix" if param.axis % axes == 1 else "whole"
    if kind in ("Concat", "Slice"):
        old = f"{kind.lower()}_dim"
        param = getattr(layer, f"{kind.lower()}_param")
        axis = (getattr(param, old) if param.HasField(old) else param.axis) % axes
        along = "join" if kind == "Concat" else "cut"
        return along if axis == 1 else "combine" if kind == "Concat" else "each"
    if kind == "Eltwise":
        return "combine"
    if kind == "Flatten":
        start = layer.flatten_param.axis % axes
        return "flatten" if start == 1 else "each" if start > 1 else "whole"
    if kind in _EACH and len(item.bottoms) == 1:
        across = kind == "LRN" and layer.lrn_param.norm_region != _WITHIN_CHANNEL
        over = kind == "Softmax" and layer.softmax_param.axis % axes == 0
        return "whole" if across or over else "each"
    return "whole"


class Ties:
    """Which channels of a net move as one: sets of slots, joined as layers are added."""

    def __init__(self) -> None:
        self.slots: list[Slot] = []
        self.where: dict[int, str] = {}  # number of a slot -> the layer that tied it first
        self._numbers: dict[Slot, int] = {}
        self._parent: list[int] = []

    def of(self, maker: int, count: int) -> Order:
        """The numbers of the first `count` channels that a layer or input makes."""
        numbers = []
        for channel in range(count):
            slot = (maker, channel)
            if slot not in self._numbers:
                self._numbers[slot] = len(self.slots)
                self._parent.append(len(self.slots))
                self.slots.append(slot)
            numbers.append(self._numbers[slot])
        return np.array(numbers, dtype=np.int64)

    def root(self, number: int) -> int:
        """The number that stands for all that a slot is tied to."""
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number

    def tie(self, columns: Sequence[Order], layer: str) -> Order:
        """Tie the channels at each place of several blobs."""
        for other in columns[1:]:
            for a, b in zip(columns[0].tolist(), other.tolist(), strict=True):
                one, two = self.root(a), self.root(b)
                if one != two:
                    self._parent[max(one, two)] = min(one, two)
                self.where.setdefault(a, layer)
                self.where.setdefault(b, layer)
        return columns[0]

    def sets(self) -> dict[int, list[Slot]]:
        """Root -> the slots tied together, sorted."""
        result: dict[int, list[Slot]] = {}
        for number, slot in enumerate(self.slots):
            result.setdefault(self.root(number), []).append(slot)
        return {root: sorted(slots) for root, slots in result.items()}

    def of_layer(
        self, item: LayerShapes, makers: Sequence[int], bottoms: Sequence[Order]
    ) -> list[Order]:
        """The channels of a layer's tops; `makers` stand for the tops, in both nets the same."""
        kind = behaviour(item)
        if kind == "mix":
            self.tie(bottoms, item.layer.name)
            return [self.of(makers[0], channels(item.tops[0]))] * len(item.tops)
        if kind == "join":
            return [np.concatenate(bottoms)]
        if kind == "combine":
            return [self.tie(bottoms, item.layer.name)]
        if kind == "cut":
            return _cut(item, bottoms[0])
        if kind == "flatten":
            return [np.repeat(bottoms[0], _flattened(item))]
        if kind == "each":
            return [bottoms[0]] * len(item.tops)
        return [self.of(m, channels(top)) for m, top in zip(makers, item.tops, strict=True)]


def _cut(item: LayerShapes, bottom: Order) -> list[Order]:
    sizes = [channels(top) for top in item.tops]
    return np.split(bottom, np.cumsum(sizes)[:-1])


def _flattened(item: LayerShapes) -> int:
    """How many channels Flatten makes of one."""
    return channels(item.tops[0]) // channels(item.bottoms[0])


def match(target: Ties, source: Ties, pins: Sequence[tuple[Order, Order, str]]) -> dict[Slot, Slot]:
    """Which channel of the source each channel of the target is.

    Args:
        target, source: the ties of both nets, whose slots have the same makers.
        pins: channels of a blob in both nets that are the same at the same places, and the
            layer that wants it so.

    Raises:
        OrderError: no order does.
    """
    sets, others = target.sets(), source.sets()
    partner: dict[int, int] = {}
    taken: dict[int, int] = {}
    for ours, theirs, layer in pins:
        for a, b in zip(ours.tolist(), theirs.tolist(), strict=True):
            root, other = target.root(a), source.root(b)
            kept = (
                partner.setdefault(root, other) == other and taken.setdefault(other, root) == root
            )
            if not kept or _makers(sets[root]) != _makers(others[other]):
                raise OrderError(f"'{layer}': its channels have to keep their order, and can't")
    _pair_free(target, sets, {k: v for k, v in others.items() if k not in taken}, partner)
    return {
        # Of several channels of one maker in a set, the first is the first.
        slot: same
        for root, slots in sets.items()
        for slot, same in zip(slots, others[partner[root]], strict=True)
    }


def _makers(slots: Sequence[Slot]) -> tuple[int, ...]:
    return tuple(maker for maker, _ in slots)


def _pair_free(
    target: Ties,
    sets: Mapping[int, list[Slot]],
    free: Mapping[int, list[Slot]],
    partner: dict[int, int],
) -> None:
    """Sets of the same channels first, then those of the same makers as they come."""
    roots = {tuple(slots): other for other, slots in free.items()}
    waiting: list[tuple[list[Slot], int]] = []
    for root, slots in sets.items():
        if root in partner:
            continue
        same = roots.pop(tuple(slots), None)
        if same is None:
            waiting.append((slots, root))
        else:
            partner[root] = same
    left: dict[tuple[int, ...], list[int]] = {}
    for key in sorted(roots, reverse=True):
        left.setdefault(_makers(key), []).append(roots[key])
    for slots, root in sorted(waiting):
        candidates = left.get(_makers(slots))
        if not candidates:
            where = f"'{target.where[root]}'" if root in target.where else "the net"
            raise OrderError(f"{where} puts channels together that are not together in the source")
        partner[root] = candidates.pop()


def follow(
    item: LayerShapes,
    other: LayerShapes,
    pairs: Sequence[int],
    bottoms: Sequence[Order],
    made: Order,
) -> list[Order]:
    """The orders of a target layer's tops.

    Args:
        item, other: the layer in the target and in the source.
        pairs: which bottom of the source's each bottom is.
        bottoms: the orders of the target's bottoms.
        made: of a layer that mixes, the order of what it makes.

    Raises:
        OrderError: with these bottoms it can't compute the same.
    """
    kind = behaviour(item)
    if kind == "join":
        sizes = [channels(shape) for shape in other.bottoms]
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        return [
            np.concatenate([starts[p] + order for p, order in zip(pairs, bottoms, strict=True)])
        ]
    if kind in ("mix", "combine") and any((b != bottoms[0]).any() for b in bottoms[1:]):
        raise OrderError("it reads blobs whose channels are in different orders")
    if kind == "mix":
        return [made] * len(item.tops)
    if kind == "cut":
        parts = []
        for order, start in zip(_cut(item, bottoms[0]), _starts(item), strict=True):
            order = order - start
            if order.size and (order.min() < 0 or order.max() >= order.size):
                raise OrderError("it cuts where channels of both parts are in another order")
            parts.append(order)
        return parts
    if kind == "flatten":
        each = _flattened(item)
        return [(bottoms[0][:, None] * each + np.arange(each)).reshape(-1)]
    if kind == "whole":
        if any(is_permuted(order) for order in bottoms):
            raise OrderError("it reads channels in another order, which changes what it computes")
        return [np.arange(channels(shape)) for shape in item.tops]
    return [bottoms[0]] * len(item.tops)


def _starts(item: LayerShapes) -> list[int]:
    sizes = [channels(top) for top in item.tops]
    return [sum(sizes[:index]) for index in range(len(sizes))]


def is_permuted(order: Order) -> bool:
    """Whether an order is another than 0, 1, 2..."""
    return bool((order != np.arange(order.size)).any())


def reordered(
    item: LayerShapes, arrays: Sequence[np.ndarray], bottom: Order, made: Order
) -> list[np.ndarray]:
    """The parameter blobs of a source layer as the target's, which has its channels in an order.

    Raises:
        OrderError: its groups would mix.
    """
    layer, kind = item.layer, behaviour(item)
    if kind == "mix" and layer.type == "Convolution":
        weights, *bias = arrays
        return [
            _grouped(weights, layer.convolution_param.group, bottom, made),
            *(b[made] for b in bias),
        ]
    if kind == "mix":
        weights, *bias = arrays
        inner = prod(item.bottoms[0][2:])
        columns = (bottom[:, None] * inner + np.arange(inner)).reshape(-1)
        rows, columns = (columns, made) if layer.inner_product_param.transpose else (made, columns)
        return [weights[rows][:, columns], *(b[made] for b in bias)]
    if kind != "each":
        return list(arrays)
    if layer.type == "BatchNorm":
        mean, variance, factor = arrays
        return [mean[bottom], variance[bottom], factor]
    if layer.type == "PReLU":
        return [array[bottom] if array.shape else array for array in arrays]
    param = layer.scale_param if layer.type == "Scale" else layer.bias_param
    axis = 1 - param.axis % len(item.bottoms[0])  # of the channels among the axes of a blob
    return [np.take(array, bottom, axis) if 0 <= axis < array.ndim else array for array in arrays]


def _grouped(weights: np.ndarray, group: int, bottom: Order, made: Order) -> np.ndarray:
    """(out, in / group, ...) with its filters, and what they read, in an order."""
    outs, ins = len(made) // group, len(bottom) // group
    home = np.arange(len(made)) // outs
    if (made // outs != home).any() or (bottom // ins != np.arange(len(bottom)) // ins).any():
        raise OrderError(f"its {group} groups would read each other's channels")
    columns = bottom.reshape(group, ins) - ins * np.arange(group)[:, None]
    rows = weights[made]
    result: np.ndarray = np.stack([row[columns[g]] for row, g in zip(rows, home, strict=True)])
    return result
