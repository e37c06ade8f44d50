"""The graph of a net: which layer makes what a bottom reads, and which layers read a top.

A layer in place writes its top under the name of its bottom. So a name stands for several values,
one after the other, and a bottom reads the one that the last layer above it wrote (Net::Init,
src/caffe/net.cpp). Each top of each layer is a *version* of the blob of its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

Layer = TypeVar("Layer")


class Top(NamedTuple):
    """A version of a blob: the index of the layer that makes it, and its place among the tops."""

    layer: int
    position: int


class Bottom(NamedTuple):
    """A place where a blob is read: the index of the layer, and its place among the bottoms."""

    layer: int
    position: int


@dataclass(frozen=True, eq=False, repr=False)
class Node(Generic[Layer]):
    """A layer and its edges.

    Attributes:
        index: its place among the layers of the net.
        layer: the layer that the graph was built from.
        bottoms, tops: names of blobs.
        loss_weights: one for each top, or none.
        sources: for each bottom, the version that it reads; None where no layer above makes one.
        readers: for each top, the bottoms that read this version, in the order of the net.
    """

    index: int
    layer: Layer
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    loss_weights: tuple[float, ...]
    sources: tuple[Top | None, ...]
    readers: tuple[tuple[Bottom, ...], ...]

    def is_in_place(self, position: int) -> bool:
        """Whether a top overwrites the bottom at its position (Net::AppendTop)."""
        return self.bottoms[position : position + 1] == (self.tops[position],)


@dataclass(frozen=True, eq=False, repr=False)
class Graph(Generic[Layer]):
    """The layers of a net in one phase, connected; `build_graph` returns it.

    Any net has a graph: layers may read blobs that no layer makes, or make a blob twice.

    Attributes:
        nodes: the layers in order.
        makers: name of a blob -> its versions in order.
        undefined: name of a blob -> the bottoms that read it above all its makers, in order.
    """

    nodes: tuple[Node[Layer], ...]
    makers: Mapping[str, tuple[Top, ...]]
    undefined: Mapping[str, tuple[Bottom, ...]]

    def name(self, top: Top) -> str:
        """Return the name of a blob."""
        return self.nodes[top.layer].tops[top.position]

    def readers(self, top: Top) -> tuple[Bottom, ...]:
        """Return the bottoms that read a version, in the order of the net."""
        return self.nodes[top.layer].readers[top.position]

    def loss_weight(self, top: Top) -> float:
        """Return the weight of a top in the loss; 0 where the layer gives none."""
        weights = self.nodes[top.layer].loss_weights
        return weights[top.position] if top.position < len(weights) else 0.0

    def use_count(self, top: Top) -> int:
        """Count the readers of a version; a loss weight counts as one (insert_splits.cpp)."""
        return len(self.readers(top)) + bool(self.loss_weight(top))

    def readers_beside(self, bottom: Bottom) -> tuple[Bottom, ...]:
        """Return every bottom that reads the version that `bottom` reads, itself included."""
        node = self.nodes[bottom.layer]
        source = node.sources[bottom.position]
        return (
            self.undefined[node.bottoms[bottom.position]]
            if source is None
            else self.readers(source)
        )

    def names_above(self, index: int) -> list[str]:
        """Return the names of all blobs that layers above layer `index` make."""
        return [name for name, tops in self.makers.items() if tops[0].layer < index]

    def is_made_above(self, name: str, index: int) -> bool:
        """Whether a layer above layer `index` makes a blob of this name."""
        return name in self.makers and self.makers[name][0].layer < index

    def depends(self, index: int, other: int) -> bool:
        """Whether a layer needs a top of another, directly or through layers between them.

        Goes by names alone: in a net whose layers are out of order, no bottom has a version.
        """
        targets = set(self.nodes[other].tops)
        seen: set[str] = set()
        queue = list(self.nodes[index].bottoms)
        while queue:
            name = queue.pop()
            if name in targets:
                return True
            if name not in seen:
                seen.add(name)
                for maker in self.makers.get(name, ()):
                    queue += self.nodes[maker.layer].bottoms
        return False

    @cached_property
    def outputs(self) -> tuple[Top, ...]:
        """The last version of each blob that no layer reads, in the order of the net."""
        return tuple(
            sorted(tops[-1] for tops in self.makers.values() if not self.readers(tops[-1]))
        )

    def output_names(self) -> list[str]:
        """Return the names of the outputs, sorted by bytes as Caffe logs them."""
        return sorted(map(self.name, self.outputs), key=lambda name: name.encode())

    def last_reads(self, index: int) -> list[str]:
        """Return the names of a layer's bottoms whose versions no later layer reads, each once."""
        node = self.nodes[index]
        names = [
            name
            for position, name in enumerate(node.bottoms)
            if self.readers_beside(Bottom(index, position))[-1].layer == index
        ]
        return list(dict.fromkeys(names))


Wires = tuple[Sequence[str], Sequence[str], Sequence[float]]


# Any: the default of an argument whose type is a variable.
def _wires(layer: Any) -> Wires:
    return layer.bottom, layer.top, layer.loss_weight


def build_graph(
    layers: Iterable[Layer],
    wires: Callable[[Layer], Wires] = _wires,
) -> Graph[Layer]:
    """Connect the layers of one phase.

    Args:
        layers: LayerParameters in the order of the net, or anything that `wires` takes.
        wires: returns a layer's bottoms, its tops, and the loss weights of these, or none.
    """
    layers = list(layers)
    wired = [
        (tuple(bottoms), tuple(tops), tuple(weights))
        for bottoms, tops, weights in map(wires, layers)
    ]
    makers: dict[str, list[Top]] = {}
    undefined: dict[str, list[Bottom]] = {}
    sources: list[tuple[Top | None, ...]] = []
    readers: list[list[list[Bottom]]] = []
    for number, (bottoms, tops, _) in enumerate(wired):
        sources.append(tuple(makers[name][-1] if name in makers else None for name in bottoms))
        for position, (name, top) in enumerate(zip(bottoms, sources[number], strict=True)):
            beside = undefined.setdefault(name, []) if top is None else readers[top[0]][top[1]]
            beside.append(Bottom(number, position))
        readers.append([[] for _ in tops])
        for position, name in enumerate(tops):
            makers.setdefault(name, []).append(Top(number, position))
    nodes = tuple(
        Node(
            number,
            layer,
            *wired[number],
            sources[number],
            tuple(map(tuple, readers[number])),
        )
        for number, layer in enumerate(layers)
    )
    return Graph(nodes, _frozen(makers), _frozen(undefined))


_Edge = TypeVar("_Edge", Top, Bottom)


def _frozen(edges: Mapping[str, list[_Edge]]) -> dict[str, tuple[_Edge, ...]]:
    return {name: tuple(ends) for name, ends in edges.items()}
