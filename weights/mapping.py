"""Weights of one net for another that computes the same under other names.

The target is walked from its inputs on. Each of its blobs is given a key: what the layer that makes
it does, which of the source's weights it does it with, and the keys of what it reads. The source's
blobs have keys of the same kind. A blob whose key the source has is a blob of the source, up to the
order of its channels (`orders.py`); the first layer that makes another one is named and refused.

Which layer's weights a layer gets: those of the same name, or else of a name that means the same in
another dialect, or else of the layer in the source that does the same with the same blob.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import NetError
from ..formats.caffemodel import blob_array, blob_shape
from ..nets.definition import NetDefinition
from ..nets.inference_graph import InferenceGraph
from ..nets.layer_types import Shape
from ..nets.shapes import LayerShapes
from ..text import first_few, printable, shape_text
from .channel_order import (
    Order,
    OrderError,
    Ties,
    behaviour,
    channels,
    follow,
    is_permuted,
    match,
    reordered,
)
from .make_caffemodel import net_model
from .match import mismatch
from .signatures import Keys, Side

NAME, DIALECT, ORDER = "name", "dialect", "order"
BATCH = 1  # of what the nets are looked at with; no layer of TEST looks across it


class Row(NamedTuple):
    """Where a target layer's weights are from.

    Attributes:
        source, target: the layers' names.
        how: `name`, `dialect` or `order`.
        inputs, outputs: channels that it reads, and makes, at another place than in the source.
    """

    source: str
    target: str
    how: str
    inputs: int
    outputs: int


class Tap(NamedTuple):
    """A blob of the target and the one of the source that it equals.

    Attributes:
        layer: the target's layer that makes it.
        target, source: the blobs.
        order: channel i of the target's is channel order[i] of the source's.
    """

    layer: str
    target: str
    source: str
    order: Order


class Mapped(NamedTuple):
    """The outcome.

    Attributes:
        rows: a row for each target layer that gets weights, in the net's order.
        unused: layers of the source with weights that no layer of the target takes.
        missing: layers of the target that get none.
        arrays: target layer -> its parameter blobs.
        inputs: (target's, source's, shape) of each input.
        layers: those of the target and of the source that compute the same, as of their flows.
        taps: what is the same in both: what layers with weights make, and the outputs.
    """

    rows: list[Row]
    unused: list[str]
    missing: list[str]
    arrays: dict[str, list[np.ndarray]]
    inputs: list[tuple[str, str, Shape]]
    layers: tuple[list[Any], list[Any]]
    taps: list[Tap]


def map_weights(
    source: InferenceGraph,
    target: InferenceGraph,
    model: Any,
    role: Callable[[str], Hashable] = lambda name: None,
    partial: bool = False,
    file: str = "the file",
) -> Mapped:
    """Find the weights of `target` among those of `source`.

    Args:
        source: the flow of the net that the weights are of.
        target: the flow of the net that is to get them.
        model: the NetParameter with the weights.
        role: what a layer's name stands for in the dialects that are known; None for nothing.
        partial: whether layers of the target may get none, and what follows them neither.
        file: where the weights are from, for messages.

    Raises:
        NetError: the nets compute different things, with the first layer at which they part; or a
            layer gets no weights.
    """
    mapper = _Mapper(source, target, model, role, partial, printable(file))
    mapper.pair_by_names()
    mapper.walk()
    return mapper.finish()


def mapped_model(net: NetDefinition, mapped: Mapped) -> Any:
    """The NetParameter that Net::ToProto would write of the target: its TEST layers, with weights.

    Raises:
        NetError: layers that share a blob would get different weights.
    """
    return net_model(net, mapped.arrays, mapped.missing)


def _common_inputs(source: InferenceGraph, target: InferenceGraph) -> list[tuple[str, str, Shape]]:
    """Inputs by name, or by place where both have as many; the target tells the shapes."""
    wanted = list(target.inputs)
    if not all(name in source.inputs for name in wanted):
        if len(source.inputs) != len(wanted):
            shown = [", ".join(map(printable, net.inputs)) for net in (target, source)]
            raise NetError(
                f"{printable(target.source)}: its inputs are {shown[0] or 'none'}, those of"
                f" {printable(source.source)} {shown[1] or 'none'}; they must be the same"
            )
        pairs = list(zip(wanted, source.inputs, strict=True))
    else:
        pairs = [(name, name) for name in wanted]
    result = []
    for name, other in pairs:
        shape = target.inputs[name] or source.inputs[other]
        if shape is None:
            raise NetError(
                f"{printable(target.source)}: nothing tells the size of input"
                f" '{printable(name)}'; tell it: --image CxHxW"
            )
        result.append((name, other, (BATCH, *shape[1:])))
    return result


class _Mapper:
    def __init__(
        self,
        source: InferenceGraph,
        target: InferenceGraph,
        model: Any,
        role: Callable[[str], Hashable],
        partial: bool,
        file: str,
    ) -> None:
        self.role, self.partial, self.file = role, partial, file
        self.inputs = _common_inputs(source, target)
        told = {other: shape for _, other, shape in self.inputs}
        rest = {k: v for k, v in source.inputs.items() if k not in told and v is not None}
        self.source = Side(source, {**rest, **told})
        self.target = Side(target, {name: shape for name, _, shape in self.inputs})
        self.keys = Keys()
        self.stored = {layer.name: layer.blobs for layer in model.layer if layer.blobs}
        self.pairs: dict[str, tuple[str, str]] = {}  # target -> (source, how)
        self.missing: list[str] = []
        self.same: list[tuple[LayerShapes, LayerShapes]] = []  # (target's, source's)
        self._check_stored()
        self._key_source()

    # What the source has

    def _check_stored(self) -> None:
        where = printable(self.source.flow.source)
        for name, item in self.source.weighted.items():
            blobs = self.stored.get(name, [])
            wanted = [blob.shape for blob in item.blobs]
            if blobs and mismatch(name, blobs, wanted) is not None:
                shown = _shapes(map(blob_shape, blobs))
                raise NetError(
                    f"{where}: layer '{printable(name)}' has blobs of {_shapes(wanted)}, the"
                    f" weights {shown}; give the net they were trained with: --from NET"
                )

    def _key_source(self) -> None:
        side = self.source
        for number, (name, other, shape) in enumerate(self.inputs):
            key = self.keys.number(("input", number, shape))
            self.target.keys[name] = side.keys[other] = key
        self.makers: dict[int, tuple[LayerShapes, str]] = {}  # key -> layer and blob
        for item in side.items:
            if any(name not in side.keys for name in item.layer.bottom):
                continue  # of an input that the target has not
            weights = item.layer.name if item.blobs else None
            numbers = self._numbers(side, item, weights)
            side.keys |= zip(item.layer.top, numbers, strict=True)
            for number, top in zip(numbers, item.layer.top, strict=True):
                self.makers.setdefault(number, (item, top))

    def _numbers(self, side: Side, item: LayerShapes, weights: str | None) -> list[int]:
        key = (side.settings[item.layer.name], weights, side.reads(item))
        return [self.keys.number((key, index)) for index in range(len(item.layer.top))]

    # Pairs

    def pair_by_names(self) -> None:
        """Pair layers of equal names, then those whose names alone stand for the same."""
        free = [name for name in self.source.weighted if name in self.stored]
        waiting = []
        for name in self.target.weighted:
            if name in free:
                self.pairs[name] = (name, NAME)
                free.remove(name)
            else:
                waiting.append(name)
        roles = [_by_role(names, self.role) for names in (waiting, free)]
        for role, name in roles[0].items():
            if role in roles[1]:
                self.pairs[name] = (roles[1][role], DIALECT)

    def _pair_by_order(self, item: LayerShapes) -> None:
        """Pair with the one layer that does the same, or of several alike with the next."""
        wanted = self._doing(self.target, item)
        taken = {source for source, _ in self.pairs.values()}
        alike = [
            name
            for name, other in self.source.weighted.items()
            if name in self.stored
            and name not in taken
            and self._doing(self.source, other) == wanted
        ]
        rivals = [
            name
            for name, other in self.target.weighted.items()
            if name not in self.pairs
            and name not in self.missing
            and self._doing(self.target, other) == wanted
        ]
        if alike and len(alike) != len(rivals):
            several = [" or ".join(f"'{printable(n)}'" for n in each) for each in (alike, rivals)]
            raise NetError(
                f"{self._where(item)}: which weights it gets can't be told: {several[0]} would do"
                f" for {several[1]}; give it the name of one"
            )
        if alike:
            self.pairs[item.layer.name] = (alike[0], ORDER)

    def _doing(self, side: Side, item: LayerShapes) -> Hashable:
        """What a layer does to what; None where it reads what has no key."""
        if any(name not in side.keys for name in item.layer.bottom):
            return None
        return (side.settings[item.layer.name], side.reads(item))

    # The walk

    def walk(self) -> None:
        """Give every blob of the target its key, and refuse the first that the source has not."""
        side = self.target
        for item in side.items:
            name = item.layer.name
            lost = next((b for b in item.layer.bottom if b not in side.keys), None)
            if lost is None and item.blobs and name not in self.pairs:
                self._pair_by_order(item)
            if item.blobs and name not in self.pairs:
                self._miss(item)
            elif lost is None:
                self._visit(item)
            elif item.blobs:
                raise NetError(
                    f"{self._where(item)}: comes after layers without weights, such as"
                    f" '{printable(self.missing[0])}', so that what it gets can't be proven;"
                    " rename it, and it starts fresh too"
                )

    def _miss(self, item: LayerShapes) -> None:
        name = item.layer.name
        self.missing.append(name)
        if self.partial:
            return
        taken = {source for source, _ in self.pairs.values()}
        free = (n for n in self.source.weighted if n in self.stored and n not in taken)
        left = [f"'{name}'" for name in free]
        over = f"; left over there: {first_few(left)}" if left else ""
        raise NetError(
            f"{self._where(item)}: {self.file} has no weights for it,"
            f" by name, dialect or what it does{over}; --partial leaves it out"
        )

    def _visit(self, item: LayerShapes) -> None:
        source, _ = self.pairs.get(item.layer.name, (None, ""))
        if source is not None:
            self._check_shapes(item, source)
        numbers = self._numbers(self.target, item, source)
        if numbers and numbers[0] not in self.makers:
            raise NetError(f"{self._where(item)}: the nets part here: {self._parting(item)}")
        self.target.keys |= zip(item.layer.top, numbers, strict=True)
        if numbers:
            self.same.append((item, self.makers[numbers[0]][0]))

    def _check_shapes(self, item: LayerShapes, source: str) -> None:
        wanted = [blob.shape for blob in item.blobs]
        blobs = self.stored[source]
        if mismatch(source, blobs, wanted) is None:
            return
        raise NetError(
            f"{self._where(item)}: takes blobs of {_shapes(wanted)}, but"
            f" '{printable(source)}' has {_shapes(map(blob_shape, blobs))}; a layer that is to"
            " start fresh needs a name of its own, and --partial"
        )

    def _parting(self, item: LayerShapes) -> str:
        """Why the source has no such blob."""
        side, name = self.target, item.layer.name
        makes = [f"'{printable(self._maker(side, b))}'" for b in item.layer.bottom]
        what = f"{item.layer.type} of {' and '.join(makes)}"
        if name not in self.pairs:
            return f"{printable(self.source.flow.source)} has no such {what}"
        other = self.source.weighted[self.pairs[name][0]]
        mine, theirs = side.settings[name], self.source.settings[other.layer.name]
        for (field, one), (_, two) in zip(mine, theirs, strict=False):
            if one != two:
                return (
                    f"{field} is {_show(one)}, but {_show(two)} in"
                    f" '{printable(other.layer.name)}' of {printable(self.source.flow.source)}"
                )
        reads = [f"'{printable(self._maker(self.source, b))}'" for b in other.layer.bottom]
        return (
            f"it is a {what}, but '{printable(other.layer.name)}' of"
            f" {printable(self.source.flow.source)} reads {' and '.join(reads)}"
        )

    def _maker(self, side: Side, blob: str) -> str:
        made = [item.layer.name for item in side.items if blob in item.layer.top]
        return made[0] if made else blob

    def _where(self, item: LayerShapes) -> str:
        return f"{printable(self.target.flow.source)}: layer '{printable(item.layer.name)}'"

    # Channels

    def finish(self) -> Mapped:
        """The orders of channels, and the weights in them."""
        made = self._match_channels()
        orders: dict[str, Order] = {
            name: np.arange(channels(shape)) for name, _, shape in self.inputs
        }
        rows, arrays, taps = [], {}, []
        outputs = set(self.target.flow.outputs)
        for item, other in self.same:
            name, tops = item.layer.name, list(item.layer.top)
            bottoms = [orders[blob] for blob in item.layer.bottom]
            own = made.get(self.target.keys[tops[0]], np.arange(channels(item.tops[0])))
            try:
                found = follow(item, other, self._bottom_pairs(item, other), bottoms, own)
                if item.blobs:
                    source, how = self.pairs[name]
                    stored = self._arrays(source, item)
                    arrays[name] = reordered(item, stored, bottoms[0], own)
                    moved = _moved(own) if behaviour(item) == "mix" else 0
                    rows.append(Row(source, name, how, _moved(bottoms[0]), moved))
            except OrderError as error:
                raise NetError(f"{self._where(item)}: {error}") from None
            orders |= zip(tops, found, strict=True)
            for top, order in zip(tops, found, strict=True):
                if top in outputs and is_permuted(order):
                    raise NetError(f"{self._where(item)}: gives its channels in another order")
                if top in outputs or item.blobs:
                    taps.append(Tap(name, top, self.makers[self.target.keys[top]][1], order))
        used = {row.source for row in rows}
        unused = [name for name in self.stored if name not in used]
        layers = ([item.layer for item, _ in self.same], self._needed())
        return Mapped(rows, unused, self.missing, arrays, self.inputs, layers, taps)

    def _match_channels(self) -> dict[int, Order]:
        """Key of what a layer with filters makes -> the order of it in the target."""
        ties = (Ties(), Ties())
        made = tuple(self._tied(side, one) for side, one in zip(self._sides, ties, strict=True))
        pins = [(made[0][name], made[1][other], name) for name, other, _ in self.inputs]
        for item, same in self.same:
            if behaviour(item) == "whole":
                mine, theirs = item.layer, same.layer
                blobs = [*zip(mine.bottom, theirs.bottom, strict=True)]
                blobs += zip(mine.top, theirs.top, strict=True)
                pins += [(made[0][a], made[1][b], mine.name) for a, b in blobs]
        for blob in self.target.flow.outputs:
            if blob in self.target.keys:
                its = self.makers[self.target.keys[blob]][1]
                pins.append((made[0][blob], made[1][its], self._maker(self.target, blob)))
        try:
            found = match(*ties, pins)
        except OrderError as error:
            raise NetError(f"{printable(self.target.flow.source)}: {error}") from None
        orders: dict[int, list[tuple[int, int]]] = {}
        for (maker, channel), (_, place) in found.items():
            orders.setdefault(maker, []).append((channel, place))
        return {key: np.array([b for _, b in sorted(each)]) for key, each in orders.items()}

    @property
    def _sides(self) -> tuple[Side, Side]:
        return (self.target, self.source)

    def _tied(self, side: Side, ties: Ties) -> dict[str, Order]:
        """The channels of every blob that both nets have."""
        common = set(self.target.keys.values())
        found = {}
        for name, other, shape in self.inputs:
            blob = name if side is self.target else other
            found[blob] = ties.of(side.keys[blob], channels(shape))
        for item in side.items:
            tops = list(item.layer.top)
            if not tops or side.keys.get(tops[0]) not in common:
                continue
            bottoms = [found[blob] for blob in item.layer.bottom]
            made = ties.of_layer(item, [side.keys[top] for top in tops], bottoms)
            found |= zip(tops, made, strict=True)
        return found

    def _bottom_pairs(self, item: LayerShapes, other: LayerShapes) -> list[int]:
        """Which bottom of the source's layer each bottom of the target's is."""
        if behaviour(item) != "join":
            return list(range(len(item.bottoms)))
        left = [self.source.keys[blob] for blob in other.layer.bottom]
        result = []
        for blob in item.layer.bottom:
            place = left.index(self.target.keys[blob])
            left[place] = -1
            result.append(place)
        return result

    def _arrays(self, source: str, item: LayerShapes) -> list[np.ndarray]:
        blobs = zip(self.stored[source], item.blobs, strict=True)
        return [blob_array(stored).reshape(blob.shape) for stored, blob in blobs]

    def _needed(self) -> list[Any]:
        """The source's layers that make what both nets have."""
        common = set(self.target.keys.values())
        side = self.source
        return [
            item.layer
            for item in side.items
            if any(side.keys.get(top) in common for top in item.layer.top)
        ]


def _by_role(names: Sequence[str], role: Callable[[str], Hashable]) -> dict[Hashable, str]:
    """What a name stands for -> the name, where only one does."""
    roles = {name: role(name) for name in names}
    count = Counter(roles.values())
    return {r: name for name, r in roles.items() if r is not None and count[r] == 1}


def _moved(order: Order) -> int:
    """How many channels are at another place."""
    return int((order != np.arange(order.size)).sum())


def _shapes(shapes: Any) -> str:
    return " and ".join(map(shape_text, shapes)) or "none"


def _show(value: Hashable) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "not set"
    return str(value)
